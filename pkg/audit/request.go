package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// pieceBytes is how much of a request or stream one record holds. As a JSON
// string no byte takes more than six, so that a piece always fits a body.
const pieceBytes = 32 << 10

// piece is one record's share of a request.
type piece struct {
	stream string // of the chunk record; the first piece goes with the intent
	size   int64  // bytes of the request that it stands for
	body   record.Body
}

// request splits what is recorded of an operation: its text, then its
// parameters, and what is larger than a piece in pieces of its own.
func (l *Log) request(op *operation.Operation) []piece {
	text := op.Text.Reveal()
	valid := utf8.Valid(text)
	pieces := split("request", text, valid)
	for i := range op.Params {
		pieces = l.addParam(pieces, i, &op.Params[i])
	}
	for i := range pieces[:len(pieces)-1] {
		pieces[i].body.More = true
	}
	return pieces
}

// split cuts data into pieces, at least one; between runes when it is valid
// UTF-8.
func split(stream string, data []byte, valid bool) []piece {
	var pieces []piece
	for {
		n := min(len(data), pieceBytes)
		for valid && n < len(data) && !utf8.RuneStart(data[n]) {
			n--
		}
		p := piece{stream: stream, size: int64(n)}
		if valid {
			p.body.Text = string(data[:n])
		} else {
			p.body.Bytes = data[:n]
		}
		pieces = append(pieces, p)
		data = data[n:]
		if len(data) == 0 {
			return pieces
		}
	}
}

// addParam adds a parameter to the last piece, or to a new one when it is
// full. A value larger than a piece is recorded by its length, and follows in
// pieces of its own stream, "param/<n>", counted from 1.
func (l *Log) addParam(pieces []piece, i int, p *operation.Param) []piece {
	value := p.Text.Reveal()
	recorded := record.Param{Null: p.Text == nil}
	var rest []piece
	switch {
	case p.Text == nil:
	case p.Sealed:
		recorded.Sealed, recorded.Length = l.sealed(value), len(value)
	case len(value) > pieceBytes:
		recorded.Length = len(value)
		rest = split(fmt.Sprintf("param/%d", i+1), value, !p.Binary && utf8.Valid(value))
		value = nil
	case p.Binary && len(value) > 0 || !utf8.Valid(value):
		recorded.Bytes = append([]byte{}, value...)
	default:
		text := string(value)
		recorded.Text = &text
	}
	last := &pieces[len(pieces)-1]
	if !last.takes(int64(len(value))) {
		pieces = append(pieces, piece{stream: "params"})
		last = &pieces[len(pieces)-1]
	}
	last.size += int64(len(value))
	last.body.Params = append(last.body.Params, recorded)
	return append(pieces, rest...)
}

// takes reports whether the piece has room for one more parameter of n bytes.
func (p *piece) takes(n int64) bool {
	const perParam = 128 // bytes of a parameter's encoding beside its value, generously
	if p.stream != "request" && p.stream != "params" {
		return false
	}
	return p.size+n+int64(len(p.body.Params)+1)*perParam <= pieceBytes
}

// sealed returns what is recorded of a value that must not be kept: a keyed
// hash, by which equal values of one epoch can be told.
func (l *Log) sealed(value []byte) string {
	mac := hmac.New(sha256.New, l.write.key)
	mac.Write(value)
	return sealedBy + hex.EncodeToString(mac.Sum(nil))
}

// sealedBy stands before a keyed hash.
const sealedBy = "hmac-sha256:"

// sealDigits is how much of a keyed hash stands in a text, in hex.
const sealDigits = 16

// Seal appends what stands in a text in place of a value that must not be
// kept: the beginning of its keyed hash, and its length.
func (s *Session) Seal(dst, value []byte) []byte {
	dst = append(append(dst, "[sealed "...), s.log.sealed(value)[:len(sealedBy)+sealDigits]...)
	dst = strconv.AppendInt(append(dst, ' '), int64(len(value)), 10)
	return append(dst, " bytes]"...)
}

// sealingKey derives the key of sealed values from the epoch's secret.
func sealingKey(secret record.Hash) []byte {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte("sluice sealed values"))
	return mac.Sum(nil)
}
