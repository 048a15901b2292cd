package protocol_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/session"
)

// unread is a protocol that nobody reads.
type unread struct{ look protocol.Look }

func (unread) Info() protocol.Info             { return protocol.Info{Name: "unread"} }
func (unread) Recognize([]byte) protocol.Match { return protocol.No }
func (u unread) Serve(ctx context.Context, conn *protocol.Conn) error {
	return protocol.RelayUnread(ctx, conn, "a test", u.look)
}

func TestUnreadConversations(t *testing.T) {
	protocoltest.RunScripts(t, "testdata/unread", protocoltest.Plugin{
		New: func() (protocol.Protocol, error) { return unread{protocol.LookTLS}, nil },
		Message: func(line string) (protocoltest.Message, error) {
			text, err := strconv.Unquote(line)
			return protocoltest.Message{Bytes: []byte(text)}, err
		},
	})
}

func TestUnreadPassesNoise(t *testing.T) {
	protocoltest.Observes(t, unread{protocol.LookTLS})
}

// relayed is a session that nobody reads, whose peers the test plays.
type relayed struct {
	client, server *net.TCPConn
	journal        protocoltest.Journal
	stop           context.CancelCauseFunc
	ended          chan error
}

func relay(t *testing.T) *relayed {
	t.Helper()
	r := &relayed{ended: make(chan error, 1)}
	var clientLeg, serverLeg net.Conn
	r.client, clientLeg = connected(t)
	r.server, serverLeg = connected(t)
	ctx, stop := context.WithCancelCause(t.Context())
	r.stop = stop
	conn := &protocol.Conn{
		Session: &session.Session{ID: "test", Resource: "resource", Destination: netip.MustParseAddrPort("192.0.2.1:443")},
		Client:  clientLeg, Dial: func(context.Context) (net.Conn, error) { return serverLeg, nil },
		Guard: &r.journal, Masks: &mask.Set{}, Observe: true, Log: zap.NewNop(),
		Stopped: func() string { return "a test stopped it" },
	}
	go func() { r.ended <- unread{protocol.LookTLS}.Serve(ctx, conn) }()
	t.Cleanup(func() { stop(nil); _ = r.client.Close(); _ = r.server.Close() })
	return r
}

func connected(t *testing.T) (ours *net.TCPConn, legs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a.(*net.TCPConn), b
}

// over waits for the end and returns what was recorded.
func (r *relayed) over(t *testing.T) protocoltest.Entry {
	t.Helper()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the session goes on")
	}
	all := r.journal.Entries()
	if len(all) != 1 || all[0].Op.Kind != operation.Unread || all[0].Op.Unread != "a test" || all[0].Op.Parsed || len(all[0].Streams) != 0 {
		t.Fatalf("recorded %+v", all)
	}
	return all[0]
}

// TestUnreadTellsWhichServerTLSAsksFor has a real client and a real server of
// TLS agree through it, whole and byte by byte, and nothing but the outer name
// and the amounts is told.
func TestUnreadTellsWhichServerTLSAsksFor(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	server := &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}}
	for _, size := range []int{1, 1 << 16} {
		r := relay(t)
		answered := make(chan error, 1)
		go func() {
			conn := tls.Server(r.server, server)
			_, err := io.Copy(conn, conn)
			answered <- errors.Join(err, conn.Close())
		}()
		client := tls.Client(pieces{r.client, size}, &tls.Config{ServerName: "api.example.com", NextProtos: []string{"h2", "http/1.1"}, InsecureSkipVerify: true})
		if _, err := client.Write([]byte("Authorization: Bearer hunter2")); err != nil {
			t.Fatal(err)
		}
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(client)
		if err != nil || string(got) != "Authorization: Bearer hunter2" {
			t.Fatalf("got %q, %v", got, err)
		}
		_ = client.Close()
		if err := <-answered; err != nil {
			t.Error(err)
		}
		e := r.over(t)
		if e.Outcome.Status != protocol.OK || !strings.HasPrefix(e.Outcome.Tag, "TLS for api.example.com, ALPN h2 http/1.1, ") || !strings.HasSuffix(e.Outcome.Tag, " received") {
			t.Errorf("recorded %+v", e.Outcome)
		}
	}
}

// pieces is a connection that writes in pieces.
type pieces struct {
	net.Conn
	size int
}

func (p pieces) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		did := 0
		did, err = p.Conn.Write(b[n:min(len(b), n+p.size)])
		n += did
	}
	return n, err
}

