package postgres

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/lineage"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// touch is what masks have to say about a text before it runs.
type touch struct {
	touched bool   // it may concern a masked relation: what is computed must be proven clean
	refusal string // why no mask can help, or nothing
	mask    string // the mask that refuses
}

// installs are kinds that make the server run somebody's code later, when
// nothing in a statement's text shows it.
var installs = [...]string{
	"CREATE FUNCTION", "CREATE PROCEDURE", "CREATE TRIGGER", "CREATE EVENT TRIGGER", "CREATE RULE", "CREATE AGGREGATE",
	"CREATE OPERATOR", "CREATE CAST", "CREATE EXTENSION", "CREATE LANGUAGE", "CREATE TYPE", "CREATE DOMAIN",
	"CREATE PUBLICATION", "CREATE SUBSCRIPTION", "CREATE POLICY", "CREATE TRANSFORM", "CREATE CONVERSION",
	"CREATE SERVER", "CREATE FOREIGN TABLE", "CREATE FOREIGN DATA WRAPPER", "IMPORT FOREIGN SCHEMA", "ALTER FUNCTION",
	"ALTER SERVER", "ALTER FOREIGN TABLE", "CREATE USER MAPPING", "ALTER USER MAPPING", "ALTER PUBLICATION",
}

// touch looks at every statement of a text.
func (c *catalog) touch(analysis *sqltext.Analysis) touch {
	if analysis == nil {
		return touch{touched: true, refusal: "sluice: this statement could not be understood, and columns are masked here"}
	}
	var t touch
	for i := range analysis.Statements {
		s := &analysis.Statements[i]
		names := c.concerns(s)
		if !names && !s.Hides && len(s.Calls) == 0 && !slices.Contains(installs[:], s.Kind) {
			continue
		}
		t.touched = true
		if t.refusal == "" {
			t.refusal = c.refusal(s, names)
		}
	}
	if t.touched && t.refusal == "" && several(analysis) && changing(analysis) {
		t.refusal = "sluice: send this statement by itself: behind it nobody knows what names mean, and columns are masked here"
	}
	t.touched = t.touched || slices.ContainsFunc(analysis.Statements, c.evaluates)
	return t
}

// evaluates reports whether a statement computes with masked values although it
// names no relation that has some, so that an error may quote one: a view whose
// conditions read them, and what goes over every table or over every value of a
// type.
func (c *catalog) evaluates(s sqltext.Statement) bool {
	return s.Class == operation.Admin || s.Kind == "ALTER DOMAIN" ||
		slices.ContainsFunc(s.Relations, func(name string) bool { return c.reading[lastPart(name)] })
}

// concerns reports whether a statement names a tainted relation.
func (c *catalog) concerns(s *sqltext.Statement) bool {
	return slices.ContainsFunc(s.Relations, c.named) || slices.ContainsFunc(s.Writes, c.named)
}

// refusal says why a statement cannot run, whatever its result is masked to.
func (c *catalog) refusal(s *sqltext.Statement, names bool) string {
	switch {
	case slices.Contains(installs[:], s.Kind):
		return "sluice: " + s.Kind + " could carry masked values where nobody sees them, so it is refused"
	case s.Kind == "FETCH" || s.Kind == "MOVE":
		return "" // its columns tell where the cursor's come from
	case s.CopyTo != nil && !s.CopyTo.Known:
		return "sluice: COPY of a relation with masked columns takes FORMAT, DELIMITER, NULL, QUOTE, ESCAPE, HEADER and FORCE_QUOTE only, and is sent by itself"
	case s.Hides:
		return "sluice: this statement may read masked columns in a way that its text does not show, so it is refused"
	case slices.ContainsFunc(s.Moves, c.masksMoved):
		return "sluice: a masked column or its table cannot get another name or leave its tables here, since masks are found by names: " +
			"have it done where they do not apply, and the policy changed"
	case s.Kind == "EXPLAIN" && names:
		return "sluice: EXPLAIN of a relation with masked columns is refused: a plan tells of their values"
	case c.carries(s):
		return "sluice: this statement could copy masked values to where they are not masked, so it is refused"
	}
	return c.callRefusal(s, names)
}

// masksMoved reports whether a relation or a column that is moved is masked. Who
// has not seen it under its old name, as the agent of another node, would not
// know it under the new one; and a session that waits for its lock would read by
// the new name what was decided by the old one.
func (c *catalog) masksMoved(moved lineage.Source) bool {
	if moved.Column == "" || c.meaning(moved.Relation) == opaque {
		return c.named(moved.Relation)
	}
	return slices.ContainsFunc(c.byName[lastPart(moved.Relation)], func(r *relation) bool { return r.column(moved.Column) != nil })
}

