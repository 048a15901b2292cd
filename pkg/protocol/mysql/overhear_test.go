package mysql_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// observed stands on both sides of the plug-in and keeps what passes there, in
// pieces of a size.
type observed struct {
	size int

	mu       sync.Mutex
	sessions []*heard // guarded by mu
}

// heard is what passed in one session: by the peer that said it, as it came in
// and as it went out.
type heard struct {
	mu      sync.Mutex
	in, out [2]bytes.Buffer // guarded by mu
	over    sync.WaitGroup
}

const fromClient, fromServer = 0, 1

// between puts itself between client and plug-in, and between plug-in and server.
func (o *observed) between(client net.Conn, dial func(context.Context) (net.Conn, error)) (net.Conn, func(context.Context) (net.Conn, error)) {
	h := &heard{}
	o.mu.Lock()
	o.sessions = append(o.sessions, h)
	o.mu.Unlock()
	leg, far := loop()
	h.over.Go(func() { o.copy(far, client, h, &h.in[fromClient]) })
	h.over.Go(func() { o.copy(client, far, h, &h.out[fromServer]) })
	return leg, func(ctx context.Context) (net.Conn, error) {
		server, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		leg, far := loop()
		h.over.Go(func() { o.copy(server, far, h, &h.out[fromClient]) })
		h.over.Go(func() { o.copy(far, server, h, &h.in[fromServer]) })
		return leg, nil
	}
}

// loop is a connection over loopback.
func loop() (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		panic(err)
	}
	if b, err = l.Accept(); err != nil {
		panic(err)
	}
	return a, b
}

// copy passes on what comes until its end, and keeps it.
func (o *observed) copy(to, from net.Conn, h *heard, kept *bytes.Buffer) {
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		h.mu.Lock()
		kept.Write(piece[:n])
		h.mu.Unlock()
		for b := piece[:n]; len(b) > 0; {
			did, failed := to.Write(b[:min(len(b), o.size)])
			if b = b[did:]; failed != nil {
				_, _ = io.Copy(io.Discard, from)
				return
			}
		}
		if err != nil {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
	}
}

// same checks that every session so far has ended, and that what came in went
// out. It returns all that clients said.
func (o *observed) same(t *testing.T) (said []byte) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, h := range o.sessions {
		ended := make(chan struct{})
		go func() { h.over.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("session %d goes on", i)
		}
		for peer, name := range map[int]string{fromClient: "client", fromServer: "server"} {
			if in, out := h.in[peer].Bytes(), h.out[peer].Bytes(); !bytes.Equal(in, out) || len(in) == 0 {
				t.Errorf("session %d: the %s said %d bytes, and %d arrived", i, name, len(in), len(out))
			}
		}
		said = append(said, h.in[fromClient].Bytes()...)
	}
	return said
}
