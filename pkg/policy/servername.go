package policy

import (
	"fmt"
	"strings"
)

// anyLabel begins a pattern of server names: one label, whichever it is.
const anyLabel = "*."

// maxName is the length of a DNS name in text (RFC 1035, section 2.3.4).
const maxName = 253

// parseServerName reads a name that clients ask TLS for, or a pattern of them.
// It is written as it travels (RFC 6066, section 3): in ASCII, so that an
// internationalised name is written in its encoded form and nobody has to agree
// on how to fold it; without a final dot, which is taken away here as of hosts;
// never an address, for which clients send no name.
func parseServerName(text string) (string, error) {
	name, pattern := strings.CutPrefix(text, anyLabel)
	host, err := parseHost(name)
	switch {
	case err != nil || host.Name == "":
		return "", fmt.Errorf("%q is not a server name: write a name as in db.example.com, or *.example.com for any one label; an international one as xn--", text)
	case pattern && !strings.Contains(host.Name, "."):
		return "", fmt.Errorf("%q is a whole zone: write at least two labels behind the star", text)
	case pattern:
		return anyLabel + host.Name, nil
	}
	return host.Name, nil
}

// selectsName reports whether a client that asks for a name is selected by one
// of these. What is not a host's name is asked for by nobody who means it.
func selectsName(names []string, asked string) bool {
	asked = lower(asked)
	if len(asked) > maxName || !hostName.MatchString(asked) {
		return false
	}
	for _, name := range names {
		if meetingNames(name, asked) {
			return true
		}
	}
	return false
}

// meetingNames reports whether there is a name that both stand for. A pattern
// stands for exactly one label, so that two of them meet only where they are the
// same.
func meetingNames(a, b string) bool {
	if a == b {
		return true
	}
	return underPattern(a, b) || underPattern(b, a)
}

// underPattern reports whether a name is one that a pattern stands for.
func underPattern(pattern, name string) bool {
	rest, ok := strings.CutPrefix(pattern, anyLabel)
	if !ok || strings.HasPrefix(name, anyLabel) {
		return false
	}
	_, behind, ok := strings.Cut(name, ".")
	return ok && behind == rest
}

// lower folds ASCII alone: TLS has nothing else, and other letters would fold
// into some that a name may have.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}
