package mysql

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
)

// lookUp asks the server what the names of a statement stand for, where that
// matters and is not known yet. It reports whether the statement has to wait.
func (c *conversation) lookUp(analysis *mysqltext.Analysis) bool {
	k := &c.masking
	if !k.follow || analysis == nil {
		return false
	}
	if now := k.plugin.changes.Load(); now != k.asOf || len(k.relations) > maxRelations {
		clear(k.relations)
		k.asOf = now
	}
	missing := k.missing(c.relationsOf(analysis), c.standing.database)
	if len(missing) == 0 || c.front.reads >= maxReads {
		return false
	}
	c.front.reads++
	c.question(k.query(missing), func(rows [][]string, ok bool) {
		k.learn(missing, rows, ok, c.standing.reading)
	})
	c.pause()
	return true
}

const (
	maxReads     = 16  // of views in views
	maxRelations = 512 // that one session remembers
	maxNames     = 64  // that are looked up at once
)

// relationsOf are the names in a text, and in what it runs by a name.
func (c *conversation) relationsOf(analysis *mysqltext.Analysis) (names []string) {
	for i := range analysis.Statements {
		s := &analysis.Statements[i]
		names = append(names, s.Relations...)
		names = append(names, s.Writes...)
		if ran := c.masking.runs(s.Runs, c.standing.database); s.Runs != "" && ran != nil {
			names = append(names, c.relationsOf(&mysqltext.Analysis{Statements: ran.Statements})...)
		}
	}
	return names
}

// missing are the keys of names that are not known yet, of the names in the
// definitions of views behind them, and of those that foreign keys refer to.
func (k *masking) missing(names []string, database string) (keys []string) {
	seen := map[string]bool{}
	var visit func(names []string, database string)
	visit = func(names []string, database string) {
		for _, name := range names {
			schema, table := resolve(name, database)
			at := key(schema, table)
			if seen[at] || schema == "" {
				continue
			}
			seen[at] = true
			switch known := k.of(name, database); {
			case known == nil && len(keys) < maxNames:
				keys = append(keys, at)
			case known != nil && known.view != nil:
				for i := range known.view.Statements {
					visit(known.view.Statements[i].Relations, known.schema)
				}
			case known != nil:
				for _, r := range known.refers {
					visit([]string{r.relation}, "")
				}
			}
		}
	}
	visit(names, database)
	return keys
}

// query asks about relations: their kind, a view's definition, and which of the
// columns that masks speak of they have. Names are in hexadecimal, so that no
// sql_mode and no character set has a part in it.
func (k *masking) query(keys []string) string {
	var b strings.Builder
	text := func(s string) string { return "CONVERT(X'" + hex.EncodeToString([]byte(s)) + "' USING utf8)" }
	for i, at := range keys {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		schema, table, _ := strings.Cut(at, "\x00")
		b.WriteString("SELECT " + text(at) + ", 0, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = " + text(schema) + " AND TABLE_NAME = " + text(table))
		b.WriteString(" UNION ALL SELECT " + text(at) + ", 1, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = " + text(schema) + " AND TABLE_NAME = " + text(table))
		of := " WHERE TABLE_SCHEMA = " + text(schema) + " AND TABLE_NAME = " + text(table)
		if k.namedBy(schema, table) != "" {
			b.WriteString(" UNION ALL SELECT " + text(at) + ", 2, COLUMN_NAME FROM information_schema.COLUMNS" + of)
		}
		if k.set.Placed() {
			b.WriteString(" UNION ALL SELECT " + text(at) + ", 3, CONCAT(HEX(COLUMN_NAME), ' ', HEX(GENERATION_EXPRESSION)) FROM information_schema.COLUMNS" + of +
				" AND GENERATION_EXPRESSION <> ''")
			b.WriteString(" UNION ALL SELECT " + text(at) + ", 4, CONCAT(HEX(COLUMN_NAME), ' ', HEX(REFERENCED_TABLE_SCHEMA), ' ', HEX(REFERENCED_TABLE_NAME), ' '," +
				" HEX(REFERENCED_COLUMN_NAME)) FROM information_schema.KEY_COLUMN_USAGE" + of + " AND REFERENCED_COLUMN_NAME IS NOT NULL")
		}
	}
	return b.String()
}

// learn takes in the answer. What was asked for and is not in it is unknown, as
// is everything where the server did not answer.
func (k *masking) learn(keys []string, rows [][]string, ok bool, reading mysqltext.Options) {
	for _, at := range keys {
		k.relations[at] = &relation{}
	}
	if !ok {
		return
	}
	has := map[string][]string{}
	for _, row := range rows {
		known := k.relations[row[0]]
		if len(row) != 3 || known == nil || !slices.Contains(keys, row[0]) {
			continue
		}
		switch {
		case row[1] == "0" && (row[2] == "BASE TABLE" || row[2] == "SYSTEM VERSIONED" || row[2] == "SEQUENCE"):
			known.kind = baseTable
		case row[1] == "0" && row[2] == "VIEW":
			known.kind = viewRelation
		case row[1] == "1":
			known.kind = viewRelation
			known.schema, _, _ = strings.Cut(row[0], "\x00")
			known.view = k.definition(row[2], reading)
		case row[1] == "2":
			has[row[0]] = append(has[row[0]], strings.ToLower(row[2]))
		case row[1] == "3" || row[1] == "4":
			known.define(strings.Fields(row[2]))
		}
	}
	for _, at := range keys {
		schema, table, _ := strings.Cut(at, "\x00")
		for _, column := range k.spokenOf(schema, table) {
			known := k.relations[at]
			if slices.Contains(has[at], column) {
				known.columns = append(known.columns, column)
			} else {
				known.lacks = true
			}
		}
	}
}

// definition understands a view. The server writes definitions in one form,
// whatever its sql_mode was.
func (k *masking) definition(text string, reading mysqltext.Options) *mysqltext.Analysis {
	plain := mysqltext.Options{MariaDB: reading.MariaDB, Version: reading.Version, LowerNames: reading.LowerNames, UTF8: true}
	analysis := k.plugin.analyzer.Analyze([]byte(text), plain)
	if !analysis.Parsed || len(analysis.Statements) != 1 || analysis.Statements[0].Opaque || analysis.Statements[0].Lineage == nil {
		return nil
	}
	return analysis
}

// seen is a statement as rules see it: with the relations behind its views. steady
// is false where one of these is not proven to change nothing when it is read.
func (k *masking) seen(s operation.SQLStatement, database string) (shown operation.SQLStatement, steady bool) {
	steady = true
	var more []string
	var visit func(names []string, database string, depth int)
	visit = func(names []string, database string, depth int) {
		for _, name := range names {
			known := k.of(name, database)
			if known == nil || known.kind != viewRelation {
				continue
			}
			if known.view == nil || depth > maxReads {
				s.Opaque, steady = true, false
				continue
			}
			for i := range known.view.Statements {
				inner := &known.view.Statements[i]
				steady = steady && inner.ReadOnly
				for _, relation := range inner.Relations {
					if !slices.Contains(more, relation) && !slices.Contains(s.Relations, relation) {
						more = append(more, relation)
					}
				}
				visit(inner.Relations, known.schema, depth+1)
			}
		}
	}
	visit(s.Relations, database, 0)
	if len(more) > 0 {
		s.Relations = append(slices.Clone(s.Relations), more...)
	}
	return s, steady
}
