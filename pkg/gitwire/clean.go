package gitwire

import (
	"bytes"
	"errors"
	"io"
)

// cleaner takes what must not be seen out of a multiplexed answer: programs of
// the server's speak in it, whose words are cut into packets anywhere.
type cleaner struct {
	hide func(text []byte, whole bool) (decided int) // see Run.Hide
	held [bandError + 1][]byte                       // of each band, what is not decided
}

// packet appends what the client gets of one packet: the packet, where nothing
// in it is hidden.
func (c *cleaner) packet(dst []byte, p packet) []byte {
	if p.kind != dataPacket || len(p.payload) == 0 || p.payload[0] > bandError {
		return append(c.end(dst), p.raw...)
	}
	band := p.payload[0]
	before := len(c.held[band])
	text := append(c.held[band], p.payload[1:]...)
	decided := c.hide(text, false)
	if before == 0 && decided == len(text) && bytes.Equal(text, p.payload[1:]) {
		return append(dst, p.raw...)
	}
	dst = appendBand(dst, band, text[:decided])
	c.held[band] = append(text[:0], text[decided:]...)
	return dst
}

// end appends what is held back, when nothing follows it.
func (c *cleaner) end(dst []byte) []byte {
	for band, text := range c.held {
		c.hide(text, true)
		dst = appendBand(dst, byte(band), text)
		c.held[band] = nil
	}
	return dst
}

// relayClean is relay for an answer that is multiplexed and cleaned. What does
// not come in packets is not given out.
func (s *service) relayClean(log *recorder, watch func([]byte)) error {
	c := cleaner{hide: s.Hide}
	give := func(chunk []byte) error {
		if len(chunk) == 0 {
			return nil
		}
		if err := log.response(chunk); err != nil {
			return err
		}
		watch(chunk)
		_, err := s.Answer.Write(chunk)
		return err
	}
	var out []byte
	for {
		p, err := s.server.packet()
		switch {
		case errors.Is(err, io.EOF):
			return give(c.end(nil))
		case err != nil:
			return errors.Join(serverFault(err), give(c.end(nil)))
		}
		out = c.packet(out[:0], p)
		if err := give(out); err != nil {
			return err
		}
	}
}
