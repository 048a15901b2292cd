package protocoltest

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// Openings are what clients of each protocol send first, for recognition. Each
// plug-in must take its own and refuse all others'.
var Openings = map[string][]byte{
	"postgres": []byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"),
	"ssh":      []byte("SSH-2.0-OpenSSH_9.2\r\n"),
	"http":     []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"),
	"tls":      []byte("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"),
}

// Conform checks what every plug-in promises and scripts do not: recognition,
// and sessions that end in bounded time and leave nothing behind.
func Conform(t *testing.T, p Plugin) {
	t.Helper()
	plugin, err := p.New()
	if err != nil {
		t.Fatal(err)
	}
	own := p.Opens
	if len(own) == 0 {
		own = []string{plugin.Info().Name}
	}
	t.Run("recognises its own opening only", func(t *testing.T) {
		for name, opening := range Openings {
			got := plugin.Recognize(opening)
			if want := slices.Contains(own, name); (got == protocol.Yes) != want {
				t.Errorf("the opening of %s gave %v", name, got)
			}
			for n := range opening {
				if slices.Contains(own, name) && plugin.Recognize(opening[:n]) == protocol.No {
					t.Errorf("the first %d bytes of the opening of %s were refused", n, name)
				}
			}
		}
	})
	t.Run("ends when its context ends", func(t *testing.T) {
		checkGoroutines(t)
		r := start(t, p)
		r.play(t, p.Greets)
		r.stop(t)
	})
	t.Run("ends when its client leaves", func(t *testing.T) {
		checkGoroutines(t)
		r := start(t, p)
		r.play(t, p.Greets)
		if err := r.hangUp("client"); err != nil {
			t.Fatal(err)
		}
		if err := r.expectEnd(""); err != nil {
			t.Error(err)
		}
		r.stop(t)
	})
	t.Run("refuses noise", func(t *testing.T) {
		checkGoroutines(t)
		r := start(t, p)
		_, _ = r.client.Write(bytes.Repeat([]byte{0xff}, 1<<16)) // it may be closed before all is written
		select {
		case err := <-r.ended:
			if err == nil {
				t.Error("noise ended without an error")
			}
		case <-time.After(patience):
			t.Error("the session goes on")
		}
		r.cancel()
		_ = r.client.Close()
	})
}

// checkGoroutines fails a test that leaves a goroutine of this module behind.
func checkGoroutines(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for {
			left := pumps()
			if left == "" {
				return
			}
			select {
			case <-ctx.Done():
				t.Errorf("a goroutine is left behind:\n%s", left)
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
}

// pumps returns the stacks of goroutines that serve a session.
func pumps() string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	var left []string
	for _, stack := range strings.Split(string(all), "\n\n") {
		if strings.Contains(stack, "protocol.(*Pump)") || strings.Contains(stack, ".Serve(") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}
