package broker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/workload"
)

// version is that of everything in this file. The halves of two versions do
// not speak to each other.
const version = 11

// A packet is
//
//	kind u8 | number u32 | body
//
// in little endian. Each side checks the length of what it gets, and never
// trusts one that stands in it. number joins an answer to its question; it is
// zero where nothing is asked.
const (
	packetHead = 5
	maxPacket  = 64 << 10
)

// kind is what a packet is about.
type kind uint8

// What the privileged half says.
const (
	kindAccepted kind = iota + 1 // body: passed, then its lineage as JSON; descriptor: the connection
	kindTable                    // number: its own; descriptor: a file with the destination.Table from now on, as JSON
	kindAlert                    // body: alerted, then the detail
	kindAnswer                   // body: status, then what the question's kind says
	kindStop                     // end in good order
	kindBegin                    // body: a baton, or nothing; descriptor with a baton: the stream of the old proxy's records
	kindLeave                    // hand the records over: another process is about to serve
	kindRetire                   // descriptor: the stream for records. Nothing is accepted any more; end with the last session
	kindReturn                   // the other process came to nothing: go on
	kindListener                 // body: its namespace's cookie u64; descriptor: the listener
)

// What the proxy says.
const (
	kindHello     kind = iota + 64 // body: version u16. The first packet of a proxy.
	kindAble                       // the proxy can begin: it waits for kindBegin
	kindReady                      // body: 1 when the proxy can accept, 0 when it wants to be handed connections, u8
	kindTold                       // number: of the kindTable that is in force from now on
	kindProbed                     // body: passed. A connection of a self-test came.
	kindBeat                       // the proxy lives
	kindLeft                       // body: a baton. The records are handed over.
	kindCounters                   // question. Answer: counters as text, "name value\n".
	kindHealthy                    // question. Answer: nothing, or why interception does not work.
	kindSocket                     // question: 4 or 6, u8, and how many, u8. Answer: as many descriptors.
	kindProcess                    // question: process. Answer: the program's path; descriptors: environ, cmdline.
	kindCgroup                     // question: id u64. Answer: its path.
	kindCgroups                    // question: pid u32. Answer: its /proc/PID/cgroup.
	kindContainer                  // question: attribution.Engine u8, id. Answer: a descriptor with JSON in it.
	kindOpen                       // question: path. Answer: a descriptor.
	kindPod                        // question: attribution.PodCall u8, id. Answer: a descriptor with protobuf in it.
	kindMounts                     // question. Answer: a descriptor with the mounts that the pods' runtime sees.
	kindImage                      // question: attribution.Engine u8, the hex digits of its digest. Answer: as kindContainer.
)

// What two privileged halves say to each other, on a socket of their own.
const (
	kindPins      kind = iota + 128 // descriptor: the directory of the pins, with its lock
	kindPrepared                    // the successor can take over
	kindListening                   // body: listening, then the owner; descriptors: redirect.Listening's
	kindEstate                      // body: a baton; descriptors: the stream of records, what names were resolved to
	kindRunning                     // the successor has taken over
)

// status says how a question was answered.
type status uint8

const (
	statusError    status = iota // the answer is a text that says why
	statusOK                     //
	statusNotExist               // as statusError, and there is no such thing
)

// errMalformed means that a packet does not have the form of its kind.
var errMalformed = errors.New("malformed packet")

// Lengths of what a proxy may say.
const (
	maxPath         = 4096 // PATH_MAX
	maxBaton        = 512
	containerIDSize = 64
)

// passed describes an accepted connection: redirect.Origin, with a time that
// both processes understand.
type passed struct {
	Address     [16]byte
	Port        uint16
	PID, UID    uint32
	CgroupID    uint64
	NetnsCookie uint64
	SinceBoot   int64 // when the process started, in ns of CLOCK_BOOTTIME
	Known       bool  // there is a lineage
}

func pass(o redirect.Origin, booted time.Time) passed {
	return passed{
		Address: o.Destination.Addr().As16(), Port: o.Destination.Port(), PID: o.PID, UID: o.UID,
		CgroupID: o.CgroupID, NetnsCookie: o.NetnsCookie, SinceBoot: int64(o.Started.Sub(booted)), Known: o.Lineage != nil,
	}
}

