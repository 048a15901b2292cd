package ssh

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// maxCopied is how many files of one scp are recorded by name.
	maxCopied = 64
	// maxCopyLine is the longest line that is read; a name has at most 255 bytes.
	maxCopyLine = 1 << 10
	// maxCopyName is how much is recorded of a name with its directories.
	maxCopyName = 255
	// maxCopyDepth is how many directories may be inside of one another.
	maxCopyDepth = 64
)

// copied follows the protocol of scp -O in the direction in which files go. A
// line names a file or a directory, then come the file's bytes and one more,
// or a line of what went wrong (source and sink of scp.c):
//
//	T<modified> 0 <accessed> 0
//	C<mode> <size> <name>
//	D<mode> 0 <name>
//	E
//
// It decides nothing: a stream that is not scp's is one of which no more is
// known.
type copied struct {
	stream protocol.Stream
	verb   string

	mu      sync.Mutex
	line    []byte
	in      []string  // directories
	file    hash.Hash // nil: a line comes
	name    string
	size    uint64
	left    uint64
	strange bool
	files   []string // in words
	count   int
}

// copiedBy returns what follows the files of a program; nil: it is not scp.
func copiedBy(op *operation.Operation) *copied {
	if op.Kind != operation.Exec || !op.Parsed || len(op.SSH.Commands) != 1 || path.Base(op.SSH.Commands[0].Program) != "scp" {
		return nil
	}
	for _, arg := range op.SSH.Commands[0].Args {
		switch {
		case arg == "--" || !strings.HasPrefix(arg, "-"):
			return nil
		case strings.Contains(arg, "t"):
			return &copied{stream: protocol.Input, verb: "wrote"}
		case strings.Contains(arg, "f"):
			return &copied{stream: protocol.Response, verb: "read"}
		}
	}
	return nil
}

// pass follows a chunk.
func (c *copied) pass(stream protocol.Stream, chunk []byte) {
	if c == nil || stream != c.stream {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(chunk) > 0 && !c.strange {
		if c.file != nil && c.left > 0 {
			n := int(min(c.left, uint64(len(chunk))))
			c.file.Write(chunk[:n])
			c.left -= uint64(n) //nolint:gosec // it is part of left
			chunk = chunk[n:]
			continue
		}
		if c.file != nil {
			c.ended(chunk[0] == 0)
			if chunk[0] == 0 {
				chunk = chunk[1:]
			}
			continue
		}
		end := bytes.IndexByte(chunk, '\n')
		if end < 0 {
			end = len(chunk) - 1
		}
		c.line = append(c.line, chunk[:end+1]...)
		chunk = chunk[end+1:]
		if c.strange = len(c.line) > maxCopyLine; !c.strange && c.line[len(c.line)-1] == '\n' {
			c.strange = !c.read(string(c.line[:len(c.line)-1]))
			c.line = c.line[:0]
		}
	}
}

// read takes one line. It reports whether that was scp's.
func (c *copied) read(line string) bool {
	if line == "" {
		return false
	}
	switch line[0] {
	case 'T', 1, 2: // times, a warning, an error
		return true
	case 'E':
		if len(c.in) > 0 {
			c.in = c.in[:len(c.in)-1]
		}
		return true
	case 'C', 'D':
		_, rest, _ := strings.Cut(line, " ")
		number, name, named := strings.Cut(rest, " ")
		size, err := strconv.ParseUint(number, 10, 63)
		if err != nil || !named || len(c.in) >= maxCopyDepth {
			return false
		}
		if line[0] == 'D' {
			c.in = append(c.in, name)
			return true
		}
		c.file, c.name, c.size, c.left = sha256.New(), name, size, size
		return true
	}
	return false
}

// ended notes a file that came to its end. It is whole unless its source says
// otherwise.
func (c *copied) ended(whole bool) {
	if c.count++; len(c.files) < maxCopied {
		text := fmt.Sprintf("%s %s: %d bytes, sha256:%s", c.verb, c.where(), c.size, hex.EncodeToString(c.file.Sum(nil)))
		if !whole {
			text += ", with an error"
		}
		c.files = append(c.files, text)
	}
	c.file = nil
}

// where is the file's name below what the command line names, or its end.
func (c *copied) where() string {
	name := strings.Join(append(c.in, c.name), "/")
	return protocol.Printable(strings.ToValidUTF8(name[max(0, len(name)-maxCopyName):], "\uFFFD"))
}

// summary says what was copied; "" for nothing.
func (c *copied) summary() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := c.files
	if c.count > len(parts) {
		parts = append(parts, fmt.Sprintf("%d files more", c.count-len(c.files)))
	}
	if c.file != nil {
		parts = append(parts, fmt.Sprintf("%s a part of %s", c.verb, c.where()))
	}
	if c.strange {
		parts = append(parts, "then something else than scp's protocol")
	}
	return strings.Join(parts, "; ")
}
