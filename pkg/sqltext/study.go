package sqltext

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Study is what can be told of a text before it runs, for a person who is
// asked about it.
type Study struct {
	Statements []Studied // those that stand by themselves, in the order of the text
	Affected   *Affected // of a text that is one UPDATE or DELETE; nil: Why says why not
	Why        string    // shown to people; holds nothing of the text
}

// Studied is one statement of a text.
type Studied struct {
	Kind  string
	Locks []Lock
}

// Affected is the query for the rows that an UPDATE or a DELETE changes. It has
// the statement's tables and conditions and nothing else of it: neither what is
// assigned nor what is returned. One row stands for each row that is changed.
type Affected struct {
	Query     string
	Relations []string // every relation that it names
	Types     []string // every type that it casts to, in pg_catalog or not qualified
	Refs      []string // the columns that it reads, the last parts of their names
	// Doubt says why its conditions may not be immutable, though every function
	// in them is; empty: they are, where Functions are and no column has a type
	// whose comparison or arithmetic depends on settings.
	Doubt      string
	Functions  []string
	Arithmetic bool // it computes with values, not only compares them
}

// Study parses text, every time. The caller vouches that a backslash in a plain
// literal is no escape: Study refuses a text that has one, so that it can.
func (a *Analyzer) Study(text []byte) Study {
	opt := Options{StandardConformingStrings: true, UTF8: true, BuiltinNames: true}
	if why := checkBytes(text, true); why != "" {
		return Study{Why: string(why)}
	}
	s := new(scratch)
	switch why := s.read(text, opt); {
	case why != "":
		return Study{Why: string(why)}
	case s.compacted || slices.Contains(text, '\\'):
		return Study{Why: "the text is too long or has backslashes"}
	}
	tree, why := a.parser.parse(string(text))
	if why != "" {
		return Study{Why: string(why)}
	}
	var study Study
	for _, raw := range tree.GetStmts() {
		study.Statements = append(study.Statements, studied(raw.GetStmt()))
	}
	if len(tree.GetStmts()) != 1 {
		study.Why = "the text is more than one statement"
		return study
	}
	study.Affected, study.Why = a.affected(tree.GetStmts()[0].GetStmt(), opt)
	return study
}

func studied(node *pg_query.Node) Studied {
	k, _ := kindOf(node)
	m := inner(node)
	if m == nil {
		return Studied{Kind: k.name}
	}
	return Studied{Kind: k.name, Locks: locks(m, writes(m))}
}

// affected makes the query for the rows that a statement changes.
func (a *Analyzer) affected(node *pg_query.Node, opt Options) (*Affected, string) {
	query := selecting(node)
	if query == nil {
		return nil, "only of UPDATE and DELETE the rows can be told before"
	}
	text, why := a.parser.deparse(query)
	if why != "" {
		return nil, "the conditions could not be written as a query"
	}
	said := a.Analyze([]byte(text), opt)
	if !said.Parsed || len(said.Statements) != 1 || !said.Statements[0].ReadOnly {
		return nil, "the conditions call functions or operators that are not known to be harmless"
	}
	found := &Affected{Query: text, Relations: said.Statements[0].Relations, Functions: said.Statements[0].Functions}
	for _, ref := range said.Statements[0].Refs {
		found.Refs = addName(found.Refs, lastName(ref))
	}
	if !found.inspect(query.ProtoReflect()) {
		return nil, "the conditions cast to types that are not the server's own, or read a cursor"
	}
	return found, ""
}

