package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// random is a value that nobody guesses.
func random() string { return rand.Text() }

// loopback waits on this machine for a browser that an issuer sends back.
type loopback struct {
	url     string
	answers chan url.Values
	server  *http.Server
	served  chan error
}

func listenBack(ctx context.Context) (*loopback, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("wait for the browser: %w", err)
	}
	l := &loopback{
		url:     "http://" + listener.Addr().String() + "/callback",
		answers: make(chan url.Values, 1), served: make(chan error, 1),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", l.callback)
	l.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { l.served <- l.server.Serve(listener) }()
	return l, nil
}

// callback takes the first answer; what else comes to this port is ignored.
func (l *loopback) callback(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Referrer-Policy", "no-referrer")
	select {
	case l.answers <- r.URL.Query():
		_, _ = fmt.Fprintln(w, "You can close this page and go back to your terminal.") // an error means that the browser has gone
	default:
		w.WriteHeader(http.StatusGone)
	}
}

func (l *loopback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := l.server.Shutdown(ctx); err != nil {
		_ = l.server.Close() // the browser keeps its connection; it is no longer ours
	}
	if err := <-l.served; !errors.Is(err, http.ErrServerClosed) {
		return
	}
}
