package postgres

import (
	"encoding/binary"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// statement is a prepared statement as the client named it.
type statement struct {
	text       []byte
	types      []byte            // of its parameters as they were declared, as in Parse
	analysis   *sqltext.Analysis // nil: it could not be understood
	conforming bool              // standard_conforming_strings when it was read
	vouched    bool              // catalog.vouches when it was understood
	unsaid     bool              // text is that of the PREPARE that made it
}

// size is the memory that it keeps, in bytes.
func (s *statement) size() int { return len(s.text) + len(s.types) }

// portal is a statement with its parameters. It is used again once nothing
// refers to it.
type portal struct {
	stmt      *statement // nil: the statement is not known to us
	params    []operation.Param
	values    []byte
	layout    layout // of its rows, once the server described them
	described bool   // a Describe is under way or answered
	moves     uint64 // targets.moves when it was bound
	refs      int
}

// prepared holds a session's statements and portals by name. Changes are made
// when a message is forwarded and taken back when the server fails it.
type prepared struct {
	statements map[string]*statement
	portals    map[string]*portal
	spare      []*portal
	bytes      int // of the statements' text and the portals' parameters
	most       int // statements, and portals
	mostBytes  int
}

func newPrepared(o Options) prepared {
	return prepared{
		statements: make(map[string]*statement),
		portals:    make(map[string]*portal),
		most:       o.MaxStatements,
		mostBytes:  o.MaxStatementBytes,
	}
}

// undo is what takes one change back.
type undo struct {
	does   undoKind
	name   string
	stmt   *statement
	portal *portal
}

type undoKind uint8

const (
	undoNothing undoKind = iota
	undoStatement
	undoPortal
)

// full reports whether no more can be kept.
func (p *prepared) full(more int) bool {
	return len(p.statements) >= p.most || len(p.portals) >= p.most || p.bytes+more > p.mostBytes
}

// setStatement gives a name a statement, or none. An unnamed statement is
// replaced; a server fails a Parse that would replace a named one.
func (p *prepared) setStatement(name []byte, stmt *statement) undo {
	old := p.statements[string(name)]
	u := undo{does: undoStatement, stmt: old}
	if len(name) > 0 {
		u.name = string(name)
	}
	p.putStatement(u.name, stmt)
	return u
}

func (p *prepared) putStatement(name string, stmt *statement) {
	if old := p.statements[name]; old != nil {
		p.bytes -= old.size()
	}
	if stmt == nil {
		delete(p.statements, name)
		return
	}
	p.bytes += stmt.size()
	p.statements[name] = stmt
}

// setPortal gives a name a portal, or none.
func (p *prepared) setPortal(name []byte, portal *portal) undo {
	old := p.portals[string(name)]
	u := undo{does: undoPortal, portal: old} // the undo takes over the map's reference
	if len(name) > 0 {
		u.name = string(name)
	}
	if portal == nil {
		delete(p.portals, u.name)
		return u
	}
	portal.refs++
	p.portals[u.name] = portal
	return u
}

// revert takes a change back.
func (p *prepared) revert(u undo) {
	switch u.does {
	case undoStatement:
		p.putStatement(u.name, u.stmt)
	case undoPortal:
		p.release(p.portals[u.name])
		if u.portal == nil {
			delete(p.portals, u.name)
			return
		}
		p.portals[u.name] = u.portal
	}
}

// keep makes a change final.
func (p *prepared) keep(u undo) {
	if u.does == undoPortal {
		p.release(u.portal)
	}
}

// follow notes what SQL does to the names that it shares with messages. What
// such a name means from now on, or would if the statement failed, is not
// known.
func (p *prepared) follow(effects []sqltext.Effect) {
	for _, e := range effects {
		switch e.Kind {
		case sqltext.Prepare, sqltext.Deallocate, sqltext.Discard:
			p.forgetStatements(e.Name, e.Kind != sqltext.Prepare && (e.Name == "" || e.Kind == sqltext.Discard))
		case sqltext.Declare, sqltext.Close:
			p.forgetPortals(e.Name, e.Kind == sqltext.Close && e.Name == "")
		}
	}
}

func (p *prepared) forgetStatements(name string, all bool) {
	if !all {
		p.putStatement(name, &statement{})
		return
	}
	for known := range p.statements {
		p.putStatement(known, &statement{})
	}
}

// dropForgotten drops a name of which nobody knows what it means, once the
// server has: "" stands for all. A name that was prepared since is kept.
func (p *prepared) dropForgotten(name string) {
	for known, stmt := range p.statements {
		if (name == "" || known == name) && stmt.text == nil && stmt.analysis == nil {
			p.putStatement(known, nil)
		}
	}
}

func (p *prepared) forgetPortals(name string, all bool) {
	for known, portal := range p.portals {
		if all || known == name {
			p.release(portal)
			delete(p.portals, known)
		}
	}
}

// endTransaction forgets all portals, as the server does.
func (p *prepared) endTransaction() {
	for name, portal := range p.portals {
		p.release(portal)
		delete(p.portals, name)
	}
}

// newPortal returns a portal that nothing refers to yet.
func (p *prepared) newPortal(stmt *statement) *portal {
	if n := len(p.spare); n > 0 {
		found := p.spare[n-1]
		p.spare = p.spare[:n-1]
		found.stmt, found.described = stmt, false
		found.params, found.values = found.params[:0], found.values[:0]
		found.layout.reset()
		return found
	}
	return &portal{stmt: stmt}
}

// release drops one reference.
func (p *prepared) release(portal *portal) {
	if portal == nil {
		return
	}
	portal.refs--
	if portal.refs == 0 {
		p.bytes -= len(portal.values)
	}
	if portal.refs == 0 && len(p.spare) < 16 && cap(portal.values) < 64<<10 {
		p.spare = append(p.spare, portal)
	}
}

// bind reads the body of a Bind behind its two names.
func (p *portal) bind(r *reader) bool {
	var codes [2]int // the format of all parameters, when there is only one code
	formats := r.take(2 * count(r, &codes[0]))
	n := r.int16()
	for i := 0; i < n && !r.bad; i++ {
		binary := false
		switch {
		case codes[0] == 1:
			binary = formats[1] == 1
		case i < codes[0]:
			binary = formats[2*i+1] == 1
		}
		size := r.int32()
		if size == -1 {
			p.params = append(p.params, operation.Param{Null: true, Binary: binary})
			continue
		}
		value := r.take(int(size))
		p.values = append(p.values, value...)
		p.params = append(p.params, operation.Param{Text: p.values[len(p.values)-len(value):], Binary: binary})
	}
	p.declare()
	r.take(2 * r.int16()) // the formats of the result, which its description repeats
	return r.done() && (codes[0] <= 1 || codes[0] == n)
}

// declare gives parameters the types that the client declared.
func (p *portal) declare() {
	if p.stmt == nil {
		return
	}
	for i := range min(len(p.params), len(p.stmt.types)/4) {
		p.params[i].Type = binary.BigEndian.Uint32(p.stmt.types[4*i:])
	}
}

// count reads a number of things into n and returns it.
func count(r *reader, n *int) int {
	*n = r.int16()
	return *n
}

// portalText returns what a portal runs. What was prepared before definitions
// changed is understood anew.
func (c *conversation) portalText(portal *portal) (*sqltext.Analysis, []byte) {
	if portal == nil || portal.stmt == nil {
		return nil, nil
	}
	stmt := portal.stmt
	if stmt.analysis != nil && stmt.vouched != c.catalog.vouches() {
		stmt.vouched = c.catalog.vouches()
		stmt.analysis = c.analyseAs(stmt.text, stmt.conforming, true)
		if stmt.unsaid {
			stmt.analysis = nil
		}
	}
	return c.calling(stmt.analysis), stmt.text
}
