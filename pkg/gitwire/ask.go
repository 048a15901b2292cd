package gitwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// question asks a server what one object's history has that others' have not.
//
// It is an ordinary fetch: want old, have the leaves, done. The server walks
// its own objects and sends a pack of the difference, which is empty exactly
// when the leaves' histories hold all of old's. Its "ready" would be cheaper and
// is not the answer: upload-pack counts the parents of what the client has as
// had too (do_got_oid in upload-pack.c), so that it says ready for a branch
// whose last commit was replaced.
type question struct {
	format format
	want   id
	have   []id
}

// answer is the difference.
type answer struct {
	commits      []known // in the server's order, which is newest first
	plain        bool    // it holds a tree or a blob
	complete     bool    // all of the difference was read and understood
	acknowledged bool    // the server has every leaf
	unsure       bool    // it was not asked about all that is known
}

// What an answer may cost. It is cut there, and says that it is not complete.
const (
	maxAnswer   = 16 << 20
	maxAnswered = 256 << 20 // inflated
	// maxLines is how many lines may come before the pack, and between two pieces
	// of it: capabilities, acknowledgments, of which protocol v0 has several for
	// a commit, sections, progress.
	maxLines = 4*maxHaves + 64
)

// Stream is a service's two directions as its caller sees them: Read gives
// what the service writes.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Opener runs a service on the server of a session, for questions of ours. It
// asks for protocol v2 where the transport can (GIT_PROTOCOL=version=2); the
// answer shows whether the server knows it. The stream ends with ctx.
type Opener func(ctx context.Context, command Command) (Stream, error)

// ask holds the conversation.
func ask(ctx context.Context, open Opener, repository string, q question, limits Limits, own *share) (said answer, err error) {
	stream, err := open(ctx, Command{Service: UploadPack, Repository: repository})
	if err != nil {
		return answer{}, fmt.Errorf("ask the server: %w", err)
	}
	defer func() { err = errors.Join(err, ctx.Err()) }()
	defer func() { _ = stream.Close() }() // the answer is there, or of no use any more
	from := newSource(stream)
	ad, err := readUpload(from, q.format.hex(q.want))
	if err != nil {
		return answer{}, fmt.Errorf("ask the server: %w", err)
	}
	if !ad.wantable || ad.format.name != q.format.name {
		return answer{}, errUnexpected
	}
	c := inquiry{question: q, ad: ad, from: from, to: stream}
	if err := c.negotiate(); err != nil {
		return answer{}, fmt.Errorf("ask the server: %w", err)
	}
	limits.Names = maxListed // nobody is told of them
	limits.Pack, limits.Inflated = min(limits.Pack, maxAnswer), min(limits.Inflated, maxAnswered)
	return c.difference(ctx, limits, own)
}

// inquiry is one question on its way.
type inquiry struct {
	question
	ad    uploadAdvertisement
	from  *source
	to    Stream
	acked map[string]struct{}
}

// filter leaves trees and blobs out where the server can.
func (c *inquiry) filter() bool { return slices.Contains(c.ad.capabilities, "filter") }

// negotiate asks, and reads up to the pack.
func (c *inquiry) negotiate() error {
	c.acked = map[string]struct{}{}
	if c.ad.version == 2 {
		return c.negotiate2()
	}
	request := appendPacket(nil, "want "+c.format.hex(c.want)+c.wished()+"\n")
	if c.filter() {
		request = appendPacket(request, "filter tree:0\n")
	}
	request = append(request, flushLine...)
	for _, have := range c.have {
		request = appendPacket(request, "have "+c.format.hex(have)+"\n")
	}
	request = appendPacket(request, "done\n")
	sent := make(chan error, 1)
	go func() { // the server acknowledges while it reads
		_, err := c.to.Write(request)
		sent <- err
	}()
	err := c.acknowledgments()
	if err != nil {
		_ = c.to.Close() // nobody reads the rest of the question
	}
	return errors.Join(err, <-sent)
}

// wished are the capabilities that protocols v0 and v1 have.
func (c *inquiry) wished() string {
	var words strings.Builder
	for _, name := range []string{"multi_ack_detailed", "side-band-64k", "ofs-delta", "no-progress", "filter"} {
		if c.ad.capabilities.has(name) {
			words.WriteString(" " + name)
		}
	}
	if c.ad.capabilities.value("object-format") != "" {
		words.WriteString(" object-format=" + c.format.name)
	}
	return words.String()
}

