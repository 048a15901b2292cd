package notify_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// mailServer speaks as much SMTP as a mail needs (RFC 5321), with STARTTLS
// unless plain.
type mailServer struct {
	address     string
	certificate *x509.Certificate
	tls         *tls.Config
	plain       atomic.Bool
	letters     chan string
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	with := httptest.NewTLSServer(nil) // for its certificate, which is of 127.0.0.1
	with.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailServer{
		address: listener.Addr().String(), certificate: with.Certificate(), letters: make(chan string, 4),
		tls: &tls.Config{Certificates: with.TLS.Certificates},
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() { m.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		served.Wait()
	})
	return m
}

func (m *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	say := func(line string) { fmt.Fprint(conn, line+"\r\n") }
	say("220 mail.example")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(line)[0]); verb {
		case "EHLO":
			if !m.plain.Load() {
				say("250-mail.example\r\n250 STARTTLS")
			} else {
				say("250 mail.example")
			}
		case "STARTTLS":
			say("220 go")
			conn = tls.Server(conn, m.tls)
			in = bufio.NewReader(conn)
		case "DATA":
			say("354 go")
			var letter strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil || line == ".\r\n" {
					break
				}
				letter.WriteString(line)
			}
			m.letters <- letter.String()
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
