package gitwire

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // git's own object ids
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// format is the hash of a repository's object ids.
type format struct {
	name string
	size int // bytes of an id
	new  func() hash.Hash
}

var (
	sha1Format   = format{name: "sha1", size: sha1.Size, new: sha1.New}
	sha256Format = format{name: "sha256", size: sha256.Size, new: sha256.New}
)

// formatNamed returns the format that a server advertises; a server that
// names none has SHA-1.
func formatNamed(name string) (format, bool) {
	switch name {
	case "", sha1Format.name:
		return sha1Format, true
	case sha256Format.name:
		return sha256Format, true
	}
	return format{}, false
}

// id is an object's id; with SHA-1 the rest is zero.
type id [sha256.Size]byte

// hex returns the id as git writes it.
func (f format) hex(i id) string { return hex.EncodeToString(i[:f.size]) }

// short returns enough of the id for people.
func (f format) short(i id) string { return hex.EncodeToString(i[:5]) }

// parse reads an id in hexadecimal.
func (f format) parse(text string) (id, bool) {
	var i id
	if len(text) != 2*f.size {
		return id{}, false
	}
	if _, err := hex.Decode(i[:], []byte(text)); err != nil {
		return id{}, false
	}
	return i, true
}

// object begins the hash of an object: its kind and size come first
// (gitformat-pack(5) calls the result an object name).
func (f format) object(kind objectKind, size int64) hash.Hash {
	h := f.new()
	_, _ = fmt.Fprintf(h, "%s %d\x00", kind, size) // a hash never fails
	return h
}

func (f format) sum(h hash.Hash) id {
	var i id
	h.Sum(i[:0])
	return i
}

// objectKind is the type of an entry of a pack.
type objectKind uint8

// The types of gitformat-pack(5).
const (
	commitObject objectKind = 1
	treeObject   objectKind = 2
	blobObject   objectKind = 3
	tagObject    objectKind = 4
	offsetDelta  objectKind = 6
	refDelta     objectKind = 7
)

// String is the word that an object's hash begins with.
func (k objectKind) String() string {
	switch k {
	case commitObject:
		return "commit"
	case treeObject:
		return "tree"
	case blobObject:
		return "blob"
	case tagObject:
		return "tag"
	case offsetDelta, refDelta:
		return "delta"
	}
	return "unknown"
}

// commit is what is kept of one.
type commit struct {
	parents []id
	author  string // name, address and time as they are written
	subject string // the first line of the message
}

// maxNoted bounds each text that is kept of a commit.
const maxNoted = 200

// parseCommit reads a commit's header: "tree", any number of "parent",
// "author", each a whole line and in this order. Git writes no other, and
// where it reads others it may see fewer parents than are written: those are
// not taken.
func (f format) parseCommit(content []byte) (commit, bool) {
	var c commit
	rest, _, ok := f.headerID(content, "tree ")
	if !ok {
		return commit{}, false
	}
	for bytes.HasPrefix(rest, []byte("parent ")) {
		var parent id
		if rest, parent, ok = f.headerID(rest, "parent "); !ok {
			return commit{}, false
		}
		c.parents = append(c.parents, parent)
	}
	author, rest, ok := bytes.Cut(rest, []byte("\n"))
	author, named := bytes.CutPrefix(author, []byte("author "))
	_, message, _ := bytes.Cut(rest, []byte("\n\n"))
	subject, _, _ := bytes.Cut(bytes.TrimLeft(message, "\n"), []byte("\n"))
	c.author, c.subject = noted(author), noted(subject)
	return c, ok && named
}

// parseTag reads which object an annotated tag names.
func (f format) parseTag(content []byte) (tagged id, ok bool) {
	_, tagged, ok = f.headerID(content, "object ")
	return tagged, ok
}

// headerID cuts a line of a key and an id off.
func (f format) headerID(header []byte, key string) (rest []byte, named id, ok bool) {
	line, rest, ended := bytes.Cut(header, []byte("\n"))
	value, found := bytes.CutPrefix(line, []byte(key))
	named, ok = f.parse(string(value))
	return rest, named, ended && found && ok
}

// noted is text that can be kept for people: valid and bounded.
func noted(text []byte) string {
	return strings.ToValidUTF8(string(text[:min(len(text), maxNoted)]), "\uFFFD")
}
