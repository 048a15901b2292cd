package mysqltext

import (
	"slices"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"github.com/sluicegate/sluice/pkg/operation"
)

// find returns the place of a key word outside of brackets, -1 where there is
// none.
func (s *statement) find(from int, keywords ...string) int {
	depth := 0
	for i := from; i < len(s.tokens); i++ {
		switch t := s.tokens[i]; {
		case s.op(t, '('):
			depth++
		case s.op(t, ')'):
			depth--
		case depth == 0 && slices.ContainsFunc(keywords, func(keyword string) bool { return s.word(t, keyword) }):
			return i
		}
	}
	return -1
}

// without is the statement without some of its tokens.
func (s *statement) without(from, to int) {
	s.tokens = slices.Concat(s.tokens[:from], s.tokens[to:])
}

// cutInto takes SELECT … INTO apart, which the parser does not know whole.
func (d *describer) cutInto(s *statement, st *Statement) refusal {
	if st.Kind != "SELECT" {
		return ""
	}
	at := s.find(0, "into")
	if at < 0 {
		return ""
	}
	end := at + 1
	switch word := s.keyword(end); word {
	case "outfile", "dumpfile":
		st.Kind, st.Class, st.Opaque, st.Hides = "SELECT INTO OUTFILE", operation.Copy, true, true
		if word == "dumpfile" {
			st.Kind = "SELECT INTO DUMPFILE"
		}
		if end = s.find(end, "from", "where", "group", "having", "order", "limit", "for", "lock", "union"); end < 0 {
			end = len(s.tokens)
		}
	default:
		for end < len(s.tokens) && s.tokens[end].kind == tokUserVar {
			st.Effects = append(st.Effects, Effect{Kind: Assign, Name: fold(s.name(s.tokens[end]))})
			end++
			if end+1 >= len(s.tokens) || !s.op(s.tokens[end], ',') {
				break
			}
			end++
		}
		if end == at+1 {
			return refusedSyntax
		}
	}
	s.without(at, end)
	return ""
}

// cutReturning takes MariaDB's RETURNING away, and returns its list.
func (d *describer) cutReturning(s *statement) []token {
	if !d.opt.MariaDB {
		return nil
	}
	switch s.keyword(0) {
	case "insert", "replace", "delete":
	default:
		return nil
	}
	at := s.find(0, "returning")
	if at < 0 {
		return nil
	}
	list := slices.Clone(s.tokens[at+1:])
	s.without(at, len(s.tokens))
	return list
}

// cutNewRow takes the name away that MySQL's INSERT … AS gives to the row, with
// those of its columns, and returns it.
func (s *statement) cutNewRow() string {
	rows := s.find(0, "values", "value", "set") >= 0 && s.find(0, "select", "table", "with") < 0
	if s.opt.MariaDB || s.keyword(0) != "insert" || !rows {
		return "" // behind a query it is a relation's
	}
	on := s.find(0, "on")
	if on < 0 || s.keyword(on+1) != "duplicate" {
		return ""
	}
	end := on
	if s.op(s.tokens[on-1], ')') {
		for end--; end > 0 && !s.op(s.tokens[end], '('); end-- {
		}
	}
	if end < 2 || !s.word(s.tokens[end-2], "as") || s.tokens[end-1].kind != tokWord && s.tokens[end-1].kind != tokQuoted {
		return ""
	}
	name := s.name(s.tokens[end-1])
	s.without(end-2, on)
	return name
}

// dropReplace takes MariaDB's OR REPLACE away where the parser does not know it.
func (s *statement) dropReplace(k kind) {
	if s.opt.MariaDB && k.name != "CREATE VIEW" && s.keywords(3) == "create or replace" {
		s.without(1, 3)
	}
}

// returning reads the list of RETURNING as that of a query of the relation that
// is written.
func (d *describer) returning(s *statement, st *Statement, list []token, node ast.StmtNode) refusal {
	var into *ast.TableName
	alias := ""
	switch n := node.(type) {
	case *ast.InsertStmt:
		into = target(n.Table)
	case *ast.DeleteStmt:
		if into = target(n.TableRefs); into != nil {
			alias = n.TableRefs.TableRefs.Left.(*ast.TableSource).AsName.O
		}
	}
	if into == nil || len(list) == 0 {
		return refusedSyntax
	}
	listed := &statement{scratch: s.scratch, tokens: list}
	text, why := listed.write([]byte("SELECT "), d.neutral)
	if why != "" {
		return why
	}
	text = append(text, "FROM "...)
	if into.Schema.O != "" {
		text = append(appendName(text, into.Schema.O), '.')
	}
	text = appendName(text, into.Name.O)
	if alias != "" {
		text = appendName(append(text, " AS "...), alias)
	}
	query, why := d.a.parsers.parse(string(text), d.opt)
	if why != "" {
		return why
	}
	w := d.walker(listed, st)
	w.walk(query)
	t := &tracer{opt: d.opt, names: d.a.names, calls: st.Calls}
	found := t.trace(query)
	if w.lost != "" || found == nil || st.Lineage == nil {
		return refusedSyntax
	}
	st.Lineage.Outputs = found.Outputs
	st.Lineage.Written = append(st.Lineage.Written, found.Written...)
	settle(st.Lineage)
	return ""
}