// acknowledgments reads ACK and NAK lines. The last one is "NAK", or an ACK
// without a status.
func (c *inquiry) acknowledgments() error {
	for range maxLines {
		p, err := c.from.packet()
		if err != nil {
			return err
		}
		name, status := ackOf(p.line())
		switch {
		case status == "common":
			c.acked[name] = struct{}{}
		case status == "ready": // said of what the server has not, too
		case p.line() == "NAK", name != "" && status == "":
			return nil
		default:
			return errUnexpected
		}
	}
	return errUnexpected
}

// negotiate2 is negotiate in protocol v2. The haves go first without "done",
// so that the server says which of them it has; where it is ready by then, the
// pack follows at once.
func (c *inquiry) negotiate2() error {
	for _, done := range []bool{len(c.have) == 0, true} {
		if _, err := c.to.Write(c.fetch(done)); err != nil {
			return err
		}
		packed, err := c.sections()
		if packed || err != nil {
			return err
		}
	}
	return errUnexpected
}

func (c *inquiry) fetch(done bool) []byte {
	request := appendPacket(nil, "command=fetch\n")
	request = appendPacket(request, "object-format="+c.format.name+"\n")
	request = append(request, delimLine...)
	request = appendPacket(request, "no-progress\n")
	request = appendPacket(request, "ofs-delta\n")
	if c.filter() {
		request = appendPacket(request, "filter tree:0\n")
	}
	request = appendPacket(request, "want "+c.format.hex(c.want)+"\n")
	for _, have := range c.have {
		request = appendPacket(request, "have "+c.format.hex(have)+"\n")
	}
	if done {
		request = appendPacket(request, "done\n")
	}
	return append(request, flushLine...)
}

// sections reads a response up to the pack, or to its end without one.
func (c *inquiry) sections() (packed bool, err error) {
	for range maxLines {
		p, err := c.from.packet()
		if err != nil {
			return false, err
		}
		text := p.line()
		switch {
		case p.kind == flushPacket:
			return false, nil
		case p.kind != dataPacket:
		case text == "packfile":
			return true, nil
		case strings.HasPrefix(text, "ERR "):
			return false, errUnexpected
		default:
			name, _ := ackOf(text)
			c.acked[name] = struct{}{}
		}
	}
	return false, errUnexpected
}

// difference reads the pack. What was read of one that is cut is an answer
// too: a commit that is in it is in the difference.
func (c *inquiry) difference(ctx context.Context, limits Limits, own *share) (answer, error) {
	from := c.from
	if c.ad.version == 2 || c.ad.capabilities.has("side-band-64k") {
		from = newSource(&bands{from: c.from})
	}
	pack, err := readPack(ctx, from, c.format, limits, own)
	defer pack.close()
	if err != nil && !tooLarge(err) {
		return answer{}, fmt.Errorf("ask the server: %w", err)
	}
	said := answer{
		plain:    pack.counts[treeObject]+pack.counts[blobObject] > 0,
		complete: err == nil && !pack.opaque,
	}
	for _, name := range pack.order {
		said.commits = append(said.commits, known{name, pack.commits[name]})
	}
	said.acknowledged = true
	for _, have := range c.have {
		if _, ok := c.acked[c.format.hex(have)]; !ok {
			said.acknowledged = false
		}
	}
	return said, nil
}

// bands gives the data band of a multiplexed stream.
type bands struct {
	from *source
	rest []byte
}

func (b *bands) Read(p []byte) (int, error) {
	for idle := 0; len(b.rest) == 0; idle++ {
		if idle > maxLines {
			return 0, errUnexpected
		}
		packet, err := b.from.packet()
		if err != nil {
			return 0, err
		}
		switch {
		case packet.kind == flushPacket:
			return 0, io.EOF
		case packet.kind != dataPacket || len(packet.payload) == 0 || packet.payload[0] == bandError:
			return 0, errUnexpected
		case packet.payload[0] == bandData:
			b.rest = packet.payload[1:]
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
