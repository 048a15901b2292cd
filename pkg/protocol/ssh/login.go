package ssh

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	dialTimeout = 10 * time.Second
	// loginTimeout bounds the key exchange and the login at the server.
	loginTimeout = 20 * time.Second
	// patience is how long a server that was spoken to already is kept while
	// the login waits to be decided. sshd(8) itself waits for two minutes.
	patience = 30 * time.Second
	// userLife is how long a certificate may be used to log in; a session that
	// it opened goes on.
	userLife = 5 * time.Minute
	// userSkew is how far behind the server's clock may be.
	userSkew = 10 * time.Minute
)

// version is what either peer is told.
const version = "SSH-2.0-Sluice"

// ciphers are those that are fast and have never been broken by what is
// between two peers. ChaCha20-Poly1305 is not among them: with a peer without
// strict key exchange a prefix of the session can be cut off (CVE-2023-48795).
var ciphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR}

// exchanges are the key exchanges without SHA-1.
var exchanges = []string{
	ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384,
	ssh.KeyExchangeECDHP521, ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDH14SHA256,
}

var macs = []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512}

func algorithms() ssh.Config {
	return ssh.Config{Ciphers: ciphers, KeyExchanges: exchanges, MACs: macs}
}

// serverLeg is the connection to the server. It is opened ahead: the key
// exchange runs beside the client's own, and stops before anybody is logged
// in, until the login is decided.
type serverLeg struct {
	conn    *protocol.Conn
	release chan struct{} // closed when the login is allowed
	done    chan struct{} // closed when the rest is set

	intake   *intake
	leg      ssh.Conn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
	err      error
}

// reach begins to open the server leg.
func reach(ctx context.Context, conn *protocol.Conn) *serverLeg {
	s := &serverLeg{conn: conn, intake: newIntake(), release: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.leg, s.channels, s.requests, s.err = s.open(ctx)
	}()
	return s
}

// errImpatient reports that the login was not decided in time.
var errImpatient = errors.New("the login was not decided in time")

// open dials, exchanges keys, waits for release, and logs in.
func (s *serverLeg) open(ctx context.Context) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	methods, err := s.methods()
	if err != nil {
		return nil, nil, nil, err
	}
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	plain, err := s.conn.Dial(dialling)
	if err != nil {
		return nil, nil, nil, errors.Join(reason("the server cannot be reached"), err)
	}
	known, err := parseKnownHosts(s.conn.KnownHosts, s.conn.Names, s.conn.Session.Destination)
	if err != nil {
		return nil, nil, nil, errors.Join(err, plain.Close())
	}
	_ = plain.SetDeadline(time.Now().Add(loginTimeout))
	wire := newWire(plain, s.intake)
	stop := context.AfterFunc(ctx, func() { _ = wire.Close() })
	leg, channels, requests, err := ssh.NewClientConn(wire, "", &ssh.ClientConfig{
		Config:            algorithms(),
		User:              s.conn.Credential.User,
		Auth:              methods,
		ClientVersion:     version,
		HostKeyAlgorithms: known.algorithms(),
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			if err := known.check(host, remote, key); err != nil {
				return err
			}
			return s.allowed(ctx, plain)
		},
	})
	if err != nil {
		stop()
		return nil, nil, nil, errors.Join(err, plain.Close())
	}
	_ = plain.SetDeadline(time.Time{})
	return leg, channels, requests, nil
}

// allowed waits until the login is decided.
func (s *serverLeg) allowed(ctx context.Context, plain net.Conn) error {
	_ = plain.SetDeadline(time.Time{})
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.release:
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errImpatient
	}
	_ = plain.SetDeadline(time.Now().Add(loginTimeout))
	return nil
}

// methods are what the agent logs in with.
func (s *serverLeg) methods() ([]ssh.AuthMethod, error) {
	credential := s.conn.Credential
	var methods []ssh.AuthMethod
	switch {
	case len(credential.Authority) > 0:
		signer, err := s.certified(credential)
		if err != nil {
			return nil, err
		}
		methods = append(methods, ssh.PublicKeys(signer))
	case len(credential.Key) > 0:
		signer, err := keyOf(credential)
		if err != nil {
			return nil, err
		}
		methods = append(methods, ssh.PublicKeys(signer))
	}
	if credential.Password != "" {
		methods = append(methods, ssh.Password(credential.Password), ssh.KeyboardInteractive(onlyPassword(credential.Password)))
	}
	if len(methods) == 0 {
		return nil, reason("there is nothing to log in with")
	}
	return methods, nil
}

// onlyPassword answers one question that is not to be echoed, and no other.
func onlyPassword(password string) ssh.KeyboardInteractiveChallenge {
	return func(_, _ string, questions []string, echos []bool) ([]string, error) {
		switch {
		case len(questions) == 0:
			return nil, nil
		case len(questions) == 1 && !echos[0] && strings.Contains(strings.ToLower(questions[0]), "password"):
			return []string{password}, nil
		}
		return nil, reason("the server asks for more than a password")
	}
}

// keyOf reads a key, with its certificate where there is one.
func keyOf(credential protocol.Credential) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(credential.Key)
	if err != nil {
		return nil, reason("the credential's key cannot be read")
	}
	if len(credential.Certificate) == 0 {
		return signer, nil
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(credential.Certificate)
	certificate, ok := public.(*ssh.Certificate)
	if err != nil || !ok {
		return nil, reason("the credential's certificate cannot be read")
	}
	return ssh.NewCertSigner(certificate, signer)
}

// certified makes a key for this session only, with a certificate that names
// the session, so that the server's own log joins ours.
func (s *serverLeg) certified(credential protocol.Credential) (ssh.Signer, error) {
	authority, err := ssh.ParsePrivateKey(credential.Authority)
	if err != nil {
		return nil, reason("the credential's authority cannot be read")
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	certificate := &ssh.Certificate{
		Key:             signer.PublicKey(),
		CertType:        ssh.UserCert,
		KeyId:           "sluice/" + s.conn.Session.ID,
		ValidPrincipals: []string{credential.User},
		ValidAfter:      uint64(now.Add(-userSkew).Unix()), //nolint:gosec // after 1970
		ValidBefore:     uint64(now.Add(userLife).Unix()),  //nolint:gosec // after 1970
		Permissions: ssh.Permissions{Extensions: map[string]string{
			"permit-pty": "", "permit-port-forwarding": "", "permit-user-rc": "",
		}},
	}
	if err := certificate.SignCert(rand.Reader, authority); err != nil {
		return nil, reason("the credential's authority cannot sign")
	}
	return ssh.NewCertSigner(certificate, signer)
}