// settled are functions of the server's that change what a later statement sees,
// but run nothing. Where masked columns are in reach one could carry a value.
var settled = [...]string{
	"set_config", "setval", "pg_notify", "pg_advisory_lock", "pg_advisory_unlock", "pg_advisory_unlock_all",
	"pg_advisory_xact_lock", "pg_try_advisory_lock", "pg_try_advisory_xact_lock", "pg_cancel_backend", "txid_current",
	"pg_current_xact_id", "pg_export_snapshot",
}

// callRefusal says why a function that is not known to be harmless cannot be
// called. A user's that changes nothing can: its result is hidden.
func (c *catalog) callRefusal(s *sqltext.Statement, names bool) string {
	users := slices.ContainsFunc(s.Calls, func(call string) bool { return !c.serversOwn(call) })
	for _, call := range s.Calls {
		last, own := lastPart(call), c.serversOwn(call)
		switch {
		case own && last == "nextval":
		case own && slices.Contains(settled[:], last) && !names && !users:
		case !own && !c.builtins.taken.Functions[last] && c.functions[last].steady && s.Lineage != nil:
		default:
			return "sluice: the function " + call + " could carry masked values where nobody sees them, so it is refused: " +
				"only functions in SQL or PL/pgSQL that are declared STABLE or IMMUTABLE can be called here"
		}
	}
	return ""
}

// serversOwn reports whether a call is one of a function of pg_catalog.
func (c *catalog) serversOwn(call string) bool {
	return strings.HasPrefix(call, "pg_catalog.") ||
		c.vouches() && !c.builtins.taken.Functions[call] && !c.functions[lastPart(call)].there && !strings.Contains(call, ".")
}

// function is what is known of the functions of one name outside of pg_catalog.
type function struct {
	there  bool
	steady bool // each is a user's own, and changes nothing
}

// several reports whether a text has more than one statement by itself.
func several(analysis *sqltext.Analysis) bool {
	n := 0
	for i := range analysis.Statements {
		if !analysis.Statements[i].Nested {
			n++
		}
	}
	return n > 1
}

// changing reports whether a statement of a text may change what those behind
// it mean.
func changing(analysis *sqltext.Analysis) bool {
	return slices.ContainsFunc(analysis.Statements, func(s sqltext.Statement) bool {
		switch s.Class {
		case operation.Read, operation.Write, operation.Transaction, operation.SessionSet:
			return s.Opaque || slices.ContainsFunc(s.Effects, unsettles)
		}
		return true
	})
}

// carries reports whether a statement that names a tainted relation could move
// masked values into something else than the column that they are from. What
// its lineage does not tell it may do where an expression reads a column of a
// masked name, all columns, or a whole row.
func (c *catalog) carries(s *sqltext.Statement) bool {
	if s.Lineage != nil {
		return slices.ContainsFunc(s.Lineage.Written, func(w lineage.Written) bool {
			by := c.carried(&w.Output)
			return by != nil && !c.hides(w, by)
		})
	}
	if len(s.Writes) == 0 || s.Nested || s.Kind == "PREPARE" || s.Class == operation.Copy {
		return false // the statement around it tells
	}
	if s.Renames || slices.ContainsFunc(s.Relations, func(name string) bool { return c.meaning(name) == opaque }) {
		return true
	}
	return slices.ContainsFunc(s.Refs, func(ref string) bool {
		last := lastPart(ref)
		return last == "*" || c.columns[last] || slices.Contains(s.Aliases, ref) ||
			slices.ContainsFunc(s.Relations, func(name string) bool { return lastPart(name) == last })
	})
}

// hides reports whether the column that is written is hidden as a whole in
// every relation of that name. What a part is shown of, or a hash, takes only
// another column's own value that is shown like this: computed ones could be
// arranged so that they show the rest.
func (c *catalog) hides(w lineage.Written, written *rule) bool {
	known := c.byName[lastPart(w.Relation)]
	if w.Column == "" || len(known) == 0 || c.ambiguous[lastPart(w.Relation)] {
		return false
	}
	return !slices.ContainsFunc(known, func(r *relation) bool {
		by := r.columns[w.Column]
		return r.opaque == "" && (by == nil || len(by.paths) > 0 || !by.takes(w.Direct, written))
	})
}

// takes reports whether a value that another rule hides shows no more in this
// rule's column.
func (r *rule) takes(direct bool, other *rule) bool {
	return r.Method == mask.Redact || r.Method == mask.Null || direct && r.Method == other.Method
}
