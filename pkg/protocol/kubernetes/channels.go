package kubernetes

import (
	"crypto/rand"
	"encoding/binary"
)

// closesStream is the channel of v5.channel.k8s.io on which a peer says that it
// sends no more on another one (KEP-4006).
const closesStream = 255

// websocket is what both kinds of WebSocket have in common: messages without
// channels are in tunnel, those with one in channels.
type websocket struct {
	reader wsReader
	client bool // we are
}

func newWebsocket(client bool) websocket {
	return websocket{client: client, reader: wsReader{masked: !client}}
}

func (w *websocket) frame(dst []byte, opcode byte, prefix, payload []byte) []byte {
	if !w.client {
		return appendWS(dst, opcode, nil, prefix, payload)
	}
	var key [4]byte
	_, _ = rand.Read(key[:]) // it never fails
	return appendWS(dst, opcode, &key, prefix, payload)
}

func (w *websocket) pong(dst, ping []byte) []byte { return w.frame(dst, wsPong, nil, ping) }

func (w *websocket) ping(dst []byte) []byte { return w.frame(dst, wsPing, nil, nil) }

// bye ends the WebSocket without complaint (RFC 6455, section 7.4.1: 1000).
func (w *websocket) bye(dst []byte) []byte {
	return w.frame(dst, wsClose, nil, binary.BigEndian.AppendUint16(nil, 1000))
}

// channels is a WebSocket whose messages begin with the number of a channel, as
// in v4.channel.k8s.io and v5.channel.k8s.io.
type channels struct {
	websocket
	last    byte      // the highest channel that there is
	closes  bool      // v5: channels end one by one
	channel int       // of the message that is coming; -1: its number has not come
	over    [256]bool // channels that the peer has ended
}

func newChannels(client bool, last byte, closes bool) *channels {
	return &channels{websocket: newWebsocket(client), last: last, closes: closes, channel: -1}
}

func (c *channels) read(b []byte, to []happening) ([]happening, error) {
	err := c.reader.read(b, func(piece wsPiece) (err error) {
		switch piece.opcode {
		case wsPing:
			to = append(to, happening{kind: pinged, data: append([]byte(nil), piece.data...)})
		case wsClose:
			to = append(to, happening{kind: left})
		case wsBinary:
			to, err = c.message(piece, to)
		}
		return err
	})
	return to, err
}

// message takes a piece of a message.
func (c *channels) message(piece wsPiece, to []happening) ([]happening, error) {
	data := piece.data
	if piece.first {
		c.channel = -1
	}
	if c.channel < 0 {
		if len(data) == 0 {
			return to, nil // a message of nothing says nothing
		}
		c.channel, data = int(data[0]), data[1:]
		if c.channel > int(c.last) && (c.channel != closesStream || !c.closes) {
			return to, broken("a message on a channel that there is not")
		}
	}
	if len(data) == 0 {
		return to, nil
	}
	if c.channel != closesStream {
		if c.over[c.channel] {
			return to, broken("a message on a channel that has ended")
		}
		return append(to, happening{kind: came, stream: uint32(c.channel), data: data}), nil
	}
	for _, closed := range data {
		if closed > c.last {
			return to, broken("the end of a channel that there is not")
		}
		if !c.over[closed] {
			c.over[closed] = true
			to = append(to, happening{kind: ended, stream: uint32(closed)})
		}
	}
	return to, nil
}

// open and accept have nothing to say: all channels are there at once.
func (c *channels) open(dst []byte, _ uint32, _ map[string]string) []byte { return dst }

func (c *channels) accept(dst []byte, _ uint32) []byte { return dst }

func (c *channels) chunk(dst []byte, stream uint32, data []byte) []byte {
	return c.frame(dst, wsBinary, []byte{byte(stream)}, data)
}

// end says nothing where that cannot be said: a client takes no ends.
func (c *channels) end(dst []byte, stream uint32) []byte {
	if !c.closes || !c.client {
		return dst
	}
	return c.frame(dst, wsBinary, []byte{closesStream}, []byte{byte(stream)})
}

func (c *channels) reset(dst []byte, stream uint32) []byte { return c.end(dst, stream) }