// passWhole is a passed and its lineage.
func passWhole(o redirect.Origin, booted time.Time) ([]byte, error) {
	body := pack(nil, pass(o, booted))
	if o.Lineage == nil {
		return body, nil
	}
	lineage, err := json.Marshal(o.Lineage)
	return append(body, lineage...), err
}

// passedWhole reads what passWhole wrote.
func passedWhole(body []byte, booted time.Time) (redirect.Origin, error) {
	var p passed
	lineage, err := unpack(body, &p)
	if err != nil {
		return redirect.Origin{}, err
	}
	origin := p.origin(booted)
	if !p.Known {
		return origin, empty(lineage)
	}
	if err := json.Unmarshal(lineage, origin.Lineage); err != nil {
		return redirect.Origin{}, errMalformed
	}
	return origin, nil
}

// origin has an empty lineage where there is one.
func (p passed) origin(booted time.Time) redirect.Origin {
	o := redirect.Origin{
		Destination: netip.AddrPortFrom(netip.AddrFrom16(p.Address).Unmap(), p.Port), PID: p.PID, UID: p.UID,
		CgroupID: p.CgroupID, NetnsCookie: p.NetnsCookie, Started: booted.Add(time.Duration(p.SinceBoot)),
	}
	if p.Known {
		o.Lineage = &workload.Lineage{}
	}
	return o
}

// listening is the fixed part of redirect.Listening.
type listening struct {
	Cookie uint64
	State  uint32
}

// process names one, as passed did.
type process struct {
	PID       uint32
	SinceBoot int64
}

// describe is what an answer says of a process beside its files: the path of its
// program, which holds no zero byte, and behind one its cgroups.
func describe(p *attribution.Process) []byte {
	return append(append([]byte(p.Exe), 0), p.Cgroups...)
}

func described(body []byte) *attribution.Process {
	exe, cgroups, _ := bytes.Cut(body, []byte{0})
	return &attribution.Process{Exe: string(exe), Cgroups: cgroups}
}

// alerted is the fixed part of an alert; its kind and detail follow, with a
// line feed between them.
type alerted struct {
	Address     [16]byte
	Port        uint16 // 0: no destination is known
	CgroupID    uint64
	NetnsCookie uint64
	Count       uint64
}

func alert(a redirect.Alert) alerted {
	w := alerted{CgroupID: a.CgroupID, NetnsCookie: a.NetnsCookie, Count: a.Count}
	if a.Destination.IsValid() {
		w.Address, w.Port = a.Destination.Addr().As16(), a.Destination.Port()
	}
	return w
}

func (w alerted) alert(kind, detail string) redirect.Alert {
	a := redirect.Alert{
		Kind: redirect.AlertKind(kind), CgroupID: w.CgroupID, NetnsCookie: w.NetnsCookie, Count: w.Count, Detail: detail,
	}
	if w.Port != 0 {
		a.Destination = netip.AddrPortFrom(netip.AddrFrom16(w.Address).Unmap(), w.Port)
	}
	return a
}

// pack appends values of fixed size.
func pack(to []byte, values ...any) []byte {
	for _, value := range values {
		to, _ = binary.Append(to, binary.LittleEndian, value) // fails only for types that have no fixed size
	}
	return to
}

// unpack reads a value of fixed size and returns what follows it.
func unpack(from []byte, value any) (rest []byte, err error) {
	n, err := binary.Decode(from, binary.LittleEndian, value)
	if err != nil {
		return nil, errMalformed
	}
	return from[n:], nil
}

// unpackAll reads a value that nothing may follow.
func unpackAll(from []byte, value any) error {
	rest, err := unpack(from, value)
	if err == nil && len(rest) > 0 {
		err = errMalformed
	}
	return err
}

// empty checks that there is nothing.
func empty(from []byte) error {
	if len(from) > 0 {
		return errMalformed
	}
	return nil
}
