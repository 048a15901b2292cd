package mysqltext

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// shown are what SHOW shows of definitions and settings: none of what tables
// hold. Others may show values, as those of warnings or of other sessions'
// statements.
var shown = set(`tables databases schemas columns fields index indexes keys table variables status charset character collation
	engines plugins privileges events triggers create grants procedure function count`)

// shownWords may stand before what is shown.
var shownWords = set("full extended global session local open all storage")

// show reads SHOW. Its kind has the words of what it shows.
func (d *describer) show(s *statement, st *Statement) refusal {
	i := 1
	for i < len(s.tokens) && shownWords[s.keyword(i)] {
		i++
	}
	what := s.keyword(i)
	if what == "" {
		return refusedKind
	}
	switch what {
	case "create", "procedure", "function", "binary", "master", "replica", "slave", "all", "relaylog", "binlog", "engine":
		st.Kind = "SHOW " + strings.ToUpper(what)
		if next := s.keyword(i + 1); next != "" {
			st.Kind += " " + strings.ToUpper(next)
		}
	default:
		st.Kind = "SHOW " + strings.ToUpper(what)
	}
	if shown[what] {
		st.Lineage = &lineage.Trace{Outputs: []lineage.Output{{Star: true}}}
	}
	if st.Kind == "SHOW CREATE USER" {
		st.Class, st.Secret = operation.Privilege, true
	}
	where := s.find(i, "where")
	if where > 0 {
		lineage := st.Lineage
		if why := d.expressions(s, st, s.tokens[where+1:]); why != "" {
			return why
		}
		st.Lineage = lineage
	} else {
		where = len(s.tokens)
	}
	d.shownNames(s, st, what, s.tokens[:where], i)
	return ""
}

