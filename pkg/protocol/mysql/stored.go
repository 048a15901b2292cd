package mysql

import (
	"encoding/hex"
	"slices"
	"strings"
)

// A column of a table may hold the values of a masked one without being named in
// a mask: the server computes it from that one, or a foreign key demands that it
// has its values, and may change it with them.

// define takes in a generated column (name, expression) or one of a foreign key
// (name, database, table and column that it refers to), each in hexadecimal.
func (r *relation) define(cells []string) {
	for i, cell := range cells {
		b, err := hex.DecodeString(cell)
		if err != nil {
			r.lacks = true
			return
		}
		cells[i] = string(b)
	}
	switch len(cells) {
	case 2:
		if r.generated == nil {
			r.generated = map[string]string{}
		}
		r.generated[strings.ToLower(cells[0])] = strings.ToLower(cells[1])
	case 4:
		relation := quoteName(append(quoteName(nil, []byte(cells[1])), '.'), []byte(cells[2]))
		r.refers = append(r.refers, reference{strings.ToLower(cells[0]), string(relation), strings.ToLower(cells[3])})
	}
}

// stored is what a column of a table may carry; "*" is any. seen are the columns
// that are being asked about.
func (k *masking) stored(known *relation, schema, table, column string, seen map[string]bool) load {
	column = strings.ToLower(column)
	whole := column == "*" || !ascii(column) // the server's idea of case is not ours
	switch at := key(key(schema, table), column); {
	case known.lacks, whole && len(known.columns) > 0:
		return load{masked: true, mask: k.namedBy(schema, table)}
	case slices.Contains(known.columns, column):
		if c := k.maskOf(schema, table, column); c != nil {
			return load{masked: true, method: c.Method, mask: c.Mask}
		}
		paths := k.pathsOf(schema, table, column)
		return load{masked: true, paths: paths, mask: paths[0].Mask}
	case seen[at]:
		return load{}
	default:
		if seen == nil {
			seen = map[string]bool{}
		}
		seen[at] = true
	}
	for _, r := range known.refers {
		if whole || r.column == column {
			if one := k.referred(r, seen); one.masked {
				return one
			}
		}
	}
	if expression := known.generated[column]; expression != "" && k.computes(known, schema, table, expression, seen) {
		return load{masked: true, mask: k.namedBy(schema, table)}
	}
	return load{}
}

// referred is what the column carries that a foreign key refers to.
func (k *masking) referred(r reference, seen map[string]bool) load {
	parent := k.of(r.relation, "")
	if parent == nil || parent.kind != baseTable {
		return load{masked: true}
	}
	schema, table := resolve(r.relation, "")
	return k.stored(parent, schema, table, r.foreign, seen)
}

// computes reports whether an expression has the name of a column in it that
// carries something masked.
func (k *masking) computes(known *relation, schema, table, expression string, seen map[string]bool) bool {
	carries := func(column string) bool {
		return strings.Contains(expression, column) && k.stored(known, schema, table, column, seen).masked
	}
	for column := range known.generated {
		if carries(column) {
			return true
		}
	}
	return slices.ContainsFunc(known.columns, carries) || slices.ContainsFunc(known.refers, func(r reference) bool { return carries(r.column) })
}

// hidden are the columns of a table that hold what masks speak of, in lower case.
func (k *masking) hidden(known *relation, schema, table string) []string {
	columns := k.spokenOf(schema, table)
	if known == nil {
		return columns
	}
	for column := range known.generated {
		if k.stored(known, schema, table, column, nil).masked {
			columns = append(columns, column)
		}
	}
	for _, r := range known.refers {
		if k.stored(known, schema, table, r.column, nil).masked {
			columns = append(columns, r.column)
		}
	}
	return columns
}
