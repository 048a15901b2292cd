// Package ssh inspects SSH (RFC 4251 to 4254): what is run on a host, its
// files over SFTP and scp, and connections through it.
//
// It promises that nothing runs on the server, no file is opened or changed
// and no connection is made before the guard allowed it; that a refusal ends
// what was asked and not the session; that the agent's credential never
// reaches the client and nothing that the client authenticates with reaches
// the server; and that a server whose host key is not known is not spoken to.
// README.md lists what is inspected and how a refusal looks. It does not see
// what an allowed program does.
//
// The two legs are SSH connections of their own, so that the agent reads what
// is between them. Command lines (pkg/shelltext) and SFTP packets are read by
// pure functions and small state machines without I/O.
package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Name is the protocol's name in policies.
const Name = "ssh"

// SSH is the plug-in. All sessions of one share the quota of channels, and the
// room for packs.
type SSH struct {
	options  Options
	channels *quota
	packs    *gitwire.Room
}

// New returns the plug-in.
func New(options Options) (protocol.Protocol, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	return &SSH{options: options, channels: newQuota(options.WorkloadChannels), packs: gitwire.NewRoom(workloadPacks, allPacks)}, nil
}

// Info says that both peers greet at once, and what the agent can log in with.
func (*SSH) Info() protocol.Info {
	return protocol.Info{
		Name: Name, Ports: []uint16{22}, HostKeys: true,
		Logins: protocol.PasswordLogin | protocol.KeyLogin | protocol.CertificateLogin | protocol.AuthorityLogin,
	}
}

// greetings begin an identification string (RFC 4253, section 4.2 and 5.1).
var greetings = [][]byte{[]byte("SSH-2.0-"), []byte("SSH-1.99-")}

// Recognize looks for an identification string.
func (*SSH) Recognize(prefix []byte) protocol.Match {
	for _, greeting := range greetings {
		n := min(len(prefix), len(greeting))
		if !bytes.Equal(prefix[:n], greeting[:n]) {
			continue
		}
		if n == len(greeting) {
			return protocol.Yes
		}
		return protocol.NeedMore
	}
	return protocol.No
}

// Serve runs one session.
func (p *SSH) Serve(ctx context.Context, conn *protocol.Conn) error {
	if conn.Observe {
		return protocol.RelayUnread(ctx, conn, protocol.Encrypted, lookSSH)
	}
	if err := able(conn); err != nil {
		return err
	}
	return newSession(p, conn).run(ctx)
}

// able reports what of a session's configuration cannot be honoured.
func able(conn *protocol.Conn) error {
	switch {
	case conn.HostKeys == nil:
		return errors.New("ssh has no host keys to show: trust.ssh_key_file is missing")
	}
	for _, column := range conn.Masks.Columns {
		return fmt.Errorf("ssh has no columns, so that mask %q cannot be applied: name its resources", column.Mask)
	}
	for _, path := range conn.Masks.Paths {
		return fmt.Errorf("ssh has no columns, so that mask %q cannot be applied: name its resources", path.Mask)
	}
	return nil
}
