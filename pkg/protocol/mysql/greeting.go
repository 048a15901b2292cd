package mysql

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"
)

// Capabilities (mysql_com.h). What is not named here is neither offered to a
// client nor asked of a server: what we do not know would change the meaning of
// bytes.
const (
	canLongPassword   = 1 << 0 // of a MySQL server always, of a MariaDB server never
	canFoundRows      = 1 << 1
	canLongFlag       = 1 << 2
	canDatabase       = 1 << 3
	canODBC           = 1 << 6
	canIgnoreSpace    = 1 << 8
	canProtocol41     = 1 << 9
	canInteractive    = 1 << 10
	canTLS            = 1 << 11
	canIgnoreSigpipe  = 1 << 12 // of the client's own library
	canTransactions   = 1 << 13
	canSecure         = 1 << 15
	canMultiStatement = 1 << 16
	canMultiResults   = 1 << 17
	canPSMultiResults = 1 << 18
	canPlugins        = 1 << 19
	canAttributes     = 1 << 20
	canLongAnswers    = 1 << 21 // the client's answer has a length of its own
)

// relayed are the capabilities that mean the same on both legs.
const relayed = canLongPassword | canFoundRows | canLongFlag | canODBC | canIgnoreSpace | canProtocol41 | canInteractive |
	canIgnoreSigpipe | canTransactions | canSecure | canMultiStatement | canMultiResults | canPSMultiResults

// demanded are what a server must have: all have since 2005 or so.
const demanded = canProtocol41 | canSecure | canPlugins

// greeting is the server's first packet, "Protocol::HandshakeV10".
type greeting struct {
	version  string
	thread   uint32
	scramble []byte // 20 bytes for most plug-ins
	can      uint32
	charset  byte
	plugin   string
}

var errGreeting = errors.New("the server's greeting is not one of MySQL's protocol 10")

// maxVersion bounds the server's version.
const maxVersion = 128

// parse reads the payload of a greeting.
func (g *greeting) parse(payload []byte) error {
	r := reader{b: payload}
	protocol := r.uint8()
	version := r.cstring()
	g.thread = r.uint32()
	first := r.take(8)
	r.take(1)
	low := r.uint16()
	g.charset = r.uint8()
	r.uint16() // status
	high := r.uint16()
	g.can = uint32(low) | uint32(high)<<16
	size := int(r.uint8())
	r.take(10)
	if r.bad || protocol != 10 || len(version) == 0 || len(version) > maxVersion || g.can&demanded != demanded {
		return errGreeting
	}
	g.version = string(version)
	rest := max(13, size-8)
	second := r.take(min(rest, len(r.b)))
	g.scramble = append(append([]byte(nil), first...), second...)
	if n := len(g.scramble); n > 0 && g.scramble[n-1] == 0 {
		g.scramble = g.scramble[:n-1]
	}
	name, _, _ := strings.Cut(string(r.b), "\x00")
	g.plugin = name
	if len(g.scramble) < scrambleSize {
		return errGreeting
	}
	return nil
}

// scrambleSize is how many random bytes a password is hashed with.
const scrambleSize = 20

// newScramble returns random bytes that no client takes for the end of a
// string.
func newScramble() []byte {
	scramble := make([]byte, scrambleSize)
	_, _ = rand.Read(scramble) // never fails: crypto/rand ends the program instead
	for i, b := range scramble {
		scramble[i] = b%94 + 33
	}
	return scramble
}

// profile is what of a server is told to clients before it is spoken to: of
// its last greeting.
type profile struct {
	version string
	can     uint32
	charset byte
	plugin  string
}

func (g *greeting) profile() profile {
	p := profile{version: g.version, can: g.can, charset: g.charset, plugin: g.plugin}
	if p.plugin != pluginCachingSHA2 {
		p.plugin = pluginNative
	}
	return p
}

// mariaDB reports whether a server is MariaDB, by its version.
func (p *profile) mariaDB() bool { return strings.Contains(p.version, "MariaDB") }

