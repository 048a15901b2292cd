// Package shelltext reads a command line as POSIX's shell reads it, into the
// simple commands that it runs.
//
// It promises that a line is certain only where every word is literal after
// quoting and nothing evaluates more, in all usual shells: what it is not sure
// of, it says so. It runs nothing, and knows nothing of what a program does by
// itself.
package shelltext

import (
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sluicegate/sluice/pkg/operation"
)

const (
	// maxLine is the longest command line that is read, in bytes: the parser
	// recurses into what is nested.
	maxLine = 32 << 10
	// maxNested is how many command lines may be inside of one another.
	maxNested = 8
)

// Read returns every simple command that a POSIX shell runs, or may
// run, for a command line. It reports false for a line of which that is not
// certain: one with anything that the shell would still expand, evaluate or
// define, or with a program that runs what its arguments or its input say. Then
// the commands are those that were seen, and no complete list.
//
// A file that the shell opens is a command too: ">" for one to write to, "<"
// for one to read. What programs do by themselves is not known: a script is as
// good as any program.
//
// The user's shell may be another one than POSIX's. Only characters that are
// literal in all usual shells count as such outside of quotes.
func Read(line string) (commands []operation.SSHCommand, certain bool) {
	r := &reading{certain: true}
	r.line(line, 0)
	return r.commands, r.certain
}

// reading is what is known of a command line so far.
type reading struct {
	commands []operation.SSHCommand
	certain  bool
}

func (r *reading) doubt() { r.certain = false }

func (r *reading) add(program string, args ...string) {
	r.commands = append(r.commands, operation.SSHCommand{Program: program, Args: args})
}

// line reads a whole command line.
func (r *reading) line(line string, depth int) {
	if depth > maxNested || !plain(line) {
		r.doubt()
		return
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(line), "")
	if err != nil || len(file.Stmts) == 0 {
		r.doubt()
		return
	}
	r.statements(file.Stmts, depth)
}

// plain reports whether a line has only characters that parser and shell take
// alike. A shell's reading of a carriage return, of NUL and of bytes that are
// no UTF-8 differs from the parser's.
func plain(line string) bool {
	if len(line) > maxLine || !utf8.ValidString(line) {
		return false
	}
	for _, c := range line {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func (r *reading) statements(all []*syntax.Stmt, depth int) {
	for _, s := range all {
		r.statement(s, depth)
	}
}

func (r *reading) statement(s *syntax.Stmt, depth int) {
	if s.Coprocess || s.Disown {
		r.doubt()
	}
	for _, redirect := range s.Redirs {
		r.redirect(redirect)
	}
	switch command := s.Cmd.(type) {
	case nil:
	case *syntax.CallExpr:
		r.call(command, depth)
	case *syntax.Subshell:
		if first, ok := command.Stmts[0].Cmd.(*syntax.Subshell); ok && first.Pos().Offset() == command.Pos().Offset()+1 {
			r.doubt() // "((" is arithmetic in other shells
		}
		r.statements(command.Stmts, depth)
	case *syntax.Block:
		r.statements(command.Stmts, depth)
	case *syntax.BinaryCmd:
		r.statement(command.X, depth)
		r.statement(command.Y, depth)
	case *syntax.WhileClause:
		r.statements(command.Cond, depth)
		r.statements(command.Do, depth)
	case *syntax.IfClause:
		for clause := command; clause != nil; clause = clause.Else {
			r.statements(clause.Cond, depth)
			r.statements(clause.Then, depth)
		}
	default: // definitions, and loops over what changes
		r.doubt()
	}
}

// call reads one simple command.
func (r *reading) call(call *syntax.CallExpr, depth int) {
	for _, assignment := range call.Assigns {
		if assignment.Append || assignment.Naked || assignment.Index != nil || assignment.Array != nil || !Harmless(assignment.Name.Value) {
			r.doubt()
			continue
		}
		if assignment.Value != nil {
			r.word(assignment.Value)
		}
	}
	words := make([]string, 0, len(call.Args))
	for _, arg := range call.Args {
		words = append(words, r.word(arg))
	}
	if len(words) > 0 {
		if strings.Contains(words[0], "=") {
			r.doubt() // an assignment, in some shells
		}
		r.command(words, depth)
	}
}

// redirect reads what a command's file descriptors are connected to.
func (r *reading) redirect(redirect *syntax.Redirect) {
	if redirect.Hdoc != nil {
		r.document(redirect.Hdoc)
		return
	}
	file := r.word(redirect.Word)
	if file == "/dev/null" {
		return
	}
	switch redirect.Op {
	case syntax.RdrOut, syntax.AppOut, syntax.RdrClob:
		r.add(">", file)
	case syntax.RdrIn:
		r.add("<", file)
	case syntax.RdrInOut:
		r.add("<", file)
		r.add(">", file)
	case syntax.DplOut, syntax.DplIn:
		if !isDescriptor(file) {
			r.doubt()
		}
	default:
		r.doubt()
	}
}

// isDescriptor reports whether a file descriptor is duplicated or closed. In
// bash other words are files.
func isDescriptor(word string) bool {
	return word == "-" || len(word) == 1 && word[0] >= '0' && word[0] <= '9'
}

// document reads a here-document, which must be literal.
func (r *reading) document(word *syntax.Word) {
	for _, part := range word.Parts {
		if _, ok := part.(*syntax.Lit); !ok {
			r.doubt()
		}
	}
}

// word returns a word as the command gets it.
func (r *reading) word(word *syntax.Word) string {
	if only, ok := only(word); ok {
		return only
	}
	var text []byte
	for i, part := range word.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			if i == 0 && strings.HasPrefix(part.Value, "=") {
				r.doubt() // zsh looks such a command up
			}
			text = r.literal(text, part.Value)
		case *syntax.SglQuoted:
			if part.Dollar {
				r.doubt()
			}
			text = append(text, part.Value...)
		case *syntax.DblQuoted:
			text = r.quoted(text, part)
		default:
			r.doubt()
		}
	}
	return string(text)
}

