package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// Hash is a SHA-256 digest. It prints as base64.
type Hash [sha256.Size]byte

// String returns the standard base64 encoding.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// ParseHash reads what String wrote, and nothing else.
func ParseHash(s string) (Hash, error) {
	var h Hash
	raw, err := base64.StdEncoding.Strict().DecodeString(s) // which skips newlines
	if err != nil || len(raw) != len(h) || len(s) != base64.StdEncoding.EncodedLen(len(h)) {
		return Hash{}, fmt.Errorf("parse hash: not %d bytes in base64", len(h))
	}
	copy(h[:], raw)
	return h, nil
}

// MarshalText writes String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	*h = parsed
	return err
}

// Salt hides what a commitment commits to once the committed bytes are gone: a
// bare digest of a short statement could be guessed.
type Salt = Hash

// Entry is one record as it is stored and sent: the exact bytes of header and
// body, and the salts of their commitments. The bytes belong to whoever made
// the entry and are never changed.
type Entry struct {
	No           uint64
	Header, Body []byte
	SaltHeader   Salt
	SaltBody     Salt
	// BodyHash is nil. When the body was destroyed it is the commitment that
	// remains, and Body and SaltBody are empty.
	BodyHash *Hash
}

// Leaf returns the entry's leaf in the tree of its batch.
func (e *Entry) Leaf() Hash {
	if e.BodyHash != nil {
		return Leaf(e.No, Commit(e.SaltHeader, e.Header), *e.BodyHash)
	}
	return Leaf(e.No, Commit(e.SaltHeader, e.Header), Commit(e.SaltBody, e.Body))
}

// Shred returns the entry without its body.
func (e *Entry) Shred() Entry {
	if e.BodyHash != nil {
		return *e
	}
	hash := Commit(e.SaltBody, e.Body)
	return Entry{No: e.No, Header: e.Header, SaltHeader: e.SaltHeader, BodyHash: &hash}
}

// Commit returns HMAC-SHA256(salt, data) (RFC 2104): a commitment that tells
// nothing about data without its salt.
func Commit(salt Salt, data []byte) Hash {
	var inner, outer [sha256.BlockSize]byte
	for i := range inner {
		inner[i], outer[i] = 0x36, 0x5c
	}
	for i, b := range salt {
		inner[i] ^= b
		outer[i] ^= b
	}
	digest := sha256.New()
	digest.Write(inner[:])
	digest.Write(data)
	var message [sha256.BlockSize + sha256.Size]byte
	copy(message[:], outer[:])
	digest.Sum(message[:sha256.BlockSize])
	return sha256.Sum256(message[:])
}

// Leaf returns the RFC 6962 leaf hash of "ev1", the record's number in eight
// bytes, big endian, and the commitments to header and body.
func Leaf(no uint64, header, body Hash) Hash {
	var data [1 + 3 + 8 + 2*sha256.Size]byte // the first byte is the leaf prefix 0x00
	copy(data[1:], "ev1")
	binary.BigEndian.PutUint64(data[4:], no)
	copy(data[12:], header[:])
	copy(data[12+sha256.Size:], body[:])
	return sha256.Sum256(data[:])
}

// Salter derives the salts of an epoch's records from one secret, so that a
// record that waits in the spool needs none of its own. The secret never
// leaves the agent; each salt leaves it with its record. It is not safe for
// concurrent use.
type Salter struct {
	block   cipher.Block
	in, out [aes.BlockSize]byte // would escape
}

// NewSalter returns a Salter over a secret of 32 random bytes.
func NewSalter(secret [32]byte) *Salter {
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err) // only for key sizes other than 16, 24 and 32
	}
	return &Salter{block: block}
}

// Salts returns the salts of record no: AES-256 as a pseudo-random function
// over (no, 0) to (no, 3).
func (s *Salter) Salts(no uint64) (header, body Salt) {
	binary.BigEndian.PutUint64(s.in[:], no)
	for i := range 4 {
		s.in[aes.BlockSize-1] = byte(i)
		s.block.Encrypt(s.out[:], s.in[:])
		half := header[:]
		if i >= 2 {
			half = body[:]
		}
		copy(half[i%2*aes.BlockSize:], s.out[:])
	}
	return header, body
}
