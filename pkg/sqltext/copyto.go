package sqltext

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// CopyTo is what COPY … TO STDOUT sends. The zero Delimiter, Quote and Escape
// mean the format's own.
type CopyTo struct {
	// Query is a statement with the same columns: a server that describes it
	// tells their origin. It comes from the text, and is as secret as it is.
	Query                    string
	Format                   string // text, csv or binary
	Delimiter, Quote, Escape byte
	Null                     string
	NullSet                  bool // otherwise the format's own
	Header                   bool // the first row has names
	Known                    bool // all of its options are among these
}

// copyTo reads COPY … TO STDOUT; nil for any other statement.
func copyTo(node *pg_query.Node) *CopyTo {
	n := node.GetCopyStmt()
	if n == nil || n.GetIsFrom() || n.GetIsProgram() || n.GetFilename() != "" {
		return nil
	}
	c := &CopyTo{Format: "text", Known: true, Query: copiedTable(n)}
	for _, node := range n.GetOptions() {
		c.option(node.GetDefElem())
	}
	return c
}

func (c *CopyTo) option(o *pg_query.DefElem) {
	text := constantText(o.GetArg())
	single := byte(0)
	if len(text) == 1 {
		single = text[0]
	}
	switch o.GetDefname() {
	case "format":
		c.Format = text
		c.Known = c.Known && (text == "text" || text == "csv" || text == "binary")
	case "delimiter":
		c.Delimiter = single
		c.Known = c.Known && single != 0
	case "quote":
		c.Quote = single
		c.Known = c.Known && single != 0
	case "escape":
		c.Escape = single
		c.Known = c.Known && single != 0
	case "null":
		c.Null, c.NullSet = text, true
	case "header":
		switch strings.ToLower(text) {
		case "", "true", "on", "1":
			c.Header = true
		case "false", "off", "0":
			c.Header = false
		default:
			c.Known = false
		}
	case "force_quote", "freeze":
	default:
		c.Known = false // encoding, and what is newer than we
	}
}

// copiedTable returns what COPY of a table copies, as a query; "" for COPY of a
// query. COPY leaves out the rows of the table's children.
func copiedTable(n *pg_query.CopyStmt) string {
	if n.GetQuery() != nil {
		return ""
	}
	columns := "*"
	if names := nameList(n.GetAttlist()); len(names) > 0 {
		quoted := make([]string, len(names))
		for i, name := range names {
			quoted[i] = quoteName(name)
		}
		columns = strings.Join(quoted, ", ")
	}
	table := quoteName(n.GetRelation().GetRelname())
	if schema := n.GetRelation().GetSchemaname(); schema != "" {
		table = quoteName(schema) + "." + table
	}
	return "SELECT " + columns + " FROM ONLY " + table
}

// findCopied takes the query out of the text of COPY (query) TO, where that is
// the whole text.
func findCopied(a *Analysis, text []byte, scs bool) {
	if len(a.Statements) == 0 || a.Statements[0].CopyTo == nil || a.Statements[0].CopyTo.Query != "" {
		return
	}
	c := a.Statements[0].CopyTo
	l := lexer{text: text, scs: scs}
	begin, depth := 0, 0
	for l.next(); ; {
		t := l.next()
		switch {
		case t == tokEnd || t == tokInvalid:
			return
		case t != tokOperator || l.pos-l.start != 1:
		case text[l.start] == '(':
			if depth++; depth == 1 {
				begin = l.pos
			}
		case text[l.start] == ')':
			if depth--; depth == 0 {
				c.Query = string(text[begin:l.start])
				return
			}
		}
	}
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