// only returns those words that are literal alone and not as a part.
func only(word *syntax.Word) (string, bool) {
	if len(word.Parts) != 1 {
		return "", false
	}
	lit, ok := word.Parts[0].(*syntax.Lit)
	if !ok || lit.Value != "[" && lit.Value != "]" && lit.Value != "!" {
		return "", false
	}
	return lit.Value, true
}

// literal appends what stands outside of quotes.
func (r *reading) literal(text []byte, value string) []byte {
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && i+1 < len(value):
			i++
			if value[i] >= utf8.RuneSelf {
				r.doubt() // half of a character
			}
			if value[i] != '\n' {
				text = append(text, value[i])
			}
		case isLiteral(c):
			text = append(text, c)
		default:
			r.doubt()
		}
	}
	return text
}

// isLiteral reports whether a character is only itself, in all usual shells.
func isLiteral(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-+./:,@%=", c) >= 0
}

// quoted appends what stands in double quotes (POSIX, 2.2.3).
func (r *reading) quoted(text []byte, part *syntax.DblQuoted) []byte {
	if part.Dollar {
		r.doubt()
	}
	for _, inner := range part.Parts {
		lit, ok := inner.(*syntax.Lit)
		if !ok {
			r.doubt()
			continue
		}
		for i := 0; i < len(lit.Value); i++ {
			c := lit.Value[i]
			if c == '\\' && i+1 < len(lit.Value) && strings.IndexByte("$`\"\\\n", lit.Value[i+1]) >= 0 {
				i++
				if lit.Value[i] == '\n' {
					continue
				}
				c = lit.Value[i]
			}
			text = append(text, c)
		}
	}
	return text
}

// Harmless reports whether a variable of the environment changes
// nothing of what is run.
func Harmless(name string) bool {
	switch name {
	case "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES", "CI", "DEBIAN_FRONTEND", "GIT_PROTOCOL":
		return true
	}
	return strings.HasPrefix(name, "LC_")
}
