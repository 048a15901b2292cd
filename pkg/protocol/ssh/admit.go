package ssh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

var errRefused = errors.New("the login is refused")

// admission is how a client is received. Who it is was attested by the kernel;
// whatever it authenticates with is accepted and goes nowhere.
func (s *session) admission() (*ssh.ServerConfig, error) {
	config := &ssh.ServerConfig{
		Config:        algorithms(),
		ServerVersion: version,
		NoClientAuth:  true,
		NoClientAuthCallback: func(who ssh.ConnMetadata) (*ssh.Permissions, error) {
			return nil, s.admit(who.User())
		},
		PasswordCallback: func(who ssh.ConnMetadata, _ []byte) (*ssh.Permissions, error) {
			return nil, s.admit(who.User())
		},
		PublicKeyCallback: func(who ssh.ConnMetadata, _ ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, s.admit(who.User())
		},
		KeyboardInteractiveCallback: func(who ssh.ConnMetadata, _ ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			return nil, s.admit(who.User())
		},
		PreAuthConnCallback: func(conn ssh.ServerPreAuthConn) { s.preauth = conn },
	}
	keys, err := s.conn.HostKeys()
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		signer, err := ssh.NewSignerFromSigner(key.Key)
		if err != nil {
			return nil, fmt.Errorf("host key: %w", err)
		}
		if key.Certificate != nil {
			public, err := ssh.ParsePublicKey(key.Certificate)
			certificate, ok := public.(*ssh.Certificate)
			if err != nil || !ok {
				return nil, errors.New("host key: its certificate cannot be read")
			}
			if signer, err = ssh.NewCertSigner(certificate, signer); err != nil {
				return nil, fmt.Errorf("host key: %w", err)
			}
		}
		config.AddHostKey(signer)
	}
	return config, nil
}

// admit decides about the login when the client first asks for one, and says
// the same whenever it asks again. The reason goes to the client as a banner.
func (s *session) admit(user string) error {
	if s.admits {
		return s.refused
	}
	s.admits = true
	_ = s.conn.Client.SetDeadline(time.Time{})
	why := s.login(user)
	_ = s.conn.Client.SetDeadline(time.Now().Add(graceTime))
	if why == "" {
		return nil
	}
	s.refused = errRefused
	return &ssh.BannerError{Err: errRefused, Message: why + "\r\n"}
}

// login asks about the login and does it. It returns why it was not done.
func (s *session) login(user string) string {
	var remind protocol.Reminder
	a, decision, err := s.conn.Ask(s.ctx, operation.Operation{
		Kind: operation.Connect, Text: operation.Text(fmt.Sprintf("log in as %s (the job asked for %q)", s.conn.Credential.User, user)),
		Bytes: []byte(user), Parsed: true,
	}, func(why protocol.Waiting) {
		if text := remind.Text(why); text != "" {
			_ = s.preauth.SendAuthBanner(text + "\r\n") // a client that is gone is noticed elsewhere
		}
	})
	if err != nil || decision.Effect != protocol.Allow {
		if err := a.End(protocol.Outcome{Status: protocol.Refused}); err != nil {
			s.fail(err)
		}
		return protocol.RefusalOf(decision, err)
	}
	if err := s.reached(); err != nil {
		why := safely(err)
		s.blame(errors.Join(errors.New("log in to the server: "+why), a.End(protocol.Outcome{Status: protocol.Failed, Code: why})))
		return "sluice: " + why
	}
	if err := a.End(protocol.Outcome{Status: protocol.OK}); err != nil {
		s.fail(err)
		return "sluice: it could not be recorded"
	}
	return ""
}

// reached lets the server leg log in and waits for it. One that waited too long
// is opened anew.
func (s *session) reached() error {
	for range 2 {
		close(s.ahead.release)
		select {
		case <-s.ahead.done:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		if !errors.Is(s.ahead.err, errImpatient) {
			break
		}
		s.ahead = reach(s.ctx, s.conn)
	}
	return s.ahead.err
}

// reason is an error whose text is ours, so that it may be shown and logged.
type reason string

func (r reason) Error() string { return string(r) }

// safely says why the server leg did not come to be, without what the server
// wrote.
func safely(err error) string {
	var known reason
	switch {
	case errors.As(err, &known):
		return known.Error()
	case errors.Is(err, context.Canceled):
		return "the session ended"
	}
	return "the server did not let the agent in"
}
