// Package web inspects what is asked of internal and vendors' HTTP APIs, over
// HTTP/1.1 and HTTP/2.
//
// It promises that no request reaches the server before the guard allowed it,
// that what masks hide of an answer is hidden or the answer is not shown, and
// that neither the server's credential reaches the job, nor what the job
// authenticates with the server. It knows no API: what a request does there is
// for rules to say. README.md lists what is inspected and how a refusal looks.
package web

import (
	"context"
	"fmt"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Name is the protocol's name in policies.
const Name = "web"

// Web is the plug-in.
type Web struct {
	engine *httpproxy.Engine
}

// New returns the plug-in.
func New(Options) protocol.Protocol { return &Web{engine: httpproxy.New()} }

// Info says where servers listen, and what the agent can log in with.
func (*Web) Info() protocol.Info {
	return protocol.Info{
		Name: Name, Ports: []uint16{443, 80},
		Logins: protocol.TokenLogin | protocol.HeaderLogin | protocol.PasswordLogin | protocol.CertificateLogin,
	}
}

// Recognize looks for the beginning of TLS or HTTP.
func (*Web) Recognize(prefix []byte) protocol.Match { return httpproxy.Recognize(prefix) }

// Serve runs one session.
func (p *Web) Serve(ctx context.Context, conn *protocol.Conn) error {
	if conn.Observe {
		return protocol.NewPump(conn, &observer{session: newSession(conn)}, maxHead+shortest).Run(ctx)
	}
	for _, column := range conn.Masks.Columns {
		return fmt.Errorf("the web has no columns, so that mask %q cannot be applied: write json_paths", column.Mask)
	}
	for _, kind := range conn.Masks.Kinds {
		return fmt.Errorf("the web has no kinds, so that mask %q cannot be applied: write json_paths", kind.Mask)
	}
	return p.engine.Serve(ctx, conn, newSession(conn).site())
}
