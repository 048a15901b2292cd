package destination

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"
)

const (
	resolveTimeout = 10 * time.Second
	// lookUpsAtOnce bounds the names that are asked for at one time.
	lookUpsAtOnce = 16
	// longestTTL is the most that is believed of an answer (RFC 8767, section 4).
	longestTTL = 7 * 24 * time.Hour
)

// answer is what came of asking for a name.
type answer struct {
	*named
	asked time.Time // when asking began
	addrs []netip.Addr
	// For how long the answer holds: the least and the most that any part of it
	// said. 0 where nothing did, as in the hosts file.
	least, most time.Duration
	err         error
}

// lookUp asks for names, some at a time.
func (k *Keeper) lookUp(ctx context.Context, all []*named) []answer {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	answers, asked := make([]answer, len(all)), time.Now()
	var group errgroup.Group
	group.SetLimit(lookUpsAtOnce)
	for i, n := range all {
		group.Go(func() error {
			got, err := k.resolve(ctx, n.host)
			got.named, got.asked, got.err = n, asked, err
			answers[i] = got
			return nil
		})
	}
	_ = group.Wait() // every answer has its own error
	return answers
}

// resolve asks as any program of the node does, the hosts file included, and
// reads along for how long the servers' answers hold.
func resolve(ctx context.Context, name string) (answer, error) {
	var times lifetimes
	resolver := net.Resolver{PreferGo: true, Dial: times.dial}
	addrs, err := resolver.LookupNetIP(ctx, "ip", name)
	times.mu.Lock()
	defer times.mu.Unlock()
	return answer{addrs: addrs, least: times.least, most: times.most}, err
}

// lifetimes gathers what answers say of how long they hold. Which of them the
// resolver believes it does not know: a forged one can make a name be asked for
// more often, and an address be kept for longer.
type lifetimes struct {
	mu          sync.Mutex
	least, most time.Duration // guarded by mu
}

func (l *lifetimes) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if udp, ok := conn.(*net.UDPConn); ok {
		return &readAlong{udp, l}, nil
	}
	return conn, err // TCP, after a truncated answer: nothing is known of those
}

// readAlong is a socket whose answers are looked at. It stays a datagram socket
// for the resolver.
type readAlong struct {
	*net.UDPConn
	times *lifetimes
}

// Read reads one answer.
func (r *readAlong) Read(to []byte) (int, error) {
	n, err := r.UDPConn.Read(to)
	if err == nil {
		r.times.note(to[:n])
	}
	return n, err
}

// note takes the lifetimes of a message's answers, if it is one.
func (l *lifetimes) note(message []byte) {
	var parser dnsmessage.Parser
	if _, err := parser.Start(message); err != nil {
		return
	}
	if err := parser.SkipAllQuestions(); err != nil {
		return
	}
	for {
		header, err := parser.AnswerHeader()
		if err != nil {
			return
		}
		l.add(time.Duration(header.TTL) * time.Second)
		if err := parser.SkipAnswer(); err != nil {
			return
		}
	}
}

// add takes one lifetime; 0 counts as a moment.
func (l *lifetimes) add(ttl time.Duration) {
	ttl = min(max(ttl, time.Nanosecond), longestTTL)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.least == 0 || ttl < l.least {
		l.least = ttl
	}
	l.most = max(l.most, ttl)
}
