package kubernetes

import (
	"context"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// tokenAge is how long a token is used before its file is read again. A token
// that is bound to a pod is renewed long before it ends (Kubernetes: service
// account token volume projection); one that was revoked is replaced at once.
const tokenAge = 10 * time.Second

// tokens gives out the agent's bearer token, which is renewed while long
// sessions go on.
type tokens struct {
	conn *protocol.Conn

	mu    sync.Mutex
	token string    // guarded by mu
	read  time.Time // guarded by mu
}

func newTokens(conn *protocol.Conn) *tokens {
	return &tokens{conn: conn, token: conn.Credential.Token, read: time.Now()}
}

// current returns the token. One that cannot be read again is used on: the
// server knows whether it is still good.
func (t *tokens) current(ctx context.Context) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn.Login == nil || time.Since(t.read) < tokenAge {
		return t.token
	}
	t.read = time.Now()
	login, err := t.conn.Login(ctx)
	if err != nil || login.Token == "" {
		t.conn.Log.Warn("The token's file could not be read again", zap.Error(err))
		return t.token
	}
	t.token = login.Token
	return t.token
}

// authenticate adds the agent's token to a request. A client certificate is
// shown when the server leg is opened.
func (s *session) authenticate(ctx context.Context, r *http.Request) error {
	r.Header.Del("Authorization")
	if s.conn.Credential.Token == "" {
		return nil
	}
	r.Header.Set("Authorization", "Bearer "+s.tokens.current(ctx))
	return nil
}
