package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"strings"
	"time"
)

// MailConfig is a mail server and who gets mail.
type MailConfig struct {
	Server    string // host:port; STARTTLS is demanded
	From      string
	To        []string
	User      string // empty: no login
	Password  string
	Authority *x509.CertPool // nil: the system's
	Guard     Guard
}

// Mail sends mails by SMTP with STARTTLS (RFC 3207). A server without it is
// refused.
type Mail struct{ cfg MailConfig }

// NewMail returns a mail notifier.
func NewMail(cfg MailConfig) *Mail { return &Mail{cfg} }

// Take sends one message.
func (m *Mail) Take(ctx context.Context, message Message) error {
	host, _, err := net.SplitHostPort(m.cfg.Server)
	if err != nil {
		return err
	}
	conn, err := m.cfg.Guard.dialer().DialContext(ctx, "tcp", m.cfg.Server)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if err := m.deliver(client, host, message); err != nil {
		return errors.Join(err, client.Close())
	}
	return client.Quit()
}

func (m *Mail) deliver(client *smtp.Client, host string, message Message) error {
	if ok, _ := client.Extension("STARTTLS"); !ok {
		return errors.New("the mail server offers no STARTTLS")
	}
	if err := client.StartTLS(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: m.cfg.Authority}); err != nil {
		return err
	}
	if m.cfg.User != "" {
		if err := client.Auth(smtp.PlainAuth("", m.cfg.User, m.cfg.Password, host)); err != nil {
			return err
		}
	}
	if err := client.Mail(m.cfg.From); err != nil {
		return err
	}
	for _, to := range m.cfg.To {
		if err := client.Rcpt(to); err != nil {
			return err
		}
	}
	body, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := body.Write(m.letter(message)); err != nil {
		return errors.Join(err, body.Close())
	}
	return body.Close()
}

// letter writes a mail (RFC 5322). Nothing of a message can begin a header:
// the only ones that hold words of a job are encoded.
func (m *Mail) letter(message Message) []byte {
	var out bytes.Buffer
	for _, header := range [][2]string{
		{"From", m.cfg.From},
		{"To", strings.Join(m.cfg.To, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", strings.Join(strings.Fields(message.Title()), " "))},
		{"Date", message.At.Format(time.RFC1123Z)},
		{"Message-ID", "<" + message.ID + "@sluice>"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
		{"Auto-Submitted", "auto-generated"},
	} {
		fmt.Fprintf(&out, "%s: %s\r\n", header[0], header[1])
	}
	out.WriteString("\r\n")
	text := quotedprintable.NewWriter(&out)
	job := strings.ReplaceAll(message.Text, "\n", "\n> ") // none of its lines is ours
	if job != "" {
		job = "> " + job
	}
	lines := []string{message.Title() + ".", message.Reason, job, message.Link}
	for _, line := range lines {
		if line != "" {
			_, _ = fmt.Fprintf(text, "%s\n\n", line) // a buffer never fails to write
		}
	}
	_ = text.Close() // as above
	return out.Bytes()
}
