package httpproxy

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

// TestRequestsUseConnectionsAgain has one after the other share a connection, and
// many at once get what they need, of which a few are kept.
func TestRequestsUseConnectionsAgain(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 1 {
				t.Errorf("the server was asked in %s", r.Proto)
			}
			_, _ = w.Write([]byte(r.URL.Path))
		})
		client, _, _ := r.open(t)
		h := r.client(t, http2)
		h.Transport.(*http.Transport).DialContext = dialled(client)
		ask := func(path string) {
			if status, _, text, err := do(t, h, "GET", path, ""); err != nil || status != 200 || text != path {
				t.Errorf("%d %q %v", status, text, err)
			}
		}
		for n := range 9 {
			ask("/" + strings.Repeat("x", n*1000)) // short ones, and those that come in pieces
		}
		if n := r.dials.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		if !http2 {
			return
		}
		var wait sync.WaitGroup
		for n := range 64 {
			wait.Go(func() { ask("/" + strings.Repeat("y", n)) })
		}
		wait.Wait()
		most := r.dials.Load()
		for n := range maxSpare {
			ask("/" + strings.Repeat("z", n))
		}
		if n := r.dials.Load(); n != most || n > 65 {
			t.Errorf("%d connections, then %d", most, n)
		}
		if all := r.journal.Entries(); len(all) != 1+9+64+maxSpare || all[0].Op.Kind != operation.Connect {
			t.Errorf("%d operations", len(all))
		}
	})
}

// TestBodiesThatAreHeldAreBounded holds one, beside which another one has no
// room; a third does once the first has left.
func TestBodiesThatAreHeldAreBounded(t *testing.T) {
	r := newRig(t, func(http.ResponseWriter, *http.Request) {})
	r.engine.memory = protocol.NewPool(900<<10, 1<<30)
	held := make(chan struct{})
	r.journal.Decide = func(ctx context.Context, op *operation.Operation) protocol.Decision {
		if op.HTTP != nil && op.HTTP.Path == "/held" && op.Parsed {
			close(held)
			<-ctx.Done()
		}
		return protocol.Decision{Effect: protocol.Allow}
	}
	body := strings.Repeat("x", 400<<10)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://server.example/held", strings.NewReader(body))
		if err != nil {
			return
		}
		if answer, err := r.client(t, true).Do(request); err == nil {
			_ = answer.Body.Close()
		}
	}()
	<-held
	if status, _, _, err := do(t, r.client(t, true), "POST", "/second", body); err != nil || status != http.StatusTooManyRequests {
		t.Errorf("%d %v", status, err)
	}
	leave()
	if !r.journal.Await(func(all []protocoltest.Entry) bool { return all[0].Outcome.Status == protocol.Abandoned }) {
		t.Fatalf("%+v", r.journal.Requests())
	}
	for status := 0; status != 200; { // its room is given back once its handler has returned
		var err error
		if status, _, _, err = do(t, r.client(t, true), "POST", "/third", body); err != nil || status != 200 && status != http.StatusTooManyRequests {
			t.Fatalf("%d %v", status, err)
		}
	}
}
