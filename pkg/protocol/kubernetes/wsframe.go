package kubernetes

import (
	"encoding/binary"
	"unicode/utf8"
)

// The opcodes of WebSocket (RFC 6455, section 5.2).
const (
	wsContinuation byte = 0
	wsText         byte = 1
	wsBinary       byte = 2
	wsClose        byte = 8
	wsPing         byte = 9
	wsPong         byte = 10
)

// wsControl is the longest payload of a control frame (section 5.5).
const wsControl = 125

// wsReader reads the frames of one direction of a WebSocket. Payloads are given
// out as they come, so that no length that a peer claims costs memory.
type wsReader struct {
	masked bool // from a client, whose frames must be (section 5.1)

	header  []byte // of the frame that begins, as far as it has come
	opcode  byte
	final   bool
	rest    uint64 // of its payload that is still to come
	key     [4]byte
	turned  int // how much of the payload was unmasked
	control []byte
	within  bool // a message is not at its end
	over    bool // the peer has said so
}

// wsPiece is a part of a message, or a control frame.
type wsPiece struct {
	opcode byte // wsBinary for messages of both kinds
	data   []byte
	first  bool // of a message
}

// read takes all of b, which it changes, and gives the pieces to got.
func (r *wsReader) read(b []byte, got func(wsPiece) error) error {
	for len(b) > 0 {
		if r.over {
			return broken("data after the end of a WebSocket")
		}
		if r.rest == 0 {
			r.header = append(r.header, b[0])
			b = b[1:]
			whole, err := r.begin()
			if err != nil {
				return err
			}
			if whole && r.rest == 0 {
				if err := r.pass(nil, got); err != nil {
					return err
				}
			}
			continue
		}
		n := int(min(uint64(len(b)), r.rest))
		piece := b[:n]
		b = b[n:]
		r.rest -= uint64(n)
		if r.masked {
			for i := range piece {
				piece[i] ^= r.key[(r.turned+i)&3]
			}
			r.turned = (r.turned + n) & 3
		}
		if err := r.pass(piece, got); err != nil {
			return err
		}
	}
	return nil
}

// begin reads a header, if it is whole.
func (r *wsReader) begin() (whole bool, err error) {
	h := r.header
	if len(h) < 2 {
		return false, nil
	}
	length, size := uint64(h[1]&0x7f), 2
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	payload := size
	if h[1]&0x80 != 0 {
		size += len(r.key)
	}
	if len(h) == 2 {
		if err := r.check(h[0], h[1]); err != nil {
			return false, err
		}
	}
	if len(h) < size {
		return false, nil
	}
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(h[2:]))
		if length < 126 {
			return false, broken("a length of WebSocket that is longer than it must be")
		}
	case 127:
		length = binary.BigEndian.Uint64(h[2:])
		if length>>16 == 0 || length>>63 != 0 {
			return false, broken("a length of WebSocket that is none")
		}
	}
	copy(r.key[:], h[payload:size])
	r.opcode, r.final = h[0]&0x0f, h[0]&0x80 != 0
	r.rest, r.turned, r.header = length, 0, h[:0]
	return true, nil
}

// check refuses what no frame begins with.
func (r *wsReader) check(first, second byte) error {
	opcode, final := first&0x0f, first&0x80 != 0
	switch {
	case first&0x70 != 0:
		return broken("a WebSocket frame of an extension that nobody agreed on")
	case second&0x80 != 0 != r.masked:
		return broken("a WebSocket frame that is masked by the wrong peer")
	case opcode >= wsClose && (opcode > wsPong || !final || second&0x7f > wsControl):
		return broken("a control frame of WebSocket that is none")
	case opcode >= wsClose:
		return nil
	case opcode > wsBinary:
		return broken("a WebSocket frame of no known kind")
	case (opcode == wsContinuation) != r.within:
		return broken("a WebSocket message inside of another")
	}
	return nil
}

// pass gives out a piece of a payload, which is empty for one that is.
func (r *wsReader) pass(piece []byte, got func(wsPiece) error) error {
	if r.opcode < wsClose {
		first := r.opcode != wsContinuation && !r.within
		r.within = true
		if r.rest == 0 && r.final {
			r.within = false
		}
		return got(wsPiece{opcode: wsBinary, data: piece, first: first})
	}
	r.control = append(r.control, piece...)
	if r.rest > 0 {
		return nil
	}
	control := r.control
	r.control = r.control[:0]
	if r.opcode == wsClose {
		r.over = true
		if !validClose(control) {
			return broken("a WebSocket that ends with no known code")
		}
	}
	return got(wsPiece{opcode: r.opcode, data: control})
}

// validClose checks the payload of a close frame (RFC 6455, section 7.4).
func validClose(payload []byte) bool {
	if len(payload) == 0 {
		return true
	}
	if len(payload) == 1 || !utf8.Valid(payload[2:]) {
		return false
	}
	code := binary.BigEndian.Uint16(payload)
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// appendWS appends a whole frame. key is what it is masked with; nil: it is not.
func appendWS(dst []byte, opcode byte, key *[4]byte, prefix, payload []byte) []byte {
	length := len(prefix) + len(payload)
	mask := byte(0)
	if key != nil {
		mask = 0x80
	}
	dst = append(dst, 0x80|opcode)
	switch {
	case length < 126:
		dst = append(dst, mask|byte(length))
	case length < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, mask|127), uint64(length))
	}
	if key == nil {
		return append(append(dst, prefix...), payload...)
	}
	dst = append(dst, key[:]...)
	from := len(dst)
	dst = append(append(dst, prefix...), payload...)
	for i := range dst[from:] {
		dst[from+i] ^= key[i&3]
	}
	return dst
}
