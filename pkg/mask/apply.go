package mask

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"unicode/utf8"
)

const (
	redacted = "[redacted]"
	// hidden stands in a partial value for everything before its end. It is
	// always as long, so that it does not tell how long the value was.
	hidden = "********"
	// shownAtMost is how many characters partial shows.
	shownAtMost = 4
	// hashBytes is how much of the hash is kept: enough that two values do not
	// get the same one by chance.
	hashBytes = 16
)

// Valid reports whether the method is one that Apply knows.
func (m Method) Valid() bool {
	switch m {
	case Redact, Null, Hash, Partial:
		return true
	}
	return false
}

// Apply appends what stands for value to dst. Where null is true the result is
// SQL's NULL or its like, and dst is returned as it was.
//
//	Redact   a constant
//	Null     null
//	Hash     32 hexadecimal digits: HMAC-SHA-256 under key, shortened. Whoever
//	         lacks the key learns which values are equal, and nothing else.
//	Partial  eight stars and the last characters: four, or a third of the value
//	         where that is less, so none of one or two characters. Of values
//	         below twelve characters it tells the length to within three.
//
// Without a key Hash redacts, since anyone could try values, and an unknown
// method is null. dst must not overlap value. The result needs no memory but
// dst's; Hash needs room there for value and 64 bytes more.
func (m Method) Apply(dst, key, value []byte) (out []byte, null bool) {
	switch m {
	case Redact:
		return append(dst, redacted...), false
	case Hash:
		if len(key) == 0 {
			return append(dst, redacted...), false
		}
		return appendHash(dst, key, value), false
	case Partial:
		dst = append(dst, hidden...)
		return append(dst, ending(value)...), false
	}
	return dst, true
}

// appendHash is HMAC (RFC 2104) without crypto/hmac's allocations: dst's spare
// room holds the inner message, and is cleared of it.
func appendHash(dst, key, value []byte) []byte {
	var short [sha256.Size]byte
	if len(key) > sha256.BlockSize {
		short = sha256.Sum256(key)
		key = short[:]
	}
	start := len(dst)
	dst = slices.Grow(dst, sha256.BlockSize+max(len(value), sha256.Size))
	dst = append(appendPad(dst, key, 0x36), value...)
	inner := sha256.Sum256(dst[start:])
	clear(dst[start:])
	dst = append(appendPad(dst[:start], key, 0x5c), inner[:]...)
	sum := sha256.Sum256(dst[start:])
	clear(dst[start:])
	return hex.AppendEncode(dst[:start], sum[:hashBytes])
}

// appendPad appends the key, padded with zeros to a block, each byte combined
// with mix.
func appendPad(dst, key []byte, mix byte) []byte {
	for i := range sha256.BlockSize {
		b := mix
		if i < len(key) {
			b ^= key[i]
		}
		dst = append(dst, b)
	}
	return dst
}

// ending returns the characters that partial shows: whole ones, and none of a
// value that is not UTF-8.
func ending(value []byte) []byte {
	if !utf8.Valid(value) {
		return nil
	}
	show := min(shownAtMost, utf8.RuneCount(value)/3)
	from := len(value)
	for range show {
		_, size := utf8.DecodeLastRune(value[:from])
		from -= size
	}
	return value[from:]
}
