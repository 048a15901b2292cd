// Package kubernetes inspects what is asked of a Kubernetes API server, over
// HTTP/1.1 and HTTP/2.
//
// It promises that no request reaches the server before the guard allowed it,
// that a refusal is Kubernetes' own, and that the server's credential never
// reaches the job, nor what the job authenticates with the server. README.md
// lists what is inspected and how a refusal looks.
package kubernetes

import (
	"context"
	"fmt"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Name is the protocol's name in policies.
const Name = "kubernetes"

// Kubernetes is the plug-in.
type Kubernetes struct {
	engine *httpproxy.Engine
}

// New returns the plug-in.
func New(Options) (protocol.Protocol, error) {
	return &Kubernetes{engine: httpproxy.New()}, nil
}

// Info says where API servers listen, and what the agent can log in with.
func (*Kubernetes) Info() protocol.Info {
	return protocol.Info{
		Name: Name, Ports: []uint16{6443, 443},
		Logins: protocol.TokenLogin | protocol.CertificateLogin,
	}
}

// Recognize looks for the beginning of TLS or HTTP.
func (*Kubernetes) Recognize(prefix []byte) protocol.Match { return httpproxy.Recognize(prefix) }

// Serve runs one session.
func (p *Kubernetes) Serve(ctx context.Context, conn *protocol.Conn) error {
	if conn.Observe {
		return protocol.RelayUnread(ctx, conn, protocol.Encrypted, protocol.LookTLS)
	}
	for _, column := range conn.Masks.Columns {
		return fmt.Errorf("kubernetes has no columns, so that mask %q cannot be applied: name its resources", column.Mask)
	}
	for _, path := range conn.Masks.Paths {
		return fmt.Errorf("kubernetes has no columns, so that mask %q cannot be applied: name its resources", path.Mask)
	}
	s := &session{conn: conn, login: httpproxy.NewLogin(conn)}
	return p.engine.Serve(ctx, conn, s.site())
}
