package destination

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/redirect"
)

func TestNothingIsInForceUntilEveryNameHasAnAddress(t *testing.T) {
	applied := 0
	k := New(Config{
		Resources: one(), Log: zaptest.NewLogger(t),
		Containers: func(context.Context) (attribution.Containers, error) { return attribution.Containers{}, nil },
		Apply:      func(Table) error { applied++; return nil },
	})
	k.resolve = func(context.Context, string) (answer, error) { return answer{}, errors.New("away") }
	if err := k.Resolve(t.Context(), 0); err == nil || applied != 0 {
		t.Errorf("it starts with %d tables, %v", applied, err)
	}
}

// TestNamesThatComeLateAreWaitedFor asks for one that is there and one that is
// not there at first.
func TestNamesThatComeLateAreWaitedFor(t *testing.T) {
	resources := one()
	resources[0].Hosts = append(resources[0].Hosts, policy.Host{Name: "late.example"})
	k := New(Config{
		Resources: resources, Log: zaptest.NewLogger(t),
		Containers: func(context.Context) (attribution.Containers, error) { return attribution.Containers{}, nil },
		Apply:      func(Table) error { return nil },
	})
	var asked atomic.Int32
	k.resolve = func(_ context.Context, name string) (answer, error) {
		if name == "late.example" && asked.Add(1) < 3 {
			return answer{}, errors.New("away")
		}
		return answer{addrs: []netip.Addr{netip.MustParseAddr("203.0.113.5")}, least: 1, most: 1}, nil
	}
	if err := k.Resolve(t.Context(), time.Minute); err != nil || asked.Load() != 3 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

// TestEngineThatDoesNotAnswerHoldsNobodyUp is one that is started by the
// question and waits for the agent.
func TestEngineThatDoesNotAnswerHoldsNobodyUp(t *testing.T) {
	k := New(Config{
		Resources: one(), Log: zaptest.NewLogger(t),
		Containers: func(ctx context.Context) (attribution.Containers, error) {
			<-ctx.Done()
			return attribution.Containers{}, ctx.Err()
		},
		Apply: func(Table) error { return nil },
	})
	k.resolve = func(context.Context, string) (answer, error) {
		return answer{addrs: []netip.Addr{netip.MustParseAddr("203.0.113.5")}, least: 1, most: 1}, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := errors.Join(k.Resolve(ctx, 0), k.Start(), ctx.Err()); err != nil {
		t.Error(err)
	}
}

func TestSlowNameServerKeepsContainersNotWaiting(t *testing.T) {
	const addr, node = "203.0.113.5", "198.51.100.1:15432"
	var mu sync.Mutex
	asked, where := 0, running("one", addr)
	slow, published := make(chan struct{}), make(chan struct{})
	var once sync.Once
	k := New(Config{
		Resources: one(), Log: zaptest.NewLogger(t),
		Containers: func(context.Context) (attribution.Containers, error) {
			mu.Lock()
			defer mu.Unlock()
			return where, nil
		},
		Apply: func(table Table) error {
			if _, there := table[exactly(netip.MustParseAddrPort(node))]; there {
				once.Do(func() { close(published) })
			}
			return nil
		},
	})
	k.resolve = func(context.Context, string) (answer, error) {
		if asked++; asked > 1 {
			<-slow
		}
		return answer{addrs: []netip.Addr{netip.MustParseAddr(addr)}, least: 1, most: 1}, nil
	}
	if err := errors.Join(k.Resolve(t.Context(), 0), k.Start()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- k.Run(ctx) }()
	mu.Lock()
	where = running("one", addr, [2]string{node, addr + ":5432"})
	mu.Unlock()
	select {
	case <-published:
	case <-time.After(time.Minute):
		t.Error("a published port waits for the name server")
	}
	close(slow)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTableComesThroughAsItWas(t *testing.T) {
	table := Table{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Port: 5432}:    {Resources: []string{"net"}},
		{Prefix: netip.MustParsePrefix("2001:db8::1/128"), Port: 5432}: {Resources: []string{"v6", "v7"}, Server: netip.MustParseAddrPort("192.0.2.1:1")},
		{Prefix: netip.MustParsePrefix("192.0.2.9/32"), Port: 1}:       {},
		{Prefix: netip.MustParsePrefix("192.0.2.8/32"), Port: 1}:       {Clash: []string{"a", "b"}},
	}
	text, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	var got Table
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(table, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b redirect.Destination) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