// shownNames notes the relation that SHOW is about.
func (d *describer) shownNames(s *statement, st *Statement, what string, tokens []token, at int) {
	about := &statement{scratch: s.scratch, tokens: tokens}
	from := -1
	switch what {
	case "columns", "fields", "index", "indexes", "keys":
		from = about.find(at, "from", "in")
	case "create":
		switch s.keyword(at + 1) {
		case "table", "view", "sequence", "trigger", "procedure", "function", "event":
			from = at + 1
		}
	}
	if from < 0 {
		return
	}
	schema := ""
	if second := about.find(from+1, "from", "in"); second > 0 {
		if second+1 < len(tokens) {
			schema = s.name(tokens[second+1])
		}
		tokens = tokens[:second]
	}
	var parts []string
	for _, t := range tokens[from+1:] {
		if t.kind == tokString || s.word(t, "like") {
			break
		}
		if t.kind == tokWord || t.kind == tokQuoted {
			parts = append(parts, s.name(t))
		}
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	switch {
	case len(parts) == 0:
	case len(parts) == 1 || schema != "":
		st.Relations = addName(st.Relations, d.opt.relationName(schema, parts[len(parts)-1]))
	default:
		st.Relations = addName(st.Relations, d.opt.relationName(parts[len(parts)-2], parts[len(parts)-1]))
	}
}

// explain reads EXPLAIN, DESCRIBE, DESC and MariaDB's ANALYZE with what is
// behind them.
func (d *describer) explain(s *statement, at, from int) refusal {
	st := &d.found[at]
	runs := s.keyword(0) == "analyze"
	for ; from < len(s.tokens); from++ {
		switch word := s.keyword(from); word {
		case "analyze":
			runs = true
		case "extended", "partitions":
		case "format":
			if from+2 >= len(s.tokens) || !s.op(s.tokens[from+1], '=') {
				return d.describeTable(s, st, from)
			}
			from += 2
		case "for":
			st.Class, st.Opaque, st.Hides = operation.Procedural, true, true // of another session's statement
			return ""
		case "select", "insert", "replace", "update", "delete", "with", "values", "table", "(":
			return d.explained(s, at, from, runs)
		default:
			return d.describeTable(s, st, from)
		}
	}
	return refusedSyntax
}

// describeTable is DESCRIBE of a table: the same as SHOW COLUMNS.
func (d *describer) describeTable(s *statement, st *Statement, from int) refusal {
	st.Kind = "SHOW COLUMNS"
	st.Lineage = &lineage.Trace{Outputs: []lineage.Output{{Star: true}}}
	t, end := s.tokens[from], from+1
	if t.kind != tokQuoted && (t.kind != tokWord || reservedWords[s.keyword(from)]) {
		return refusedSyntax
	}
	parts := []string{"", s.name(t)}
	if from+2 < len(s.tokens) && s.op(s.tokens[from+1], '.') {
		parts, end = []string{s.name(t), s.name(s.tokens[from+2])}, from+3
	}
	if len(s.tokens) > end+1 {
		return refusedSyntax // a column, or a pattern, and no more
	}
	st.Relations = []string{d.opt.relationName(parts[0], parts[1])}
	return ""
}

// explained reads the statement behind EXPLAIN. Even where it is not run, parts
// of it may be: constant ones, and those that are materialized.
func (d *describer) explained(s *statement, at, from int, runs bool) refusal {
	inner := &statement{scratch: s.scratch, tokens: s.tokens[from:]}
	k, words, known := inner.kindOf()
	if !known {
		return refusedKind
	}
	if why := d.statement(inner, k, words); why != "" {
		return why
	}
	if d.neutral && !d.shared {
		return ""
	}
	last := len(d.found) - 1
	found := d.found[last]
	st := &d.found[at]
	st.Relations, st.Columns, st.Functions, st.Aliases = found.Relations, found.Columns, found.Functions, found.Aliases
	st.Calls, st.Opaque, st.Hides = found.Calls, found.Opaque, found.Hides
	st.Effects = found.Effects
	st.Secret = found.Secret
	if !runs {
		d.found = d.found[:last]
		return ""
	}
	d.found[last].Nested = true
	st.Writes = found.Writes
	if found.Class != operation.Read {
		st.Class = found.Class
		st.Effects = append(slices.Clone(st.Effects), Effect{Kind: Lock})
	}
	return ""
}

// prepare reads PREPARE name FROM 'text' and EXECUTE IMMEDIATE 'text'.
func (d *describer) prepare(s *statement, at, words int) refusal {
	st := &d.found[at]
	from := words
	if st.Kind == "PREPARE" {
		if words+2 >= len(s.tokens) || !s.word(s.tokens[words+1], "from") {
			return refusedSyntax
		}
		st.Effects = []Effect{{Kind: Prepare, Name: fold(s.name(s.tokens[words]))}}
		from = words + 2
	}
	end := from
	text := ""
	for end < len(s.tokens) && s.tokens[end].kind == tokString {
		text += stringValue(s.written(s.tokens[end]), s.opt)
		end++
	}
	whole := end == len(s.tokens) || st.Kind != "PREPARE" && s.word(s.tokens[end], "using")
	if end == from || !whole {
		st.Class, st.Opaque, st.Hides = operation.Procedural, true, true // it stands in a variable
		return ""
	}
	found := d.a.analyzeNested([]byte(text), d.opt)
	if !found.Parsed || len(found.Statements) == 0 {
		return refusal(found.Why)
	}
	for i := range found.Statements {
		d.absorb(at, &found.Statements[i])
	}
	return ""
}

// absorb makes the statement around another at least what that one is.
func (d *describer) absorb(at int, inner *Statement) {
	one := *inner
	one.Nested = true
	one.Effects = nil
	st := &d.found[at]
	for _, lists := range [...]struct {
		to   *[]string
		from []string
	}{
		{&st.Relations, one.Relations},
		{&st.Columns, one.Columns},
		{&st.Functions, one.Functions},
		{&st.Writes, one.Writes},
		{&st.Aliases, one.Aliases},
		{&st.Calls, one.Calls},
	} {
		for _, name := range lists.from {
			*lists.to = addName(*lists.to, name)
		}
	}
	st.Opaque, st.Hides, st.Secret = st.Opaque || one.Opaque, st.Hides || one.Hides, st.Secret || one.Secret
	if st.Kind == "PREPARE" {
		st.Lineage = one.Lineage
		if st.Class == operation.Read {
			st.Class = one.Class
		}
	}
	d.found = append(d.found, one)
}

// analyzeNested reads a text inside of another. It must be one statement.
func (a *Analyzer) analyzeNested(text []byte, opt Options) *Analysis {
	s := new(scratch)
	if why := s.read(text, opt); why != "" {
		return refuse(why)
	}
	if len(s.tokens) > 0 && slices.ContainsFunc(s.tokens[:len(s.tokens)-1], func(t token) bool { return s.op(t, ';') }) {
		return refuse(refusedKind)
	}
	if k := (&statement{scratch: s, tokens: s.tokens}).keyword(0); k == "prepare" || k == "execute" {
		return refuse(refusedKind)
	}
	found, _, why := a.describe(s, false)
	if why != "" {
		return refuse(why)
	}
	return found
}
