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
type Salt [16]byte

// Entry is one record as it is stored and sent: the exact bytes of header and
// body, and the salt of the body's commitment. The bytes belong to whoever made
// the entry and are never changed.
type Entry struct {
	No           uint64
	Header, Body []byte
	Salt         Salt
	// BodyHash is nil. When the body was destroyed it is the commitment that
	// remains, and Body and Salt are empty.
	BodyHash *Hash
}

// Leaf returns the entry's leaf in the tree of its batch.
func (e *Entry) Leaf() Hash {
	if e.BodyHash != nil {
		return Leaf(e.No, *e.BodyHash, e.Header)
	}
	return Leaf(e.No, CommitBody(e.No, e.Salt, e.Body), e.Header)
}

// Shred returns the entry without its body.
func (e *Entry) Shred() Entry {
	if e.BodyHash != nil {
		return *e
	}
	hash := CommitBody(e.No, e.Salt, e.Body)
	return Entry{No: e.No, Header: e.Header, BodyHash: &hash}
}

// What is hashed of a record begins with a byte that no other hash begins with
// (RFC 6962 §2.1 has 0x00 and 0x01), the version, and the record's number.
const (
	leafPrefix = 0x00
	bodyPrefix = 0x02
	version    = "ev2"
	prefixLen  = 1 + len(version) + 8
)

// CommitBody returns the commitment to the body of record no:
// SHA-256(0x02 ‖ "ev2" ‖ u64(no) ‖ salt ‖ body). It tells nothing about the body
// without the salt, and docs/audit-format.md says why.
func CommitBody(no uint64, salt Salt, body []byte) Hash {
	var head [prefixLen + len(salt)]byte
	return sum(append(appendPrefix(head[:0], bodyPrefix, no), salt[:]...), body)
}

// Leaf returns the leaf of record no: SHA-256(0x00 ‖ "ev2" ‖ u64(no) ‖ body ‖
// header). The commitment to the body hides the header as well.
func Leaf(no uint64, body Hash, header []byte) Hash {
	var head [prefixLen + len(body)]byte
	return sum(append(appendPrefix(head[:0], leafPrefix, no), body[:]...), header)
}

func appendPrefix(dst []byte, first byte, no uint64) []byte {
	return binary.BigEndian.AppendUint64(append(append(dst, first), version...), no)
}

// sum is SHA-256 of head and rest, without memory of its own.
func sum(head, rest []byte) (h Hash) {
	digest := sha256.New()
	digest.Write(head)
	digest.Write(rest)
	digest.Sum(h[:0])
	return h
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

// Salt returns the salt of record no: AES-256 of the number.
func (s *Salter) Salt(no uint64) Salt {
	binary.BigEndian.PutUint64(s.in[:], no)
	s.block.Encrypt(s.out[:], s.in[:])
	return s.out
}
