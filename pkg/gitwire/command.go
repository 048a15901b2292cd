package gitwire

import (
	"path"
	"strings"
)

// Service is one of the programs that git runs on a server.
type Service string

// The services.
const (
	ReceivePack   Service = "git-receive-pack"   // what a push talks to
	UploadPack    Service = "git-upload-pack"    // what a fetch talks to
	UploadArchive Service = "git-upload-archive" // what git archive --remote talks to
)

// Command is a command line that runs a service and nothing else.
type Command struct {
	Service    Service
	Repository string // the path as the service gets it
}

// ParseCommand reads a command line as a shell would. It reports false for
// every line that is not exactly a service with one path: another program,
// more or fewer arguments, an option, a path with segments that another one is
// without ("/a/../b", "a//b", "a/"), or anything that some shell could read as more
// than words. A program may be named with its directory, because a
// client can be told to; whether it may run is for the rules about programs.
func ParseCommand(line string) (Command, bool) {
	words, ok := shellWords(line)
	if !ok {
		return Command{}, false
	}
	if len(words) == 3 && path.Base(words[0]) == "git" {
		words = []string{"git-" + words[1], words[2]}
	}
	if len(words) != 2 || words[1] == "" || words[1][0] == '-' || path.Clean(words[1]) != words[1] || strings.HasPrefix(words[1], "..") {
		return Command{}, false
	}
	service := Service(path.Base(words[0]))
	switch service {
	case ReceivePack, UploadPack, UploadArchive:
		return Command{Service: service, Repository: words[1]}, true
	}
	return Command{}, false
}

// String is the command line as git writes it.
func (c Command) String() string {
	quoted := strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(c.Repository)
	return string(c.Service) + " '" + quoted + "'"
}

// shellWords splits a line into words, and reports false where a shell would
// do more than remove quotes. What shells disagree about is refused: a
// backslash in single quotes, a history sign in double ones, control
// characters anywhere.
func shellWords(line string) (words []string, ok bool) {
	var word strings.Builder
	inWord := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c < ' ' || c == 0x7f {
			return nil, false
		}
		switch {
		case c == ' ':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
			continue
		case c == '\'' || c == '"':
			n, ok := quoted(&word, line[i+1:], c)
			if !ok {
				return nil, false
			}
			i += n
		case c == '\\':
			if i++; i == len(line) || line[i] < ' ' {
				return nil, false
			}
			word.WriteByte(line[i])
		case plain(c):
			word.WriteByte(c)
		default:
			return nil, false
		}
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, true
}

// quoted adds what stands before the closing quote, and returns how many bytes
// that took, the quote included.
func quoted(word *strings.Builder, rest string, quote byte) (taken int, ok bool) {
	unsafe := `\`
	if quote == '"' {
		unsafe = "\\$`!"
	}
	text, _, closed := strings.Cut(rest, string(quote))
	if !closed || strings.ContainsAny(text, unsafe) {
		return 0, false
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return 0, false
		}
	}
	word.WriteString(text)
	return len(text) + 1, true
}

// plain reports whether c means itself in every shell, wherever it stands.
// Bytes beyond ASCII do.
func plain(c byte) bool {
	return c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("/._-+,:@%", c) >= 0
}
