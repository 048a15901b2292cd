package gitwire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// update is one command of a push. An id of zeros stands for none.
type update struct {
	name     string
	old, new id
}

// request is what a client sends before the pack of a push.
type request struct {
	raw          []byte // all of it, as it will be forwarded
	capabilities capabilities
	offeredBands bool            // the client may ask for side-band-64k
	shallow      map[id]struct{} // commits that the client has without their parents
	updates      []update
	signer       string // who the certificate says pushes; empty: there is none
	options      []string
}

// packed reports whether a pack follows: it does unless every command deletes.
func (r *request) packed() bool {
	for _, u := range r.updates {
		if u.new != (id{}) {
			return true
		}
	}
	return false
}

// requestReader reads a request. Its grammar is what git sends, which is
// narrower than what git takes: capabilities stand in one place, a certificate
// holds one command a line, and nothing comes twice. What a lenient server
// could read otherwise is refused.
type requestReader struct {
	from    *source
	limit   int
	own     *share // of the memory
	facts   int    // bytes that references and options take in a record
	offered advertisement
	request request
	seen    map[string]struct{} // names of references
}

// readRequest reads commands and options. A client that ends without a command
// gives a request without updates; raw is then what it said.
func readRequest(from *source, offered advertisement, limit int, own *share) (request, error) {
	r := requestReader{from: from, limit: limit, own: own, offered: offered, seen: map[string]struct{}{}}
	r.request.shallow = map[id]struct{}{}
	r.request.offeredBands = offered.capabilities.has("side-band-64k")
	err := r.read()
	return r.request, err
}

func malformed(format string, args ...any) error {
	return violation(protocol.ClientLeg, format, args...)
}

// What is kept of a push, and of each of its lines beside the line itself, in
// bytes: buffers; a command's words, its judgement, and the ref as rules see it.
const (
	pushCost    = 3 << 19
	commandCost = 1 << 10
)

// What references and options may take in a record's facts, in bytes, and what one
// takes beside its words: some 400 references. The commands themselves are
// recorded at any length.
const (
	maxFacts = 80 << 10
	refFacts = 80
)

// fact counts a reference or an option.
func (r *requestReader) fact(text string, beside int) error {
	quoted, err := json.Marshal(text)
	if r.facts += len(quoted) + beside; err != nil || r.facts > maxFacts {
		return fmt.Errorf("so many references and options at once: %w", errLimit)
	}
	return nil
}

// next takes one pkt-line of the request.
func (r *requestReader) next() (packet, error) {
	p, err := r.from.packet()
	switch {
	case errors.Is(err, errPacketLength) || errors.Is(err, io.ErrUnexpectedEOF):
		return p, malformed("%v", err)
	case err != nil:
		return p, err
	case p.kind != dataPacket && p.kind != flushPacket:
		return p, malformed("a push holds a packet of protocol v2")
	case len(r.request.raw)+len(p.raw) > r.limit:
		return p, malformed("the list of commands: %v", errLimit)
	case !r.own.keep(commandCost + 2*int64(len(p.raw))):
		return p, fmt.Errorf("with others that wait, the list of commands: %w", errLimit)
	}
	r.request.raw = append(r.request.raw, p.raw...)
	return p, nil
}

func (r *requestReader) read() error {
	if !r.own.keep(pushCost) {
		return fmt.Errorf("with others that wait, a push: %w", errLimit)
	}
	p, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	for ; err == nil && p.kind == dataPacket && strings.HasPrefix(p.line(), "shallow "); p, err = r.next() {
		root, ok := r.offered.format.parse(p.line()[len("shallow "):])
		if !ok {
			return malformed("a shallow line holds no object id")
		}
		r.request.shallow[root] = struct{}{}
	}
	if err != nil || p.kind == flushPacket {
		return unexpected(err)
	}
	first, list, ok := strings.Cut(p.line(), "\x00")
	if !ok {
		return malformed("the first command names no capabilities")
	}
	if r.request.capabilities, ok = parseCapabilities(list); !ok || r.request.capabilities.foreign(r.offered.capabilities) {
		return malformed("a capability was asked for that was not offered")
	}
	switch {
	case first != "push-cert":
		err = r.commands(first)
	case r.offered.capabilities.value("push-cert") == "":
		err = malformed("a certificate was not asked for")
	default:
		err = r.certificate()
	}
	if err != nil || !r.request.capabilities.has("push-options") {
		return unexpected(err)
	}
	return unexpected(r.pushOptions())
}

