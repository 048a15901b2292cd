package ssh

import (
	"net"
	"path"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// endpoint is where a connection through the host is to go, or where the host
// is to listen.
type endpoint struct {
	path string // as it is recorded: host and port, or a socket's path
	tcp  bool   // host and port, which are set then
	host string
	port uint16
}

// wanted says where a connection is to go.
func wanted(opened ssh.NewChannel) (endpoint, bool) {
	if opened.ChannelType() == "direct-tcpip" {
		var to struct {
			Host   string
			Port   uint32
			Origin string
			From   uint32
		}
		if ssh.Unmarshal(opened.ExtraData(), &to) != nil {
			return endpoint{}, false
		}
		return hostEndpoint(to.Host, to.Port)
	}
	var to struct { // OpenSSH's PROTOCOL, section 2.4
		Path     string
		Reserved string
		Unused   uint32
	}
	return endpoint{path: to.Path}, ssh.Unmarshal(opened.ExtraData(), &to) == nil && to.Path != ""
}

// hostEndpoint reads a host and a port. What no name or address has is not one:
// resolvers end at a space, or take one character for another.
func hostEndpoint(host string, port uint32) (endpoint, bool) {
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	if host == "" || port > 65535 || strings.ContainsFunc(host, odd) {
		return endpoint{}, false
	}
	return endpoint{path: hostPort(host, port), tcp: true, host: host, port: uint16(port)}, true
}

func hostPort(host string, port uint32) string {
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}

// known is what an endpoint is looked up by, as far as that can be told here:
// the host resolves names by itself. Its own addresses count as the one that
// the client asked for. A socket that is named after a port, as PostgreSQL's
// .s.PGSQL.5432 is, counts as that port of the host.
func (s *session) known(to endpoint) (host string, port uint16, ok bool) {
	host, port = to.host, to.port
	if !to.tcp {
		number, err := strconv.ParseUint(strings.TrimPrefix(path.Ext(to.path), "."), 10, 16)
		if err != nil {
			return "", 0, false
		}
		host, port = "localhost", uint16(number)
	}
	host, loopback := numeric(host)
	if loopback {
		host = s.conn.Session.Destination.Addr().Unmap().String()
	}
	return host, port, true
}

// protected tells whose an endpoint is.
func (s *session) protected(to endpoint) (resources []string, protected bool) {
	host, port, ok := s.known(to)
	if !ok || s.conn.Protected == nil {
		return nil, false
	}
	return s.conn.Protected(host, port)
}
