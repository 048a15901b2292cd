package mysql_test

import (
	"io"
	"net"
)

// tapped stands in front of a client and keeps every byte that goes to it.
func (p *proxy) tapped(client net.Conn) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	far, err := l.Accept()
	if err != nil {
		panic(err)
	}
	go func() {
		_, _ = io.Copy(near, client)
		_ = near.(*net.TCPConn).CloseWrite()
	}()
	go func() {
		_, _ = io.Copy(io.MultiWriter(tap{p}, client), near)
		_, _ = client.Close(), near.Close()
	}()
	return far
}

// tap keeps what is written to it.
type tap struct{ *proxy }

func (t tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.Write(b)
}
