package kubernetes

// tunnel is SPDY in the messages of a WebSocket, whose borders mean nothing
// (KEP-4006, SPDY/3.1+portforward.k8s.io).
type tunnel struct {
	websocket
	inner *spdy
}

func newTunnel(client bool) *tunnel {
	return &tunnel{websocket: newWebsocket(client), inner: newSPDY(client)}
}

// What stands before a ping that came, to tell whose it was.
const (
	outerPing = 'w'
	innerPing = 's'
)

func (t *tunnel) read(b []byte, to []happening) ([]happening, error) {
	err := t.reader.read(b, func(piece wsPiece) (err error) {
		switch piece.opcode {
		case wsPing:
			to = append(to, happening{kind: pinged, data: append([]byte{outerPing}, piece.data...)})
		case wsClose:
			to = append(to, happening{kind: left})
		case wsBinary:
			from := len(to)
			to, err = t.inner.read(piece.data, to)
			for i := range to[from:] {
				if h := &to[from+i]; h.kind == pinged {
					h.data = append([]byte{innerPing}, h.data...)
				}
			}
		}
		return err
	})
	return to, err
}

// message appends what SPDY says, in a message of its own.
func (t *tunnel) message(dst, said []byte) []byte { return t.frame(dst, wsBinary, nil, said) }

func (t *tunnel) open(dst []byte, stream uint32, fields map[string]string) []byte {
	return t.message(dst, t.inner.open(nil, stream, fields))
}

func (t *tunnel) accept(dst []byte, stream uint32) []byte {
	return t.message(dst, t.inner.accept(nil, stream))
}

func (t *tunnel) chunk(dst []byte, stream uint32, data []byte) []byte {
	return t.message(dst, t.inner.chunk(nil, stream, data))
}

func (t *tunnel) end(dst []byte, stream uint32) []byte {
	return t.message(dst, t.inner.end(nil, stream))
}

func (t *tunnel) reset(dst []byte, stream uint32) []byte {
	return t.message(dst, t.inner.reset(nil, stream))
}

func (t *tunnel) pong(dst, ping []byte) []byte {
	if ping[0] == innerPing {
		return t.message(dst, t.inner.pong(nil, ping[1:]))
	}
	return t.frame(dst, wsPong, nil, ping[1:])
}
