package mysqltext_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mysqltext"
)

// tags are what the values of each column hold, and no others.
var tags = map[string]lineage.Source{
	"AofT": {Relation: "t", Column: "a"}, "SofT": {Relation: "t", Column: "ssn"},
	"BofU": {Relation: "u", Column: "b"}, "DofU": {Relation: "u", Column: "d"},
}

// writer makes random queries.
type writer struct {
	random *rand.Rand
	names  int
}

func (w *writer) one(choices ...string) string { return choices[w.random.IntN(len(choices))] }

func (w *writer) name() string {
	w.names++
	return fmt.Sprintf("n%d", w.names)
}

// column is a column of something in scope, mostly; the server refuses others.
func (w *writer) column(scope []string) string {
	column := w.one("a", "ssn", "b", "d", "x", "y", "SSN", "`b`")
	if len(scope) > 0 && w.random.IntN(2) == 0 {
		return w.one(scope...) + "." + column
	}
	return column
}

func (w *writer) expr(depth int, scope []string) string {
	if depth <= 0 {
		return w.one(w.column(scope), w.column(scope), w.column(scope), "'lit'", "@v", "@w", "NULL")
	}
	e := func() string { return w.expr(depth-1, scope) }
	switch w.random.IntN(16) {
	case 0:
		return "concat(" + e() + ", '-', " + e() + ")"
	case 1:
		return "coalesce(" + e() + ", " + e() + ")"
	case 2:
		return "if(" + e() + " IS NULL, " + e() + ", " + e() + ")"
	case 3:
		return "CASE WHEN " + e() + " = " + e() + " THEN " + e() + " ELSE " + e() + " END"
	case 4:
		return w.one("@v", "@w") + " := " + e()
	case 5, 6:
		return "(SELECT " + w.expr(depth-1, append(scope, "s")) + " FROM " + w.one("t", "u") + " s LIMIT 1)"
	case 7:
		return "(SELECT " + w.one("x", "y", "a", "b") + " LIMIT 1)"
	case 8:
		return w.one("max", "min", "group_concat", "json_arrayagg") + "(" + e() + ")"
	case 9:
		return "nullif(" + e() + ", " + e() + ")"
	case 10:
		return "json_extract(json_object('k', " + e() + "), '$.k')"
	case 11:
		return w.one("first_value", "last_value", "lag") + "(" + e() + ") OVER (ORDER BY " + e() + ")"
	case 12:
		return "elt(1, " + e() + ", " + e() + ")"
	}
	return w.column(scope)
}

func (w *writer) from(depth int, ctes []string) (text string, scope []string) {
	name := w.name()
	switch w.random.IntN(6) {
	case 0:
		if depth > 0 {
			return "(" + w.query(depth-1, ctes) + ") " + name, []string{name}
		}
	case 1:
		if depth > 0 {
			left, one := w.from(depth-1, ctes)
			right, two := w.from(depth-1, ctes)
			on := w.one(" ON true", " ON 1 = 1", "", " ON "+w.expr(1, append(one, two...))+" IS NULL OR true")
			return left + w.one(" JOIN ", " LEFT JOIN ") + right + on, append(one, two...)
		}
	case 2:
		if len(ctes) > 0 {
			return w.one(ctes...) + " " + name, []string{name}
		}
	case 3:
		return w.one("t, u", "t NATURAL JOIN u", "t JOIN u USING (id)"), []string{"t", "u"}
	}
	table := w.one("t", "u", "shop.t", "`u`")
	if w.random.IntN(2) == 0 {
		return table + " AS " + name, []string{name}
	}
	return table, []string{strings.Trim(strings.TrimPrefix(table, "shop."), "`")}
}

func (w *writer) query(depth int, ctes []string) string {
	with := ""
	if w.random.IntN(5) == 0 && depth > 0 {
		name := w.name()
		with = w.one("WITH ", "WITH RECURSIVE ") + name + w.one("", "", " (x)", " (y, x)") + " AS (" + w.query(depth-1, ctes) + ") "
		ctes = append(slices.Clone(ctes), name)
	}
	text := with + w.block(depth, ctes)
	for w.random.IntN(5) == 0 {
		text += w.one(" UNION ", " UNION ALL ", " EXCEPT ", " INTERSECT ") + w.block(depth, ctes)
	}
	return text
}

