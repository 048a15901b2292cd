package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// MaxPayload bounds a payload, in bytes. One message carries one payload, and a
// message may have 512 KiB.
const MaxPayload = 448 << 10

// MaxFrames bounds what a payload unpacks to, in bytes. Records of one job are
// much alike, so that a payload often holds several times its size.
const MaxFrames = 2 << 20

// MaxRecords bounds the records of a batch.
const MaxRecords = 8192

// frameHead is the fixed part of an entry's frame:
//
//	no u64 | salt of header 32 | salt of body 32 | len(header) u32 | len(body) u32 | header | body
//
// Numbers are big endian.
const frameHead = 8 + 32 + 32 + 4 + 4

// shredded stands in place of a body's length, and the commitment in place of
// its salt, where a collector keeps an entry whose body was destroyed. No agent
// may send one.
const shredded = 1<<32 - 1

// Overhead is what a payload needs for an entry beside header and body.
const Overhead = frameHead

// Packer makes payloads. It is not safe for concurrent use.
type Packer struct {
	encoder *zstd.Encoder
	frames  []byte
}

// NewPacker returns a Packer that compresses on the caller's goroutine. The
// batch note holds a hash of the payload, so that it needs no checksum of its
// own.
func NewPacker() (*Packer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	return &Packer{encoder: encoder}, nil
}

// ErrTooMuch reports entries that do not fit one payload.
var ErrTooMuch = errors.New("the records do not fit one payload")

// Pack returns the payload of entries: their frames, one after the other,
// compressed as one zstd frame (RFC 8878). The result is the caller's. The
// error is ErrTooMuch.
func (p *Packer) Pack(entries []Entry) ([]byte, error) {
	p.frames = p.frames[:0]
	for i := range entries {
		p.frames = appendFrame(p.frames, &entries[i])
	}
	if len(p.frames) > MaxFrames || len(entries) > MaxRecords {
		return nil, fmt.Errorf("pack %d records: %w: %d bytes", len(entries), ErrTooMuch, len(p.frames))
	}
	payload := p.encoder.EncodeAll(p.frames, nil)
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("pack %d records: %w: %d bytes when packed", len(entries), ErrTooMuch, len(payload))
	}
	return payload, nil
}

func appendFrame(dst []byte, e *Entry) []byte {
	salt, length := e.SaltBody, uint32(len(e.Body))
	if e.BodyHash != nil {
		salt, length = *e.BodyHash, shredded
	}
	dst = binary.BigEndian.AppendUint64(dst, e.No)
	dst = append(dst, e.SaltHeader[:]...)
	dst = append(dst, salt[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Header)))
	dst = binary.BigEndian.AppendUint32(dst, length)
	dst = append(dst, e.Header...)
	return append(dst, e.Body...)
}

// Unpacker reads payloads that anybody may have written. It is safe for
// concurrent use.
type Unpacker struct {
	decoder *zstd.Decoder
}

// NewUnpacker returns an Unpacker whose memory for one payload is bounded.
func NewUnpacker() (*Unpacker, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxFrames), zstd.WithDecoderConcurrency(0))
	if err != nil {
		return nil, fmt.Errorf("set up decompression: %w", err)
	}
	return &Unpacker{decoder: decoder}, nil
}

// Close frees what the Unpacker holds.
func (u *Unpacker) Close() { u.decoder.Close() }

// Unpack returns the entries of a payload. It says nothing about their
// content: compare Root over their leaves with the batch.
func (u *Unpacker) Unpack(payload []byte) ([]Entry, error) { return u.unpack(payload, false) }

// UnpackStored is Unpack for a payload that a collector keeps: bodies may have
// been destroyed.
func (u *Unpacker) UnpackStored(payload []byte) ([]Entry, error) { return u.unpack(payload, true) }

func (u *Unpacker) unpack(payload []byte, stored bool) ([]Entry, error) {
	if len(payload) > MaxPayload {
		return nil, errors.New("unpack records: the payload is too large")
	}
	if len(payload) == 0 {
		return nil, nil
	}
	frames, err := u.decoder.DecodeAll(payload, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack records: %w", err)
	}
	var entries []Entry
	for len(frames) > 0 {
		var e Entry
		e, frames, err = cutFrame(frames, stored)
		if err != nil {
			return nil, fmt.Errorf("unpack record %d of the payload: %w", len(entries), err)
		}
		if len(entries) == MaxRecords {
			return nil, errors.New("unpack records: there are too many")
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func cutFrame(frames []byte, stored bool) (Entry, []byte, error) {
	if len(frames) < frameHead {
		return Entry{}, nil, errors.New("a frame is cut short")
	}
	header := uint64(binary.BigEndian.Uint32(frames[72:]))
	body := uint64(binary.BigEndian.Uint32(frames[76:]))
	gone := stored && body == shredded
	if gone {
		body = 0
	}
	if header > MaxHeader || body > MaxBody || header+body > uint64(len(frames)-frameHead) {
		return Entry{}, nil, errors.New("a frame has an impossible length")
	}
	e := Entry{No: binary.BigEndian.Uint64(frames), SaltHeader: Salt(frames[8:40]), SaltBody: Salt(frames[40:72])}
	if gone {
		hash := e.SaltBody
		e.SaltBody, e.BodyHash = Salt{}, &hash
	}
	frames = frames[frameHead:]
	e.Header, frames = frames[:header:header], frames[header:]
	e.Body, frames = frames[:body:body], frames[body:]
	return e, frames, nil
}
