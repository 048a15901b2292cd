package kubernetes

import "fmt"

// Framing is a framing for the tests outside of the package.
type Framing struct{ framing }

// NewFraming returns one end of a connection that carries streams: spdy, tunnel,
// v4 or v5.
func NewFraming(kind string, client bool) Framing {
	switch kind {
	case "spdy":
		return Framing{newSPDY(client)}
	case "tunnel":
		return Framing{newTunnel(client)}
	}
	return Framing{newChannels(client, byte(terminal), kind == "v5")}
}

// Read reads b in pieces of a size, without touching it, and says what happened.
// Data that came in pieces is joined.
func (f Framing) Read(b []byte, size int) (happened []string, err error) {
	names := []string{"opened", "replied", "came", "ended", "reset", "pinged", "left"}
	var last string
	var joined []byte
	join := func() {
		if last != "" {
			happened = append(happened, last+string(joined))
		}
		last, joined = "", joined[:0]
	}
	defer join()
	for len(b) > 0 && err == nil {
		n := min(size, len(b))
		piece := append([]byte(nil), b[:n]...)
		b = b[n:]
		var all []happening
		all, err = f.read(piece, nil)
		for _, h := range all {
			begins := fmt.Sprintf("came %d ", h.stream)
			if h.kind == came && last == begins {
				joined = append(joined, h.data...)
				continue
			}
			join()
			switch h.kind {
			case came:
				last, joined = begins, append(joined, h.data...)
			case opened:
				happened = append(happened, fmt.Sprintf("opened %d %v", h.stream, h.fields))
			default:
				happened = append(happened, fmt.Sprintf("%s %d %s", names[h.kind], h.stream, h.data))
			}
		}
	}
	return happened, err
}

// Open, Accept, Chunk, End, Reset, Pong and Bye append what is said.
func (f Framing) Open(dst []byte, stream uint32, fields map[string]string) []byte {
	return f.open(dst, stream, fields)
}
func (f Framing) Accept(dst []byte, stream uint32) []byte { return f.accept(dst, stream) }
func (f Framing) Chunk(dst []byte, stream uint32, data string) []byte {
	return f.chunk(dst, stream, []byte(data))
}
func (f Framing) End(dst []byte, stream uint32) []byte   { return f.end(dst, stream) }
func (f Framing) Reset(dst []byte, stream uint32) []byte { return f.reset(dst, stream) }
func (f Framing) Pong(dst []byte, ping string) []byte    { return f.pong(dst, []byte(ping)) }
func (f Framing) Ping(dst []byte) []byte                 { return f.ping(dst) }
func (f Framing) Bye(dst []byte) []byte                  { return f.bye(dst) }
