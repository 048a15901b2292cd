package gitwire

import (
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// banded reports whether the client takes the server's answer multiplexed. One
// that could not even be asked is taken for a git, which does where it can.
func (r *request) banded() bool {
	if r.capabilities == nil {
		return r.offeredBands
	}
	return r.capabilities.has("side-band-64k")
}

// reports reports whether the client waits for the state of each reference.
func (r *request) reports() bool {
	return r.capabilities.has("report-status") || r.capabilities.has("report-status-v2")
}

// refusal is the answer to a push that is not forwarded: the pack is called
// unpacked, and each reference rejected for the reason, as by a server's hook.
// Both versions of the report say that alike. A client that was not understood
// so far is told by an error packet.
func (r *request) refusal(reason string) []byte {
	var report []byte
	if r.reports() && len(r.updates) > 0 {
		report = appendPacket(report, "unpack ok\n")
		for _, u := range r.updates {
			report = appendPacket(report, fmt.Sprintf("ng %s %s\n", u.name, reason))
		}
		report = append(report, flushLine...)
	}
	switch {
	case report == nil && r.banded():
		report = appendBand(nil, bandError, []byte(reason+"\n"))
		return append(report, flushLine...)
	case report == nil:
		return appendPacket(nil, "ERR "+reason+"\n")
	case !r.banded():
		return report
	}
	answer := appendBand(nil, bandProgress, []byte(reason+"\n"))
	answer = appendBand(answer, bandData, report)
	return append(answer, flushLine...)
}

// report reads the server's answer while it passes.
type report struct {
	silent   bool // the client asked for none
	bands    *packets
	lines    packets
	unpacked string
	ok, ng   int
}

// newReport returns the reader of the answer to a push.
func newReport(asked *request) *report {
	r := &report{silent: !asked.reports()}
	if asked.banded() {
		r.bands = &packets{}
	}
	return r
}

// watch takes the next bytes of the answer.
func (r *report) watch(chunk []byte) {
	if r.bands == nil {
		r.lines.feed(chunk, r.line)
		return
	}
	r.bands.feed(chunk, func(p packet) {
		if p.kind == dataPacket && len(p.payload) > 0 && p.payload[0] == bandData {
			r.lines.feed(p.payload[1:], r.line)
		}
	})
}

func (r *report) line(p packet) {
	word, rest, _ := strings.Cut(p.line(), " ")
	switch word {
	case "unpack":
		r.unpacked = rest
	case "ok":
		r.ok++
	case "ng":
		r.ng++
	}
}

// outcome says how the push ended, as far as the server said.
func (r *report) outcome() protocol.Outcome {
	out := protocol.Outcome{Status: protocol.OK, Tag: fmt.Sprintf("%d ok, %d ng", r.ok, r.ng)}
	switch {
	case r.silent:
		out.Tag = "no report"
	case r.unpacked != "ok":
		out.Status, out.Code = protocol.Failed, "unpack"
	case r.ng > 0:
		out.Status, out.Code = protocol.Failed, "ng"
	}
	return out
}

// packets cuts pkt-lines off a stream that is only watched: what it cannot
// follow ends the watching, not the stream.
type packets struct {
	rest []byte
	lost bool
}

func (w *packets) feed(chunk []byte, each func(packet)) {
	if w.lost {
		return
	}
	w.rest = append(w.rest, chunk...)
	at := 0
	for len(w.rest)-at >= packetHeader {
		kind, size, err := packetSize(w.rest[at:])
		if err != nil {
			w.lost, w.rest = true, nil
			return
		}
		if len(w.rest)-at < size {
			break
		}
		raw := w.rest[at : at+size]
		each(packet{kind: kind, payload: raw[packetHeader:], raw: raw})
		at += size
	}
	w.rest = append(w.rest[:0], w.rest[at:]...)
}