// selecting returns the query for the rows that UPDATE or DELETE changes; nil
// for another statement. What else is joined only decides which rows: each is
// changed once, however often it is joined.
func selecting(node *pg_query.Node) *pg_query.SelectStmt {
	var target *pg_query.RangeVar
	var joined []*pg_query.Node
	var where *pg_query.Node
	var with *pg_query.WithClause
	switch n := node.GetNode().(type) {
	case *pg_query.Node_UpdateStmt:
		target, joined, where, with = n.UpdateStmt.GetRelation(), n.UpdateStmt.GetFromClause(), n.UpdateStmt.GetWhereClause(), n.UpdateStmt.GetWithClause()
	case *pg_query.Node_DeleteStmt:
		target, joined, where, with = n.DeleteStmt.GetRelation(), n.DeleteStmt.GetUsingClause(), n.DeleteStmt.GetWhereClause(), n.DeleteStmt.GetWithClause()
	default:
		return nil
	}
	one := pg_query.MakeResTargetNodeWithVal(pg_query.MakeAConstIntNode(1, -1), -1)
	if len(joined) > 0 {
		where = &pg_query.Node{Node: &pg_query.Node_SubLink{SubLink: &pg_query.SubLink{
			SubLinkType: pg_query.SubLinkType_EXISTS_SUBLINK, Subselect: nodeOf(plainSelect(one, joined, where)),
		}}}
	}
	query := plainSelect(one, []*pg_query.Node{{Node: &pg_query.Node_RangeVar{RangeVar: target}}}, where)
	query.WithClause = with
	return query
}

func plainSelect(target *pg_query.Node, from []*pg_query.Node, where *pg_query.Node) *pg_query.SelectStmt {
	return &pg_query.SelectStmt{
		TargetList: []*pg_query.Node{target}, FromClause: from, WhereClause: where,
		LimitOption: pg_query.LimitOption_LIMIT_OPTION_DEFAULT, Op: pg_query.SetOperation_SETOP_NONE,
	}
}

func nodeOf(query *pg_query.SelectStmt) *pg_query.Node {
	return &pg_query.Node{Node: &pg_query.Node_SelectStmt{SelectStmt: query}}
}

// deparse writes a query as text, and reads that again: a text that does not
// mean the same is worth nothing.
func (p *parser) deparse(query *pg_query.SelectStmt) (string, refusal) {
	text, why := p.write(&pg_query.ParseResult{Stmts: []*pg_query.RawStmt{{Stmt: nodeOf(query)}}})
	if why != "" {
		return "", why
	}
	again, why := p.parse(text)
	if why != "" || len(again.GetStmts()) != 1 {
		return "", refusedSyntax
	}
	read := again.GetStmts()[0].GetStmt()
	wanted := proto.CloneOf(nodeOf(query))
	forgetPlaces(read.ProtoReflect())
	forgetPlaces(wanted.ProtoReflect())
	if !proto.Equal(read, wanted) {
		return "", refusedSyntax
	}
	return text, ""
}

// forgetPlaces clears where in a text each node stands.
func forgetPlaces(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch name := string(fd.Name()); {
		case strings.HasSuffix(name, "location") && fd.Kind() == protoreflect.Int32Kind:
			m.Clear(fd)
		case fd.Kind() != protoreflect.MessageKind:
		case fd.IsList():
			for i := range v.List().Len() {
				forgetPlaces(v.List().Get(i).Message())
			}
		default:
			forgetPlaces(v.Message())
		}
		return true
	})
}

// lastName is the last part of a name that join wrote, without its quotes.
func lastName(name string) string {
	parts := SplitName(name)
	return parts[len(parts)-1]
}

// SplitName takes a name as this package writes it apart. It has one part or
// more.
func SplitName(name string) []string {
	var parts []string
	for {
		var part, rest string
		if strings.HasPrefix(name, `"`) {
			end := 1
			for end < len(name) && (name[end] != '"' || end+1 < len(name) && name[end+1] == '"') {
				if name[end] == '"' {
					end++
				}
				end++
			}
			part, rest = strings.ReplaceAll(name[1:end], `""`, `"`), name[min(end+1, len(name)):]
			rest, _ = strings.CutPrefix(rest, ".")
		} else {
			part, rest, _ = strings.Cut(name, ".")
		}
		parts = append(parts, part)
		if rest == "" {
			return parts
		}
		name = rest
	}
}
