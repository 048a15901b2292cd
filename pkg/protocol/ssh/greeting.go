package ssh

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	// maxIdentification is the longest identification string (RFC 4253,
	// section 4.2).
	maxIdentification = 255
	// maxProposal is the largest key exchange proposal that is looked at;
	// OpenSSH's takes 2 KiB.
	maxProposal = 16 << 10
	// proposal is SSH_MSG_KEXINIT (RFC 4253, section 7.1).
	proposal = 20
)

// authenticated are the ciphers that need no second pass for a MAC.
var authenticated = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}

// greeted is a client leg that was told already who we are.
type greeted struct {
	net.Conn
	told bool // what the library says first was dropped; before it has a second goroutine
}

// greet says who we are, so that the client goes on, and waits for its first
// bytes.
func greet(client *wire) (*greeted, error) {
	if _, err := client.Write([]byte(version + "\r\n")); err != nil {
		return nil, err
	}
	_, err := client.in.Peek(1)
	return &greeted{Conn: client}, err
}

// Write implements io.Writer.
func (g *greeted) Write(b []byte) (int, error) {
	if !g.told {
		g.told = true
		return len(b), nil
	}
	return g.Conn.Write(b)
}

// offered are the ciphers that a client is offered, by what it says first,
// which stays unread. The client's order decides (RFC 4253, section 7.1), and
// OpenSSH's has AES-CTR with a MAC before AES-GCM: so one that has both is
// offered the second only. Only of OpenSSH is it known that it says what it
// has without waiting for us.
func offered(in *bufio.Reader) []string {
	id := identification(in)
	if !bytes.HasPrefix(id, []byte("SSH-2.0-OpenSSH_")) {
		return ciphers
	}
	head, err := in.Peek(len(id) + 4)
	if err != nil {
		return ciphers // the library comes upon it, too
	}
	size := binary.BigEndian.Uint32(head[len(id):])
	if size > maxProposal {
		return ciphers
	}
	packet, err := in.Peek(len(id) + 4 + int(size))
	if err != nil {
		return ciphers
	}
	toUs, fromUs, ok := proposed(packet[len(id)+4:])
	has := func(name string) bool { return slices.Contains(toUs, name) && slices.Contains(fromUs, name) }
	if !ok || !slices.ContainsFunc(authenticated, has) {
		return ciphers
	}
	return authenticated
}

// identification is the client's line with its end; nil for none.
func identification(in *bufio.Reader) []byte {
	for n := 1; n <= maxIdentification; n = in.Buffered() + 1 {
		if _, err := in.Peek(n); err != nil {
			return nil
		}
		line, _ := in.Peek(in.Buffered())
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			return line[:end+1]
		}
	}
	return nil
}

// proposed reads the ciphers of a proposal, without its length.
func proposed(packet []byte) (toUs, fromUs []string, ok bool) {
	f := fields{rest: packet}
	f.byte() // length of the padding
	kind := f.byte()
	f.take(16) // cookie
	f.bytes()  // key exchanges
	f.bytes()  // host keys
	toUs, fromUs = strings.Split(f.string(), ","), strings.Split(f.string(), ",")
	return toUs, fromUs, kind == proposal && !f.short
}
