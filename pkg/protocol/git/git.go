// Package git inspects git over HTTPS: the smart protocol of
// gitprotocol-http(5), over HTTP/1.1 and HTTP/2.
//
// It promises that no push and no fetch reaches the server before the guard
// allowed it, that a push is decided about whole, with what each ref would lose,
// and forwarded byte for byte; that a refusal is git's own; and that the
// server's credential never reaches the job, nor what the job authenticates with
// the server. What is not the smart protocol is refused. README.md lists what is
// inspected and how a refusal looks; pkg/gitwire reads what clients and servers
// say.
package git

import (
	"context"
	"fmt"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Name is the protocol's name in policies.
const Name = "git"

// What packs of pushes may take of the disk while they wait.
const (
	workloadPacks = 4 << 30
	allPacks      = 16 << 30
)

// Options are what an operator can set. The zero value is good.
type Options struct {
	// PackDir is where packs wait for their decision, in files without a name; ""
	// for the system's directory for such files.
	PackDir string
}

// Git is the plug-in. All sessions of one share the room for packs.
type Git struct {
	options Options
	engine  *httpproxy.Engine
	packs   *gitwire.Room
}

// New returns the plug-in.
func New(options Options) protocol.Protocol {
	return &Git{options: options, engine: httpproxy.New(), packs: gitwire.NewRoom(workloadPacks, allPacks)}
}

// Info says where servers listen, and what the agent can log in with.
func (*Git) Info() protocol.Info {
	return protocol.Info{Name: Name, Ports: []uint16{443}, Logins: protocol.PasswordLogin | protocol.TokenLogin}
}

// Recognize looks for the beginning of TLS or HTTP.
func (*Git) Recognize(prefix []byte) protocol.Match { return httpproxy.Recognize(prefix) }

// Serve runs one session.
func (p *Git) Serve(ctx context.Context, conn *protocol.Conn) error {
	if conn.Observe {
		return protocol.RelayUnread(ctx, conn, protocol.Encrypted, protocol.LookTLS)
	}
	if err := able(conn); err != nil {
		return err
	}
	s := &session{plugin: p, conn: conn}
	return p.engine.Serve(ctx, conn, s.site())
}

// able reports what of a session's configuration cannot be honoured.
func able(conn *protocol.Conn) error {
	for _, column := range conn.Masks.Columns {
		return fmt.Errorf("git has no columns, so that mask %q cannot be applied: name its resources", column.Mask)
	}
	for _, path := range conn.Masks.Paths {
		return fmt.Errorf("git has no columns, so that mask %q cannot be applied: name its resources", path.Mask)
	}
	return nil
}