// TestUnreadTellsWhatIsNoTLS: whatever a client says, it is relayed, and what is
// recorded is short and holds nothing of it.
func TestUnreadTellsWhatIsNoTLS(t *testing.T) {
	for said, want := range map[string]string{
		"PASSWORD hunter2\r\n":                    "no TLS, 18 bytes sent, 0 received",
		"\x16\x03\x01\x00\x05\x01\x00\x00\x01x":   "TLS that is not understood, 10 bytes sent, 0 received",
		"\x16\x03\x01\xff\xff\x01\xff\xff\xffxyz": "12 bytes sent, 0 received",
	} {
		r := relay(t)
		if _, err := io.WriteString(r.client, said); err != nil {
			t.Fatal(err)
		}
		_ = r.client.CloseWrite()
		got, err := io.ReadAll(r.server)
		if err != nil || string(got) != said {
			t.Fatalf("the server got %q, %v", got, err)
		}
		_ = r.server.Close()
		if tag := r.over(t).Outcome.Tag; tag != want {
			t.Errorf("%q: recorded %q", said, tag)
		}
	}
}

// TestUnreadHoldsLittle: a peer that does not read cannot have the agent keep
// what the other sends.
func TestUnreadHoldsLittle(t *testing.T) {
	for _, from := range []protocol.Leg{protocol.ClientLeg, protocol.ServerLeg} {
		r := relay(t)
		peer := r.client
		if from == protocol.ServerLeg {
			peer = r.server
		}
		_ = peer.SetWriteBuffer(64 << 10)
		took, block := 0, bytes.Repeat([]byte{0x17}, 64<<10)
		for {
			_ = peer.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := peer.Write(block)
			took += n
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil || took > 64<<20 {
				t.Fatalf("%v sent %d bytes that nobody reads, %v", from, took, err)
			}
		}
		if took > 24<<20 { // 3 MiB in the agent; the rest is the kernel's
			t.Errorf("%d bytes of the %v are kept", took, from)
		}
	}
}

// TestUnreadStops: a person's order ends it, and what passed is recorded.
func TestUnreadStops(t *testing.T) {
	r := relay(t)
	if _, err := io.WriteString(r.client, "abc"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.server, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	r.stop(protocol.ErrStopped)
	e := r.over(t)
	if e.Outcome.Status != protocol.Abandoned || e.Outcome.Tag != "no TLS, 3 bytes sent, 0 received" {
		t.Errorf("recorded %+v", e.Outcome)
	}
	for _, peer := range []net.Conn{r.client, r.server} {
		_ = peer.SetReadDeadline(time.Now().Add(5 * time.Second))
		if rest, err := io.ReadAll(peer); len(rest) != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %q, %v", rest, err)
		}
	}
}

// TestUnreadWaitsForItsRecord: whoever speaks first, nothing passes before the
// answer, all of it does afterwards, and what was looked at before is not looked
// at twice.
func TestUnreadWaitsForItsRecord(t *testing.T) {
	hello := clientHello(t)
	u := protocol.NewUnread("a test", true, protocol.LookTLS)
	feed := func(from protocol.Leg, b []byte, consumed int, want ...protocol.ActionKind) {
		t.Helper()
		n, actions := u.Feed(from, b, nil)
		var kinds []protocol.ActionKind
		for _, a := range actions {
			kinds = append(kinds, a.Kind)
		}
		if n != consumed || !slices.Equal(kinds, want) {
			t.Fatalf("took %d of %d bytes, did %v", n, len(b), kinds)
		}
	}
	feed(protocol.ServerLeg, []byte("early"), 0, protocol.Pause)
	feed(protocol.ClientLeg, hello[:20], 0, protocol.Ask)
	feed(protocol.ServerLeg, []byte("early"), 0, protocol.Pause)
	if actions := u.Decided(protocol.Decision{Effect: protocol.Allow}, nil, nil); len(actions) != 2 || actions[1].Kind != protocol.Resume || actions[1].Leg != protocol.ServerLeg {
		t.Fatalf("did %v", actions)
	}
	feed(protocol.ClientLeg, hello[:20], 20, protocol.Write)
	feed(protocol.ClientLeg, hello[20:], len(hello)-20, protocol.Write)
	feed(protocol.ServerLeg, []byte("early"), 5, protocol.Write)
	u.Changed(protocol.ServerLeg, protocol.Closed, nil)
	var done *protocol.Pending
	for _, a := range u.Changed(protocol.ClientLeg, protocol.Closed, nil) {
		if a.Kind == protocol.Done {
			done = a.Op
		}
	}
	if want := fmt.Sprintf("TLS for api.example.com, %d bytes sent, 5 received", len(hello)); done == nil || done.Outcome.Tag != want {
		t.Errorf("recorded %+v", done)
	}
}

// clientHello is what a client of crypto/tls says first.
func clientHello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: "api.example.com"}).HandshakeContext(t.Context())
		_ = near.Close()
	}()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// FuzzLookTLS: a client's first bytes are read without harm, and asking for more
// ends.
func FuzzLookTLS(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01x"))
	f.Add([]byte("\x16\x03\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for n := range min(len(b), 300) {
			if fact, more := protocol.LookTLS(protocol.ClientLeg, b[:n]); more && fact != "" {
				t.Fatalf("%q, and more", fact)
			}
		}
		protocol.LookTLS(protocol.ClientLeg, b)
	})
}
