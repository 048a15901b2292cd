package forward_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/forward"
)

// frames reads messages by their lengths (RFC 5425 §4.3) until the connection
// ends.
func frames(conn net.Conn, got chan<- string) {
	r := bufio.NewReader(conn)
	for {
		var n int
		if _, err := fmt.Fscanf(r, "%d", &n); err != nil {
			return
		}
		if blank, err := r.ReadByte(); err != nil || blank != ' ' {
			got <- "no blank behind the length"
			return
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(r, message); err != nil {
			return
		}
		got <- string(message)
	}
}

func TestSyslogOverTLSSurvivesALostConnection(t *testing.T) {
	certFile, keyFile, trusted := certificate(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	check(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	check(t, err)
	defer listener.Close()
	got, conns := make(chan string, 64), make(chan net.Conn, 4)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns <- conn
			go frames(conn, got)
		}
	}()
	src := newSource(t)
	src.forward("siem", forward.NewSyslog(listener.Addr().String(), trusted), true)
	s := collectortest.NewSession(time.Now())
	src.add(append([]collectortest.Record{s.Opened()}, s.Denied("DROP TABLE a\n5 <13>", "no-drops")...)...)
	for _, want := range []string{"|session.opened|", "act=Denied", "|operation.outcome|"} {
		if m := message(t, got); !strings.Contains(m, want) || !strings.HasPrefix(m, "<1") {
			t.Errorf("got %q, want %s", m, want)
		}
	}
	check(t, (<-conns).Close())
	src.add(s.Closed())
	if m := message(t, got); !strings.Contains(m, "|session.closed|") {
		t.Errorf("got %q", m)
	}
}

func TestSyslogReceiverThatNobodyTrustsGetsNothing(t *testing.T) {
	certFile, keyFile, _ := certificate(t)
	_, _, trusted := certificate(t) // of another one
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	check(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	check(t, err)
	defer listener.Close()
	got := make(chan string, 64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go frames(conn, got)
		}
	}()
	src := newSource(t)
	src.forward("siem", forward.NewSyslog(listener.Addr().String(), trusted), true)
	src.add(collectortest.NewSession(time.Now()).Opened())
	await(t, "the failure is logged", func() bool { return src.logs.FilterMessageSnippet("will be sent again").Len() > 0 })
	if len(got) > 0 {
		t.Errorf("it got %q", <-got)
	}
}

func message(t *testing.T, got <-chan string) string {
	t.Helper()
	select {
	case m := <-got:
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came within 30 s")
		return ""
	}
}
