package protocoltest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// Observes checks what every plug-in promises in mode observe, whatever the two
// peers say: each hears exactly what the other said, also after one has ended
// its direction, and what was asked about has ended.
func Observes(t *testing.T, plugin protocol.Protocol) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same noise each time
	noises := [][]byte{nil, {0}, {0xff}, []byte("\n"), bytes.Repeat([]byte{0}, 70<<10), bytes.Repeat([]byte{0xff}, 70<<10)}
	for _, opening := range Openings {
		noises = append(noises, opening, append(bytes.Clone(opening), noise(random, 40<<10)...))
	}
	for range 20 {
		noises = append(noises, noise(random, random.IntN(300)))
	}
	for i, client := range noises {
		server := noises[(i*7+3)%len(noises)]
		for _, clientFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("noise %d, client first %v", i, clientFirst), func(t *testing.T) {
				exchangeNoise(t, plugin, client, server, clientFirst)
			})
		}
	}
}

func noise(random *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// exchangeNoise has both peers say something through the plug-in, one after the
// other, each ending its direction.
func exchangeNoise(t *testing.T, plugin protocol.Protocol, client, server []byte, clientFirst bool) {
	t.Helper()
	checkGoroutines(t)
	near, clientLeg := pair(t)
	far, serverLeg := pair(t)
	journal := &Journal{}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := &protocol.Conn{
		Session: &session.Session{ID: "test", Resource: "resource", Destination: netip.MustParseAddrPort("192.0.2.1:1")},
		Client:  clientLeg, Dial: func(context.Context) (net.Conn, error) { return serverLeg, nil },
		Guard: journal, Masks: &mask.Set{}, Observe: true, Log: zap.NewNop(),
	}
	ended := make(chan error, 1)
	go func() { ended <- plugin.Serve(ctx, conn) }()
	defer near.Close() //nolint:errcheck // read to its end
	defer far.Close()  //nolint:errcheck // likewise
	first := func() { hears(t, "server", near, far, client) }
	second := func() { hears(t, "client", far, near, server) }
	if !clientFirst {
		first, second = second, first
	}
	first()
	second()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("the session goes on")
	}
	for _, e := range journal.Entries() {
		if !e.Ended {
			t.Errorf("operation %q never ended", e.Op.Kind)
		}
	}
}

// hears has one peer say something and end, and the other hear exactly that.
func hears(t *testing.T, who string, from, to net.Conn, said []byte) {
	t.Helper()
	go func() {
		_, _ = from.Write(said) // the other side says what is missing
		_ = from.(*net.TCPConn).CloseWrite()
	}()
	_ = to.SetReadDeadline(time.Now().Add(patience / 2)) // reading says so if it fails
	if got, err := io.ReadAll(to); err != nil || !bytes.Equal(got, said) {
		t.Errorf("the %s got %d bytes of %d, %v", who, len(got), len(said), err)
	}
}
