package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/sluicegate/sluice/pkg/collector/notify"
	"github.com/sluicegate/sluice/pkg/config"
)

// Notify says who is told, outside of the console, that approvals are asked
// for and what becomes of them.
type Notify struct {
	// PrivateNetworks are those that notifiers may reach although they are not
	// public, as in 10.0.0.0/8. Empty: none.
	PrivateNetworks []string `yaml:"private_networks"`
	// Texts lets messages hold the masked text that approvers see. Default:
	// false, for text that a job wrote leaves the house with it.
	Texts bool `yaml:"texts"`
	// Webhooks get CloudEvents with the signature of Standard Webhooks.
	Webhooks []Webhook `yaml:"webhooks"`
	// Chats get messages by an incoming webhook of Slack's form.
	Chats []Chat `yaml:"chats"`
	// Mails get mail, by SMTP with STARTTLS.
	Mails []Mail `yaml:"mails"`
}

// Webhook is one receiver of events.
type Webhook struct {
	Name string `yaml:"name"` // unique; what it has not been told is kept under it
	URL  string `yaml:"url"`  // where it listens
	// SecretFile holds the key of signatures: whsec_ and base64.
	SecretFile config.Path `yaml:"secret_file"`
}

// Chat is one channel of a chat.
type Chat struct {
	Name string `yaml:"name"`
	// URLFile holds the incoming webhook's address, which is a secret.
	URLFile config.Path `yaml:"url_file"`
}

// Mail is a mail server and who gets mail.
type Mail struct {
	Name   string   `yaml:"name"`
	Server string   `yaml:"server"` // host:port
	From   string   `yaml:"from"`   // its address
	To     []string `yaml:"to"`     // the addresses that get it
	User   string   `yaml:"user"`   // empty: no login
	// PasswordFile holds the user's password.
	PasswordFile config.Path `yaml:"password_file"`
	// CAFile holds the authorities for the server's certificate. Default: the
	// system's.
	CAFile config.Path `yaml:"ca_file"`
}

func (n *Notify) validate(report config.Problems) {
	for i, text := range n.PrivateNetworks {
		if _, err := netip.ParsePrefix(text); err != nil {
			report(fmt.Sprintf("notify.private_networks[%d]", i), "%q is not a network: write one like 10.0.0.0/8", text)
		}
	}
	names := map[string]bool{}
	named := func(path, name string) {
		if name == "" || names[name] {
			report(path+".name", "%q is missing or used twice", name)
		}
		names[name] = true
	}
	for i, h := range n.Webhooks {
		path := fmt.Sprintf("notify.webhooks[%d]", i)
		named(path, h.Name)
		if u, err := url.Parse(h.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			report(path+".url", "is not a URL that begins with https://")
		}
		if h.SecretFile == "" {
			report(path+".secret_file", "is missing: write a file with whsec_ and base64")
		}
	}
	for i, c := range n.Chats {
		path := fmt.Sprintf("notify.chats[%d]", i)
		named(path, c.Name)
		if c.URLFile == "" {
			report(path+".url_file", "is missing: write a file with the incoming webhook's address")
		}
	}
	for i, m := range n.Mails {
		path := fmt.Sprintf("notify.mails[%d]", i)
		named(path, m.Name)
		if _, _, err := net.SplitHostPort(m.Server); err != nil {
			report(path+".server", "is not host:port")
		}
		for _, address := range append([]string{m.From}, m.To...) {
			if !strings.Contains(address, "@") || strings.ContainsAny(address, "\r\n<>") {
				report(path, "%q is not a mail address", address)
			}
		}
		if len(m.To) == 0 {
			report(path+".to", "is empty: write at least one address")
		}
	}
}

// openSenders makes a sender for each notifier and tells the store their names.
func (c *Collector) openSenders(ctx context.Context) error {
	n := &c.cfg.Notify
	guard := notify.Guard{}
	for _, text := range n.PrivateNetworks {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		guard.Private = append(guard.Private, prefix)
	}
	all := map[string]notify.Notifier{}
	var errs []error
	for _, h := range n.Webhooks {
		secret, err := readSecret(h.SecretFile)
		hook, hookErr := notify.NewWebhook(h.URL, c.consoleURL(), secret, guard)
		all[h.Name] = hook
		errs = append(errs, err, hookErr)
	}
	for _, chat := range n.Chats {
		address, err := readSecret(chat.URLFile)
		all[chat.Name] = notify.NewChat(address, guard)
		errs = append(errs, err)
	}
	for _, m := range n.Mails {
		mail, err := newMail(m, guard)
		all[m.Name] = mail
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	names := []string{}
	for name, notifier := range all {
		names = append(names, name)
		c.senders = append(c.senders, &notify.Sender{
			Name: name, Notifier: notifier, Store: c.store, Console: c.consoleURL(), Texts: n.Texts, Log: c.log.Named("notify"),
		})
	}
	return c.store.SetNotifiers(ctx, names)
}

func newMail(m Mail, guard notify.Guard) (*notify.Mail, error) {
	cfg := notify.MailConfig{Server: m.Server, From: m.From, To: m.To, User: m.User, Guard: guard}
	var err error
	if m.PasswordFile != "" {
		if cfg.Password, err = readSecret(m.PasswordFile); err != nil {
			return nil, err
		}
	}
	if cfg.Authority, err = authorities(m.CAFile); err != nil {
		return nil, err
	}
	return notify.NewMail(cfg), nil
}

func readSecret(path config.Path) (string, error) {
	text, err := os.ReadFile(string(path))
	return strings.TrimSpace(string(text)), err
}