// unexpected makes the end of the stream a violation.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return malformed("the list of commands has no end")
	}
	return err
}

// commands reads the list of commands to its flush packet.
func (r *requestReader) commands(line string) error {
	for {
		if err := r.command(line); err != nil {
			return err
		}
		p, err := r.next()
		if err != nil || p.kind == flushPacket {
			return err
		}
		line = p.line()
	}
}

// command reads "old SP new SP name".
func (r *requestReader) command(line string) error {
	digits := 2 * r.offered.format.size
	if len(line) < 2*digits+3 || line[digits] != ' ' || line[2*digits+1] != ' ' {
		return malformed("a command is malformed")
	}
	old, ok := r.offered.format.parse(line[:digits])
	to, also := r.offered.format.parse(line[digits+1 : 2*digits+1])
	if !ok || !also || old == to && old == (id{}) {
		return malformed("a command is malformed")
	}
	name := line[2*digits+2:]
	if !validRef(name) {
		return malformed("a command names no valid reference")
	}
	if _, twice := r.seen[name]; twice {
		return malformed("a reference is changed twice")
	}
	if err := r.fact(name, refFacts+2*digits); err != nil {
		return err
	}
	r.seen[name] = struct{}{}
	r.request.updates = append(r.request.updates, update{name: name, old: old, new: to})
	return nil
}

// certificate reads a signed push: headers, an empty line, commands, the
// signature, "push-cert-end", a flush packet. Every packet is one whole line.
func (r *requestReader) certificate() error {
	for {
		line, err := r.certified()
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		if signer, ok := strings.CutPrefix(line, "pusher "); ok {
			r.request.signer = signer
		}
		if signatureBegins(line) {
			return malformed("a certificate has no commands")
		}
	}
	for {
		line, err := r.certified()
		if err != nil {
			return err
		}
		if signatureBegins(line) {
			break
		}
		if err := r.command(line); err != nil {
			return err
		}
	}
	if r.request.signer == "" || len(r.request.updates) == 0 {
		return malformed("a certificate names no pusher or no command")
	}
	for {
		line, err := r.certified()
		if err != nil {
			return err
		}
		if line == "push-cert-end" {
			break
		}
		if signatureBegins(line) {
			return malformed("a certificate has two signatures") // the last one ends what the server reads
		}
	}
	p, err := r.next()
	if err == nil && p.kind != flushPacket {
		return malformed("commands follow a certificate")
	}
	return err
}

// certified takes one line of a certificate.
func (r *requestReader) certified() (string, error) {
	p, err := r.next()
	if err != nil {
		return "", err
	}
	line, ended := strings.CutSuffix(string(p.payload), "\n")
	if p.kind != dataPacket || !ended || strings.ContainsAny(line, "\n\x00") {
		return "", malformed("a certificate is not one line a packet")
	}
	return line, nil
}

// signatureBegins reports whether a line begins a signature for git, whichever
// tool made it.
func signatureBegins(line string) bool {
	for _, marker := range []string{
		"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----",
		"-----BEGIN SIGNED MESSAGE-----", "-----BEGIN SSH SIGNATURE-----",
	} {
		if strings.HasPrefix(line, marker) {
			return true
		}
	}
	return false
}

// pushOptions reads the options to their flush packet.
func (r *requestReader) pushOptions() error {
	for {
		p, err := r.next()
		if err != nil || p.kind == flushPacket {
			return err
		}
		option := p.line()
		if strings.ContainsRune(option, 0) {
			return malformed("a push option holds a NUL") // where it would end for the server
		}
		if err := r.fact(option, 1); err != nil {
			return err
		}
		r.request.options = append(r.request.options, option)
	}
}
