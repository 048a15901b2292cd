package gitwire

import (
	"slices"
	"strings"
)

// capabilities are the words that follow the first NUL of an advertisement or
// of the first command or want.
type capabilities []string

// parseCapabilities splits a list at its spaces. It reports false for what is
// another separator for git, or for us and not for git.
func parseCapabilities(list string) (capabilities, bool) {
	if strings.ContainsFunc(list, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return nil, false
	}
	return strings.Fields(list), true
}

func (c capabilities) has(name string) bool { return slices.Contains(c, name) }

// value returns what follows "name=".
func (c capabilities) value(name string) string {
	for _, word := range c {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}

// understood are the capabilities of a push whose effect on the conversation
// is known here (gitprotocol-capabilities(5)). The others are not offered to
// the client: they could make it send what nobody inspects.
var understood = []string{
	"report-status", "report-status-v2", "delete-refs", "side-band-64k", "quiet", "atomic", "ofs-delta",
	"push-options", "push-cert", "object-format", "agent", "session-id", "no-thin",
}

// offer returns the capabilities that may be offered to a client.
func (c capabilities) offer() capabilities {
	return slices.DeleteFunc(slices.Clone(c), func(word string) bool {
		name, _, _ := strings.Cut(word, "=")
		return !slices.Contains(understood, name)
	})
}

// foreign returns whether the list has a word that was not offered. A client
// answers some of them with a value of its own.
func (c capabilities) foreign(offered capabilities) bool {
	return slices.ContainsFunc(c, func(word string) bool {
		name, _, valued := strings.Cut(word, "=")
		if !valued {
			return !offered.has(word)
		}
		switch name {
		case "agent", "session-id":
			return false // said in words that change nothing
		case "object-format":
			return !offered.has(word)
		}
		return true
	})
}
