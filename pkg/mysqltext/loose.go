package mysqltext

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"

	"github.com/sluicegate/sluice/pkg/operation"
)

// reservedWords are the key words that cannot be a name without quotes.
var reservedWords = func() map[string]bool {
	found := make(map[string]bool)
	for _, k := range parser.Keywords {
		if k.Reserved {
			found[strings.ToLower(k.Word)] = true
		}
	}
	return found
}()

// listWords are words that stand behind the names in a list of relations.
var listWords = set(`read write local low_priority concurrent quick fast medium extended changed upgrade for persistent wait
	nowait export with lock as to partition all columns indexes open close next prev first last where limit only
	begin end returns return deterministic each before after schedule every do then`)

// header passes words that may stand between a statement's first words and the
// names.
func (s *statement) header(i int) int {
	for {
		switch s.keyword(i) {
		case "local", "no_write_to_binlog", "if", "not", "exists":
			i++
		case "table", "tables", "view", "cache":
			return i + 1
		default:
			return i
		}
	}
}

// loose takes every name in a statement for a relation's, and for a column's:
// so that none is missed where no syntax tree tells which is which.
func (d *describer) loose(s *statement, st *Statement, from int) refusal {
	from = s.header(from)
	first := true // of an item of a list
	for i := from; i < len(s.tokens); i++ {
		t := s.tokens[i]
		word := s.keyword(i)
		switch {
		case t.kind != tokWord && t.kind != tokQuoted:
			first = s.op(t, ',') || s.op(t, '(')
			continue
		case t.kind == tokWord && !t.named && !t.dotted && (reservedWords[word] || !first && listWords[word]):
			first = first || word == "to" || word == "on" || word == "from" || word == "into" || word == "table"
			continue
		}
		first = false
		parts := []string{s.name(t)}
		for len(parts) < 3 && i+2 < len(s.tokens) && s.op(s.tokens[i+1], '.') &&
			(s.tokens[i+2].kind == tokWord || s.tokens[i+2].kind == tokQuoted) {
			i += 2
			parts = append(parts, s.name(s.tokens[i]))
		}
		d.looseName(st, parts)
		if st.names() > maxNames {
			return refusedSize
		}
	}
	return ""
}

func (d *describer) looseName(st *Statement, parts []string) {
	n := len(parts)
	switch n {
	case 1:
		st.Relations = addName(st.Relations, d.opt.relationName("", parts[0]))
	case 2:
		st.Relations = addName(st.Relations, d.opt.relationName(parts[0], parts[1]))
	default:
		st.Relations = addName(st.Relations, d.opt.relationName(parts[0], parts[1]))
	}
	last := fold(parts[n-1])
	if n > 1 {
		last = join(d.opt.foldRelation(parts[n-2]), last)
	}
	if st.Kind != "LOCK TABLES" && st.Kind != "FLUSH TABLES" {
		st.Columns = addName(st.Columns, last)
	}
	if st.Class != operation.Read {
		st.Writes = addName(st.Writes, st.Relations[len(st.Relations)-1])
	}
}

// granted returns the relation of GRANT and REVOKE … ON.
func (d *describer) granted(s *statement, class operation.Class) []string {
	at := s.find(0, "on")
	if class != operation.Privilege || at < 0 {
		return nil
	}
	var parts []string
	for _, t := range s.tokens[at+1:] {
		switch {
		case s.word(t, "to") || s.word(t, "from"):
			if len(parts) == 0 {
				return nil
			}
			if len(parts) == 1 {
				return []string{d.opt.relationName("", parts[0])}
			}
			return []string{d.opt.relationName(parts[0], parts[1])}
		case s.word(t, "table") || s.word(t, "function") || s.word(t, "procedure"):
		case t.kind == tokWord || t.kind == tokQuoted:
			parts = append(parts, s.name(t))
		case s.op(t, '*'):
			parts = append(parts, "*")
		}
	}
	return nil
}

// bodies lists what stands inside the body of a routine by its first words, as
// statements inside it: those are run later, or here where the text goes on
// behind the body, which only the server's grammar tells.
func (d *describer) bodies(s *statement, at, from int) {
	for i := from; i < len(s.tokens) && len(d.found) < maxBodies; i++ {
		if i > from && !s.begins(i-1) {
			continue
		}
		part := &statement{scratch: s.scratch, tokens: s.tokens[i:]}
		k, _, known := part.kindOf()
		if !known || part.keyword(0) == "(" {
			continue
		}
		inner := Statement{Nested: true, Hides: true}
		inner.Kind, inner.Class, inner.Opaque = k.name, k.class, true
		inner.Relations, inner.Columns = d.found[at].Relations, d.found[at].Columns
		inner.Secret = d.found[at].Secret || k.traits&secret != 0
		d.found[at].Secret = inner.Secret
		d.found = append(d.found, inner)
	}
}

// maxBodies bounds what is listed of a text.
const maxBodies = 1024

// begins reports whether a statement may begin behind a token.
func (s *statement) begins(i int) bool {
	t := s.tokens[i]
	return s.op(t, ';') || s.op(t, ':') || s.op(t, ')') || t.kind == tokWord && !slices.Contains(notBefore[:], s.keyword(i))
}

// notBefore are words behind which no statement begins, though a word that
// begins one may stand there.
var notBefore = [...]string{"before", "after", "or", "for", "on", "drop", "create", "alter", "from", "into", "as", "set", "select"}

// engines keep a table's rows in the table and nowhere else.
var engines = set("innodb myisam memory heap aria archive csv ndb ndbcluster blackhole rocksdb columnstore tokudb")

// options looks at the options of a table: an engine may read other tables or
// other servers, and say how to log in there.
func (d *describer) options(s *statement, st *Statement) {
	if st.Class != operation.DDL {
		return
	}
	for i, t := range s.tokens {
		switch {
		case s.word(t, "connection") || s.word(t, "password"):
			st.Secret = true
		case s.word(t, "tablespace") || s.word(t, "directory"):
			st.Opaque, st.Hides = true, true
		case s.word(t, "union") && s.merges(i+1):
			st.Opaque, st.Hides = true, true
		case s.word(t, "engine") || s.word(t, "type"):
			at := i + 1
			if at < len(s.tokens) && s.op(s.tokens[at], '=') {
				at++
			}
			if at >= len(s.tokens) || s.word(t, "type") && at == i+1 {
				continue
			}
			name := s.name(s.tokens[at])
			if s.tokens[at].kind == tokString {
				name = stringValue(s.written(s.tokens[at]), s.opt)
			}
			if !engines[strings.ToLower(name)] {
				st.Opaque, st.Hides = true, true
			}
		}
	}
}

// merges reports whether the UNION before token i lists the tables that a MERGE
// table reads, whatever engine the statement names, and not a query.
func (s *statement) merges(i int) bool {
	if i+1 >= len(s.tokens) {
		return false
	}
	if s.op(s.tokens[i], '=') {
		return true
	}
	if !s.op(s.tokens[i], '(') {
		return false
	}
	switch s.keyword(i + 1) {
	case "select", "values", "table", "with", "(":
		return false
	}
	return true
}