func (w *writer) block(depth int, ctes []string) string {
	from, scope := w.from(depth, ctes)
	var list []string
	for range 1 + w.random.IntN(3) {
		switch w.random.IntN(8) {
		case 0:
			list = append(list, "*")
		case 1:
			list = append(list, w.one(scope...)+".*")
		default:
			list = append(list, w.expr(w.random.IntN(3), scope)+w.one("", "", " x", " AS y", " AS 'x'", " \"y\""))
		}
	}
	if list[0] != "*" && slices.Contains(list, "*") {
		list = []string{"*"}
	}
	text := "SELECT " + w.one("", "", "DISTINCT ") + strings.Join(list, ", ") + " FROM " + from
	if w.random.IntN(3) == 0 {
		text += " WHERE " + w.expr(1, scope) + w.one(" IS NOT NULL", " IS NULL OR true")
	}
	if w.random.IntN(4) == 0 {
		text += w.one(" GROUP BY ", " HAVING ", " ORDER BY ") + w.expr(1, scope)
	}
	return text
}

// valuesAreTraced runs random queries over values that say where they are from:
// the analysis must know each source of each value, and each relation.
func valuesAreTraced(t *testing.T, c *client) {
	c.must(t, `USE shop; CREATE OR REPLACE TABLE t (id INT, a VARCHAR(99), ssn VARCHAR(99));
		CREATE OR REPLACE TABLE u (id INT, b VARCHAR(99), d VARCHAR(99));
		INSERT INTO t VALUES (1, 'AofT', 'SofT'), (2, 'AofT2', 'SofT2'); INSERT INTO u VALUES (1, 'BofU', 'DofU'), (2, 'BofU2', 'DofU2')`)
	w := &writer{random: rand.New(rand.NewPCG(7, 7))}
	variables := map[string][]string{} // the tags that a variable may hold
	ran, parsed := 0, 0
	for n := range 8000 {
		w.names = 0
		if n%20 == 0 {
			c.must(t, "SET @v = NULL, @w = NULL")
			clear(variables)
		}
		text := w.query(2, nil)
		r := c.query(t, text)[0]
		if r.code != 0 && len(r.rows) == 0 && !strings.Contains(text, ":=") {
			continue
		}
		a := analyzer.Analyze([]byte(text), mariadb)
		if r.code == 0 {
			ran++
		}
		if !a.Parsed {
			if strings.Contains(text, ":=") {
				c.must(t, "SET @v = NULL, @w = NULL")
			}
			continue
		}
		if r.code == 0 {
			parsed++
		}
		st := &a.Statements[0]
		learn(variables, st)
		for _, row := range r.rows {
			for i, cell := range row {
				for tag, source := range tags {
					if !strings.Contains(cell, tag) {
						continue
					}
					if o := st.Lineage.At(i, len(row)); !o.Unknown && !mayHold(o, tag, source, variables) {
						t.Errorf("%s\ncolumn %d holds %s, traced to %+v", text, i, tag, o)
					}
					if !slices.Contains(st.Relations, source.Relation) && !slices.Contains(st.Relations, "shop."+source.Relation) &&
						!slices.Contains(append(variables["v"], variables["w"]...), tag) {
						t.Errorf("%s\nholds %s, and relations are %q", text, tag, st.Relations)
					}
				}
			}
		}
	}
	t.Logf("%d queries ran, %d of them were parsed", ran, parsed)
	if parsed < 1000 || parsed < ran*8/10 {
		t.Error("too few for a test")
	}
}

// learn notes what a statement puts into variables.
func learn(variables map[string][]string, st *mysqltext.Statement) {
	for range 2 {
		for _, written := range st.Lineage.Written {
			for tag, source := range tags {
				if written.Unknown || mayHold(written.Output, tag, source, variables) {
					if !slices.Contains(variables[written.Column], tag) {
						variables[written.Column] = append(variables[written.Column], tag)
					}
				}
			}
		}
	}
}

func mayHold(o lineage.Output, tag string, source lineage.Source, variables map[string][]string) bool {
	return slices.ContainsFunc(o.Sources, func(s lineage.Source) bool {
		if s.Relation == mysqltext.OfVariable {
			return slices.Contains(variables[s.Column], tag)
		}
		return strings.TrimPrefix(s.Relation, "shop.") == source.Relation && (s.Column == source.Column || s.Column == "*")
	})
}
