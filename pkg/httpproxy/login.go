package httpproxy

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// loginAge is how long a secret is used before its file is read again. One that
	// is bound to a pod is renewed long before it ends (Kubernetes: service account
	// token volume projection); one that was revoked is replaced at once.
	loginAge = 10 * time.Second
	// leastHidden is how long a secret has to be to be looked for in answers:
	// shorter ones stand in words.
	leastHidden = 8
	// mostHidden is how many secrets a session looks for, the newest ones.
	mostHidden = 16
)

// Login is what the agent logs in with, in a field of each request: a token,
// or a user and a password. Its files are read again while a session goes on. A
// client certificate is shown when the server leg is opened.
type Login struct {
	conn *protocol.Conn

	mu      sync.Mutex
	current protocol.Credential // guarded by mu
	read    time.Time           // guarded by mu
	hides   *secretive          // what stood in requests; nil: nothing yet; guarded by mu
}

// NewLogin returns the login of a session.
func NewLogin(conn *protocol.Conn) *Login {
	return &Login{conn: conn, current: conn.Credential, read: time.Now()}
}

// Authenticate puts what the agent logs in with into a request, in place of what
// was there.
func (l *Login) Authenticate(ctx context.Context, r *http.Request) {
	login := l.renewed(ctx)
	r.Header.Del("Authorization")
	switch {
	case login.Token != "" && login.Header != "":
		r.Header[http.CanonicalHeaderKey(login.Header)] = []string{login.Token}
		l.note(login.Token)
	case login.Token != "":
		r.Header.Set("Authorization", "Bearer "+login.Token)
		l.note(login.Token)
	case login.Password != "":
		r.SetBasicAuth(login.User, login.Password)
		l.note(login.Password, base64.StdEncoding.EncodeToString([]byte(login.User+":"+login.Password)))
	}
}

// renewed returns the credential. One that cannot be read again is used on: the
// server knows whether it is still good.
func (l *Login) renewed(ctx context.Context) protocol.Credential {
	l.mu.Lock()
	defer l.mu.Unlock()
	none := l.current.Token == "" && l.current.Password == ""
	if none || l.conn.Login == nil || time.Since(l.read) < loginAge {
		return l.current
	}
	l.read = time.Now()
	next, err := l.conn.Login(ctx)
	if err != nil || next.Token == "" && next.Password == "" {
		l.conn.Log.Warn("The credential's file could not be read again", zap.Error(err))
		return l.current
	}
	l.current = next
	return next
}

// note keeps what the server has been told.
func (l *Login) note(secrets ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all [][]byte
	if l.hides != nil {
		all = l.hides.secrets
	}
	known := len(all)
	for _, secret := range secrets {
		same := func(known []byte) bool { return string(known) == secret }
		if len(secret) >= leastHidden && !slices.ContainsFunc(all, same) {
			all = append(all[:len(all):len(all)], []byte(secret))
		}
	}
	if len(all) > known {
		l.hides = newSecretive(all[max(0, len(all)-mostHidden):])
	}
}

// secretive hides what the server has been told; nil: there is nothing to hide.
func (l *Login) secretive() *secretive {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hides
}
