package shelltext

import (
	"regexp"
	"strings"
)

// wrapper is a program that runs the command which its last arguments are. Any
// option that is not listed makes the line uncertain.
type wrapper struct {
	known   bool
	flags   string   // letters without a value
	valued  string   // letters with a value, attached or in the next word
	long    []string // options as they are written, with "=" for a value that is attached
	words   int      // arguments before the command
	assigns bool     // NAME=value may stand before the command
}

var wrappers = map[string]wrapper{
	"sudo":    {known: true, flags: "nHkSEb", valued: "ugpC", long: []string{"--user=", "--group=", "--non-interactive", "--set-home"}, assigns: true},
	"doas":    {known: true, flags: "n", valued: "u"},
	"env":     {known: true, flags: "i", valued: "uC", long: []string{"--ignore-environment", "--unset=", "--chdir="}, assigns: true},
	"nice":    {known: true, flags: "0123456789", valued: "n", long: []string{"--adjustment="}},
	"nohup":   {known: true},
	"setsid":  {known: true, flags: "fwc", long: []string{"--fork", "--wait", "--ctty"}},
	"time":    {known: true, flags: "pv"},
	"timeout": {known: true, flags: "v", valued: "ks", long: []string{"--foreground", "--preserve-status", "--kill-after=", "--signal="}, words: 1},
	"stdbuf":  {known: true, valued: "ioe", long: []string{"--input=", "--output=", "--error="}},
	"ionice":  {known: true, flags: "t", valued: "cn"},
}

// wrapped reads the command that a wrapper runs.
func (r *reading) wrapped(w wrapper, args []string, depth int) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-" {
		if args[0] == "--" {
			args = args[1:]
			break
		}
		used := w.option(args)
		if used == 0 {
			r.doubt()
			return
		}
		args = args[used:]
	}
	for w.assigns && len(args) > 0 && variable.MatchString(args[0]) {
		if name, _, _ := strings.Cut(args[0], "="); !Harmless(name) {
			r.doubt()
			return
		}
		args = args[1:]
	}
	if len(args) < w.words {
		r.doubt()
		return
	}
	if args = args[w.words:]; len(args) > 0 {
		r.command(args, depth+1)
	}
}

var variable = regexp.MustCompile(`^[^=/]+=`)

// option returns how many words an option takes; 0 when it is not known, or
// when its value is not there.
func (w wrapper) option(args []string) int {
	option := args[0]
	if strings.HasPrefix(option, "--") {
		for _, long := range w.long {
			if option == long || strings.HasSuffix(long, "=") && strings.HasPrefix(option, long) {
				return 1
			}
		}
		return 0
	}
	for i := 1; i < len(option); i++ {
		switch {
		case strings.IndexByte(w.flags, option[i]) >= 0:
		case strings.IndexByte(w.valued, option[i]) < 0:
			return 0
		case i+1 < len(option):
			return 1
		case len(args) < 2:
			return 0
		default:
			return 2
		}
	}
	return 1
}

// shell reads what a shell runs: a script, or the line behind -c.
func (r *reading) shell(args []string, depth int) {
	line := false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		option := args[0]
		args = args[1:]
		switch {
		case option == "--":
		case option == "--login" || option == "--norc" || option == "--noprofile" || option == "--posix":
			continue
		case option[0] == '-' && strings.Trim(option[1:], "celuxv") == "":
			line = line || strings.Contains(option, "c")
			continue
		case (option == "-o" || option == "+o") && len(args) > 0 && harmlessMode[args[0]]:
			args = args[1:]
			continue
		default:
			r.doubt()
			return
		}
		break
	}
	switch {
	case len(args) == 0:
		r.doubt() // its input is run
	case line:
		r.line(args[0], depth+1)
	}
}

var harmlessMode = set("errexit nounset pipefail xtrace")

// builtin reads what of a shell's own runs a command.
func (r *reading) builtin(name string, args []string, depth int) {
	if len(args) == 0 {
		return // exec alone keeps its redirections
	}
	switch {
	case name == "command" && (args[0] == "-v" || args[0] == "-V"):
		return
	case args[0] == "--":
		args = args[1:]
	case strings.HasPrefix(args[0], "-"):
		r.doubt()
		return
	}
	if len(args) > 0 {
		r.command(args, depth+1)
	}
}
