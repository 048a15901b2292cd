package gitwire

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// advertisement is what is kept of a server's list of references.
type advertisement struct {
	format       format
	capabilities capabilities // those that were offered to the client
	none         bool         // there was none: the server said an error
	tips         map[string]id
}

// maxTips bounds how many references are kept of an advertisement.
const maxTips = 1 << 10

// errServerGone reports a server that ended before it said anything.
var errServerGone = errors.New("git: the server ended without an advertisement")

// relayAdvertisement gives each line of receive-pack's advertisement to line,
// capabilities that are not understood left out, and returns what it said. It
// is never whole in memory: a repository may have millions of references.
func relayAdvertisement(from *source, line func([]byte) error) (advertisement, error) {
	ad := advertisement{tips: map[string]id{}}
	for first := true; ; {
		p, err := from.packet()
		if errors.Is(err, io.EOF) && first {
			return ad, errServerGone
		}
		if err != nil {
			return ad, serverFault(err)
		}
		if p.kind == flushPacket {
			return ad, line(p.raw)
		}
		if p.kind != dataPacket {
			return ad, violation(protocol.ServerLeg, "an advertisement holds a packet of protocol v2")
		}
		raw, text := p.raw, p.line()
		switch {
		case strings.HasPrefix(text, "ERR "):
			ad.none = true
			return ad, line(raw)
		case first && text == "version 1":
		case first:
			first = false
			if raw, err = ad.first(text); err != nil {
				return ad, err
			}
		case strings.ContainsRune(text, 0):
			return ad, violation(protocol.ServerLeg, "capabilities are advertised twice")
		}
		ad.tip(text)
		if err := line(raw); err != nil {
			return ad, err
		}
	}
}

// first reads the line with the capabilities, and returns it with those that
// are understood.
func (ad *advertisement) first(text string) ([]byte, error) {
	ref, list, _ := strings.Cut(text, "\x00")
	all, ok := parseCapabilities(list)
	if !ok {
		return nil, violation(protocol.ServerLeg, "a capability is malformed")
	}
	if ad.format, ok = formatNamed(all.value("object-format")); !ok {
		return nil, violation(protocol.ServerLeg, "the repository has an unknown object format")
	}
	if name, _, _ := strings.Cut(ref, " "); len(name) != 2*ad.format.size {
		return nil, violation(protocol.ServerLeg, "an object id has the wrong length")
	}
	ad.capabilities = all.offer()
	return appendPacket(nil, ref+"\x00"+strings.Join(ad.capabilities, " ")+"\n"), nil
}

// tip keeps a reference.
func (ad *advertisement) tip(text string) {
	text, _, _ = strings.Cut(text, "\x00")
	hex, name, _ := strings.Cut(text, " ")
	if tip, ok := ad.format.parse(hex); ok && strings.HasPrefix(name, "refs/") && len(ad.tips) < maxTips {
		ad.tips[name] = tip
	}
}

// serverFault names what went wrong while the server was read.
func serverFault(err error) error {
	if errors.Is(err, errPacketLength) || errors.Is(err, io.ErrUnexpectedEOF) {
		return violation(protocol.ServerLeg, "%v", err)
	}
	return err
}

// uploadAdvertisement is what upload-pack says first to a question of ours.
type uploadAdvertisement struct {
	version      int
	format       format
	capabilities capabilities // v2: those of "fetch"
	wantable     bool         // a ref has the id that was looked for; v2: always
}

// maxAdvertised bounds the bytes of an advertisement that is read for a question
// of ours: a million references. Of more, nothing is known.
const maxAdvertised = 64 << 20

// readUpload reads upload-pack's advertisement, and looks for one id.
func readUpload(from *source, wanted string) (uploadAdvertisement, error) {
	ad := uploadAdvertisement{format: sha1Format}
	bytes := 0
	for n := 0; ; n++ {
		p, err := from.packet()
		if err != nil {
			return ad, err
		}
		if bytes += len(p.raw); bytes > maxAdvertised {
			return ad, fmt.Errorf("an advertisement: %w", errLimit)
		}
		if p.kind == flushPacket {
			return ad, nil
		}
		if p.kind != dataPacket {
			return ad, errPacketLength
		}
		text := p.line()
		if text == "version 2" && n == 0 {
			ad.version, ad.wantable = 2, true
			continue
		}
		if !ad.line(text, wanted) || ad.version == 2 && n > maxLines {
			return ad, errUnexpected
		}
	}
}

// errUnexpected reports a server's answer that is none to what was asked.
var errUnexpected = errors.New("git: the server's answer is not understood")

// line reads one line after the version.
func (ad *uploadAdvertisement) line(text, wanted string) (ok bool) {
	if strings.HasPrefix(text, "ERR ") {
		return false
	}
	if ad.version == 2 {
		if name, known := strings.CutPrefix(text, "object-format="); known {
			ad.format, ok = formatNamed(name)
			return ok
		}
		if words, known := strings.CutPrefix(text, "fetch="); known {
			ad.capabilities = strings.Fields(words)
		}
		return true
	}
	text, list, first := strings.Cut(text, "\x00")
	if first {
		if ad.capabilities, ok = parseCapabilities(list); !ok {
			return false
		}
		if ad.format, ok = formatNamed(ad.capabilities.value("object-format")); !ok {
			return false
		}
	}
	name, _, _ := strings.Cut(text, " ")
	ad.wantable = ad.wantable || name == wanted
	return true
}

// ackOf returns the id that a line acknowledges, and how; both are empty for
// other lines.
func ackOf(text string) (name, status string) {
	rest, _ := strings.CutPrefix(text, "ACK ")
	if len(rest) == len(text) {
		return "", ""
	}
	name, status, _ = strings.Cut(rest, " ")
	return name, status
}
