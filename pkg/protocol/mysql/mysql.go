// Package mysql inspects the client/server protocol of MySQL and MariaDB.
//
// It promises that no statement reaches the server before the guard allowed
// it, that the agent's credential never reaches the client nor the client's
// password the server, and that a value of a masked column leaves only masked:
// what cannot be proven clean is refused or hidden. README.md lists what is
// inspected and how a refusal looks. It does not hide what a client can infer
// from predicates, row counts or timing.
//
// The conversation is a state machine without I/O; protocol.Pump drives it.
// The names of messages and numbers are those of MySQL's and MariaDB's
// documentation of their protocol.
package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// MySQL is the plug-in. All sessions of one MySQL share what servers said of
// themselves, the registry of threads and the cache of analysed statements.
type MySQL struct {
	options  Options
	analyzer *mysqltext.Analyzer
	threads  *threads
	changes  changes

	mu       sync.Mutex
	profiles map[string]profile // by resource and destination; guarded by mu
}

// New returns the plug-in.
func New(options Options) (*MySQL, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	return &MySQL{options: options, analyzer: mysqltext.New(), threads: newThreads(), profiles: map[string]profile{}}, nil
}

// Info says that the server speaks first.
func (*MySQL) Info() protocol.Info {
	return protocol.Info{Name: "mysql", ServerSpeaksFirst: true, Ports: []uint16{3306}, Logins: protocol.PasswordLogin}
}

// Recognize looks for a client's answer to a greeting: a packet with the
// sequence number 1 and the capability bit of protocol 4.1.
func (*MySQL) Recognize(prefix []byte) protocol.Match {
	if len(prefix) < headerSize+2 {
		if len(prefix) >= headerSize && prefix[3] != 1 || len(prefix) >= 3 && prefix[2] != 0 {
			return protocol.No
		}
		return protocol.NeedMore
	}
	size, sequence := header(prefix)
	can := uint32(prefix[headerSize]) | uint32(prefix[headerSize+1])<<8
	if sequence != 1 || size < headerSize+answerHead || size > maxAnswer || can&canProtocol41 == 0 {
		return protocol.No
	}
	return protocol.Yes
}

// Serve runs one session.
func (m *MySQL) Serve(ctx context.Context, conn *protocol.Conn) error {
	if conn.Observe {
		return protocol.NewPump(conn, newObserver(m, conn), m.options.MaxMessage+headerSize).Run(ctx)
	}
	if conn.Choose != nil {
		return errors.New("mysql's clients say too late what a resource could be selected by")
	}
	known, err := m.profile(ctx, conn)
	if err != nil {
		return fmt.Errorf("learn of the server: %w", err)
	}
	c := newConversation(m, conn, known)
	pump := protocol.NewPump(conn, c, m.options.MaxMessage+headerSize)
	c.thread.interrupt = pump.Interrupt
	m.threads.add(&c.thread)
	defer m.threads.remove(&c.thread)
	return pump.Run(ctx)
}

// profile is what the server said of itself when it was last spoken to. The
// first session of a destination reads its greeting and no more, on a
// connection of its own: a server counts connections that end in their
// handshake, and refuses all of a host's once they are many, so that no client
// may make one by leaving early.
func (m *MySQL) profile(ctx context.Context, conn *protocol.Conn) (profile, error) {
	m.mu.Lock()
	known, ok := m.profiles[profileKey(conn)]
	m.mu.Unlock()
	if ok {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	server, err := conn.Dial(ctx)
	if err != nil {
		return profile{}, err
	}
	defer server.Close() //nolint:errcheck // it was only listened to
	stop := context.AfterFunc(ctx, func() { _ = server.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	g, err := readGreeting(server)
	if err != nil {
		return profile{}, err
	}
	known = g.profile()
	m.learn(conn, known)
	return known, nil
}

// learnTimeout is how long a server may take to greet.
const learnTimeout = 10 * time.Second

// learn remembers what a server said of itself.
func (m *MySQL) learn(conn *protocol.Conn, p profile) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.profiles[profileKey(conn)] = p
}

func profileKey(conn *protocol.Conn) string {
	return conn.Session.Resource + " " + conn.Session.Destination.String()
}

func readGreeting(server net.Conn) (*greeting, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(server, head[:]); err != nil {
		return nil, err
	}
	size, sequence := header(head[:])
	if size > maxLoginFrame || sequence != 0 {
		return nil, errGreeting
	}
	payload := make([]byte, size-headerSize)
	if _, err := io.ReadFull(server, payload); err != nil {
		return nil, err
	}
	g := new(greeting)
	return g, g.parse(payload)
}