// number is the version as /*!NNNNN comments write it, 0 where it is not known.
// A server of MariaDB may put 5.5.5- before its own version, for old replicas.
func (p *profile) number() int {
	text := p.version
	if p.mariaDB() {
		text = strings.TrimPrefix(text, "5.5.5-")
	}
	n, parts := 0, 0
	for part := range strings.SplitSeq(text, ".") {
		digits := 0
		for digits < len(part) && digits < 3 && part[digits] >= '0' && part[digits] <= '9' {
			digits++
		}
		value := 0
		for _, d := range part[:digits] {
			value = value*10 + int(d-'0')
		}
		if digits == 0 || value > 99 {
			return 0
		}
		n = n*100 + value
		if parts++; parts == 3 {
			return n
		}
	}
	return 0
}

// greet appends the greeting that a client gets.
func (p *profile) greet(dst []byte, thread uint32, scramble []byte, tls bool) []byte {
	can := p.can&relayed | canDatabase | canPlugins | canAttributes&p.can | canLongAnswers&p.can
	if tls {
		can |= canTLS
	}
	dst, mark := open(dst, 0)
	dst = append(append(append(dst, 10), p.version...), 0)
	dst = binary.LittleEndian.AppendUint32(dst, thread)
	dst = append(append(dst, scramble[:8]...), 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(can))
	dst = append(dst, p.charset, statusAutocommit, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(can>>16))
	dst = append(dst, scrambleSize+1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = append(append(dst, scramble[8:]...), 0)
	dst = append(append(dst, p.plugin...), 0)
	return shut(dst, mark)
}

// answer is the client's answer to a greeting, "Protocol::HandshakeResponse41".
type answer struct {
	can        uint32
	maxPacket  uint32
	charset    byte
	user       string
	database   string
	plugin     string
	proof      int // how many bytes it has; nobody keeps them
	attributes []attribute
}

type attribute struct{ name, value string }

// answerHead is the part of an answer that also asks for TLS: capabilities,
// the longest packet, the character set and 23 bytes of nothing.
const answerHead = 4 + 4 + 1 + 23

// parse reads the payload of an answer.
func (a *answer) parse(payload []byte) bool {
	r := reader{b: payload}
	a.can, a.maxPacket, a.charset = r.uint32(), r.uint32(), r.uint8()
	r.take(23)
	a.user = string(r.cstring())
	switch {
	case a.can&canLongAnswers != 0:
		a.proof = len(r.text())
	case a.can&canSecure != 0:
		a.proof = len(r.take(int(r.uint8())))
	default:
		a.proof = len(r.cstring())
	}
	if a.can&canDatabase != 0 {
		a.database = string(r.cstring())
	}
	if a.can&canPlugins != 0 && len(r.b) > 0 {
		a.plugin = string(r.cstring())
	}
	if a.can&canAttributes != 0 && len(r.b) > 0 {
		a.parseAttributes(reader{b: r.text()})
		if a.attributes == nil && r.bad {
			return false
		}
	}
	return !r.bad && a.can&canProtocol41 != 0
}

// maxAttributes bounds what a client says of itself: the server keeps 512 bytes
// by default.
const maxAttributes = 64

func (a *answer) parseAttributes(r reader) {
	for len(r.b) > 0 && len(a.attributes) < maxAttributes {
		name, value := r.text(), r.text()
		if r.bad {
			return
		}
		a.attributes = append(a.attributes, attribute{string(name), string(value)})
	}
}

// logIn appends the answer that the agent gives to the server.
func (a *answer) logIn(dst []byte, sequence byte, user string, proof []byte, plugin string) []byte {
	dst, mark := open(dst, sequence)
	dst = a.head(dst)
	dst = append(append(dst, user...), 0)
	dst = append(append(dst, byte(len(proof))), proof...) // at most 64 bytes
	if a.can&canDatabase != 0 {
		dst = append(append(dst, a.database...), 0)
	}
	dst = append(append(dst, plugin...), 0)
	if a.can&canAttributes == 0 {
		return shut(dst, mark)
	}
	size := len(dst)
	for _, pair := range a.attributes {
		dst = appendText(appendText(dst, []byte(pair.name)), []byte(pair.value))
	}
	pairs := append([]byte(nil), dst[size:]...)
	return shut(appendText(dst[:size], pairs), mark)
}

// head appends what asks for TLS, and begins an answer.
func (a *answer) head(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, a.can)
	dst = binary.LittleEndian.AppendUint32(dst, a.maxPacket)
	return append(append(dst, a.charset), make([]byte, 23)...)
}
