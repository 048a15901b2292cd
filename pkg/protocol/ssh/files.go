package ssh

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"path"
	"strings"
	"sync"

	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// maxPending is how many requests a client may have on their way, and
	// maxFiles how many open files. OpenSSH's client has 64 on their way.
	maxPending = 4096
	maxFiles   = 1024
)

// files is what is known of one SFTP channel: the requests on their way, and
// the open files. It does no I/O; its owner locks it.
type files struct {
	pending map[uint32]pending
	open    map[string]*file
	over    bool // no answer will come
}

func newFiles() *files { return &files{pending: map[uint32]pending{}, open: map[string]*file{}} }

// pending is a request that the server has not answered.
type pending struct {
	op     *protocol.Asked // that the answer ends; nil: none
	opens  *file           // what the answer's handle stands for
	reads  *file           // whose bytes the answer has
	offset uint64
	closes *file
	ours   chan<- fileReply // for a question of ours; the client does not hear of it
}

// file is an open file or directory.
type file struct {
	op   *protocol.Asked
	path string

	mu          sync.Mutex
	read, wrote passed // guarded by mu
}

// note remembers a piece that passes.
func (f *file) note(p *passed, offset uint64, piece []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.add(offset, piece)
}

// pass remembers and records a piece before it passes.
func (f *file) pass(p *passed, stream protocol.Stream, offset uint64, piece []byte) error {
	f.note(p, offset, piece)
	return f.op.Digested(stream, piece, func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		return protocol.SoFar + p.digest()
	})
}

// passed is what went through a file in one direction.
type passed struct {
	bytes    uint64
	hash     hash.Hash
	next     uint64 // where the next piece begins if all is in order
	shuffled bool
}

func (p *passed) add(offset uint64, piece []byte) {
	if p.hash == nil {
		p.hash = sha256.New()
		p.next = offset
		p.shuffled = offset != 0
	}
	p.shuffled = p.shuffled || offset != p.next
	p.bytes += uint64(len(piece))
	p.next = offset + uint64(len(piece))
	p.hash.Write(piece)
}

// digest is that of what passed so far.
func (p *passed) digest() string { return hex.EncodeToString(p.hash.Sum(nil)) }

// summary says what went through: the digest is the file's where all of it
// went in order.
func (f *file) summary() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var parts []string
	for _, direction := range []struct {
		verb string
		p    *passed
	}{{"read", &f.read}, {"wrote", &f.wrote}} {
		if direction.p.hash == nil {
			continue
		}
		text := fmt.Sprintf("%s %d bytes, sha256:%s", direction.verb, direction.p.bytes, direction.p.digest())
		if direction.p.shuffled {
			text += ", in pieces out of order"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// await notes a request. It reports false when the client broke the protocol,
// or has too many on their way.
func (f *files) await(id uint32, p pending) bool {
	if _, taken := f.pending[id]; taken || f.over || len(f.pending) >= maxPending {
		return false
	}
	f.pending[id] = p
	return true
}

// fresh returns an id that is not in use.
func (f *files) fresh() uint32 {
	for id := ^uint32(0); ; id-- {
		if _, taken := f.pending[id]; !taken {
			return id
		}
	}
}

// answered takes the request that a reply is for.
func (f *files) answered(reply fileReply) (pending, bool) {
	p, known := f.pending[reply.id]
	delete(f.pending, reply.id)
	return p, known
}

// statusOutcome is the end of an operation as the server said it.
func statusOutcome(reply fileReply, tag string) protocol.Outcome {
	if reply.kind != sftpStatus || reply.code == sftpOK || reply.code == sftpEOF {
		return protocol.Outcome{Status: protocol.OK, Tag: tag}
	}
	return protocol.Outcome{Status: protocol.Failed, Code: fmt.Sprintf("sftp %d", reply.code), Tag: tag}
}

// lexical makes a path absolute and clean without asking the server. It
// reports whether that is certainly the same file: a link before ".." is not
// seen.
func lexical(home, name string) (clean string, certain bool) {
	certain = !strings.Contains("/"+name+"/", "/../")
	if !strings.HasPrefix(name, "/") {
		certain = certain && home != ""
		name = home + "/" + name
	}
	return path.Clean(name), certain
}
