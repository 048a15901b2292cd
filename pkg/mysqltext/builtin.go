package mysqltext

import (
	_ "embed"
	"strings"
)

// Functions without schema are the server's own where it has one of the name:
// those come before loadable and stored ones. (A function with its bracket
// apart from its name is another matter, see apart.)
//
//go:embed functions.txt
var functionList string

// builtins are the functions of the servers that are known to be harmless:
// they change nothing, wait for nothing, and read no file.
type builtins struct{ both, mysql, maria map[string]bool }

func newBuiltins() *builtins {
	b := &builtins{both: map[string]bool{}, mysql: map[string]bool{}, maria: map[string]bool{}}
	into := b.both
	for line := range strings.Lines(functionList) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line == "[both]":
			into = b.both
		case line == "[mysql]":
			into = b.mysql
		case line == "[mariadb]":
			into = b.maria
		default:
			for _, name := range strings.Fields(line) {
				into[name] = true
			}
		}
	}
	return b
}

// harmless reports whether a function of that name is the server's own and
// harmless. LAST_INSERT_ID keeps what it is given.
func (b *builtins) harmless(name string, args int, maria bool) bool {
	if name == "last_insert_id" && args > 0 {
		return false
	}
	return b.both[name] || maria && b.maria[name] || !maria && b.mysql[name]
}
