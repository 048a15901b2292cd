package postgres

import (
	"strconv"
	"strings"
)

// linkKind says why a column holds values of another one.
type linkKind uint8

const (
	noLink     linkKind = iota
	references          // a foreign key: each value is one of the other column's
	generated           // it is computed from the other column
)

// link is a column that the server itself fills from another one, or compares
// with it. What is hidden there is hidden here.
type link struct {
	kind     linkKind
	from, to place
}

// takeLink reads a row of the kinds k and g: its third cell has the other
// table, the other column and the name of this one.
func (b *builder) takeLink(kind linkKind, row *catalogRow) {
	table, rest, _ := strings.Cut(row.third, " ")
	column, name, _ := strings.Cut(rest, " ")
	oid, err := strconv.ParseUint(table, 10, 32)
	number, err2 := strconv.ParseInt(column, 10, 16)
	if err != nil || err2 != nil {
		return // no such row comes from the server
	}
	l := link{kind: kind, from: place{table: uint32(oid), column: int16(number)}, to: place{table: row.oid, column: int16(row.secondN), link: kind}}
	b.links = append(b.links, l)
	b.nameColumn(row.oid, name, l.to.column)
}

func (b *builder) nameColumn(table uint32, name string, column int16) {
	if b.columns[table] == nil {
		b.columns[table] = make(map[string]int16)
	}
	b.columns[table][name] = column
}

// maskLinked marks what holds values of masked columns, however far away.
func (b *builder) maskLinked() {
	for again := true; again; {
		again = false
		for i := range b.links {
			again = b.maskLink(&b.links[i]) || again
		}
	}
}

func (b *builder) maskLink(l *link) (marked bool) {
	from, to := b.relations[l.from.table], b.relations[l.to.table]
	if from == nil || to == nil || to.masked[l.to.column] != nil {
		return false
	}
	by := from.masked[l.from.column]
	if by == nil {
		return false
	}
	b.mark(l.to, by)
	return true
}

// mark hides one column by a rule, or as what is computed from the rule's.
func (b *builder) mark(p place, by *rule) {
	if p.link == generated {
		by = b.computedBy(by)
	}
	if r := b.relations[p.table]; r != nil && r.masked[p.column] == nil {
		r.masked[p.column] = by
		b.via[place{table: p.table, column: p.column}] = p.link
	}
}

// computedBy is the one rule of what is computed from a rule's column.
func (b *builder) computedBy(by *rule) *rule {
	if b.computed[by] == nil {
		b.computed[by] = by.derived()
		b.computed[b.computed[by]] = b.computed[by]
	}
	return b.computed[by]
}
