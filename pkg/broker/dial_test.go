package broker

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// TestOwnConnectionReachesAProtectedServer is a proxy that asks an issuer which is
// a protected server as well, and one which is not.
func TestOwnConnectionReachesAProtectedServer(t *testing.T) {
	n := newNode(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "the server") })
	_, client, accepted := n.accepting(t)
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	later(t, elsewhere.Close)
	go func() {
		if conn, err := elsewhere.Accept(); err == nil {
			_, _ = io.WriteString(conn, "elsewhere")
			_ = conn.Close()
		}
	}()
	for address, want := range map[string]string{n.server.String(): "the server", elsewhere.Addr().String(): "elsewhere"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, err := client.DialContext(ctx, "tcp", address)
		must(t, err)
		later(t, conn.Close)
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		if got, err := io.ReadAll(conn); string(got) != want {
			t.Errorf("%s says %q, want %q: %v", address, got, want, err)
		}
	}
	select {
	case a := <-accepted:
		_ = a.Close()
		t.Error("the proxy's own connection came back to it as a job's")
	default:
	}
	for _, address := range []string{"192.0.2.1", "192.0.2.1:x", "192.0.2.1:70000"} {
		if conn, err := client.DialContext(t.Context(), "tcp", address); err == nil {
			_ = conn.Close()
			t.Errorf("%s was dialled", address)
		}
	}
}
