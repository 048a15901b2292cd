// Package postgres inspects PostgreSQL's wire protocol, version 3.
//
// It promises that no statement reaches the server before the guard allowed
// it, that a refusal leaves client and server in agreement about the
// transaction, that the agent's credential never reaches the client nor the
// client's password the server, and that a value of a masked column leaves
// only masked: what cannot be proven clean is refused. README.md lists what is
// inspected and how a refusal looks. It does not hide what a client can infer
// from predicates, row counts or timing.
//
// The conversation is a state machine without I/O; protocol.Pump drives it.
// The numbers and letters of messages are those of PostgreSQL's documentation,
// chapter "Frontend/Backend Protocol".
package postgres

import (
	"context"
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// Postgres is the plug-in. All sessions of one Postgres share the registry of
// cancel keys, the cache of analysed statements and what is known of masked
// columns.
type Postgres struct {
	options  Options
	keys     *keyring
	analyzer *sqltext.Analyzer
	targets  *targets
}

// New returns the plug-in with its SQL parser loaded, which takes a second or
// two: better at start than in the first session.
func New(options Options) (protocol.Protocol, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	analyzer := sqltext.New()
	analyzer.Warm()
	return &Postgres{options: options, keys: newKeyring(), analyzer: analyzer, targets: newTargets()}, nil
}

// Info says that the client speaks first.
func (*Postgres) Info() protocol.Info {
	return protocol.Info{Name: "postgres", Ports: []uint16{5432}, Logins: protocol.PasswordLogin | protocol.CertificateLogin, Chooses: true}
}

// Recognize looks for a start-up packet: a length, then a version or one of
// the request codes.
func (*Postgres) Recognize(prefix []byte) protocol.Match {
	var head [8]byte
	n := copy(head[:], prefix)
	if n < len(head) {
		if n > 0 && head[0] != 0 || n > 1 && head[1] != 0 || n > 4 && head[4] != 0 && head[4] != 4 {
			return protocol.No
		}
		return protocol.NeedMore
	}
	size, code := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	if size < 8 || size > maxStartup {
		return protocol.No
	}
	switch {
	case code == sslRequest, code == gssRequest, code == cancelRequest, code>>16 == 3:
		return protocol.Yes
	}
	return protocol.No
}

// Serve runs one session.
func (p *Postgres) Serve(ctx context.Context, conn *protocol.Conn) error {
	if conn.Observe {
		observed := &observer{conversation: newConversation(p, conn)}
		return protocol.NewPump(conn, observed, p.options.MaxMessage+headerSize).Run(ctx)
	}
	c := newConversation(p, conn)
	secured, err := c.secure(conn)
	if err != nil {
		return err
	}
	pump := protocol.NewPump(secured, c, p.options.MaxMessage+headerSize)
	c.key.interrupt = pump.Interrupt
	defer p.keys.remove(&c.key)
	return pump.Run(ctx)
}
