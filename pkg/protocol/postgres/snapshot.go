package postgres

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// ownName is the name of our statement and portal. A client that takes it
// finds its own statements refused.
const ownName = "_sluice"

// takenQuery asks which names of users' a text may mean.
const takenQuery = `SELECT t.kind, '0'::pg_catalog.text, t.name::pg_catalog.text, ''::pg_catalog.text FROM (` + sqltext.TakenQuery + `) t`

// relationsQuery reads the relations, who inherits from whom, and which view
// reads what or runs users' code when it is read. Every name and operator is
// qualified: a search_path of the client's must not change what it means.
const relationsQuery = takenQuery + `
UNION ALL
SELECT 'r'::pg_catalog.text, c.oid::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,f,p,S,i,I}'::pg_catalog."char"[])
AND c.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
UNION ALL
SELECT 'l', COALESCE(w.ev_class, y.polrelid)::pg_catalog.text, '', ''
FROM pg_catalog.pg_depend e LEFT JOIN pg_catalog.pg_operator o ON e.refclassid OPERATOR(pg_catalog.=) '2617'::pg_catalog.oid AND o.oid OPERATOR(pg_catalog.=) e.refobjid
JOIN pg_catalog.pg_proc u ON u.oid OPERATOR(pg_catalog.=) COALESCE(o.oprcode::pg_catalog.oid, e.refobjid)
LEFT JOIN pg_catalog.pg_rewrite w ON e.classid OPERATOR(pg_catalog.=) '2618'::pg_catalog.oid AND w.oid OPERATOR(pg_catalog.=) e.objid
LEFT JOIN pg_catalog.pg_policy y ON e.classid OPERATOR(pg_catalog.=) '3256'::pg_catalog.oid AND y.oid OPERATOR(pg_catalog.=) e.objid
WHERE e.classid OPERATOR(pg_catalog.=) ANY ('{2618,3256}'::pg_catalog.oid[]) AND e.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617}'::pg_catalog.oid[])
AND e.refobjid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid AND NOT ` + sqltext.Sound + `
UNION ALL
SELECT 'q', w.ev_class::pg_catalog.text, '', ''
FROM pg_catalog.pg_depend e JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) e.objid
WHERE e.classid OPERATOR(pg_catalog.=) '2618'::pg_catalog.oid AND e.refclassid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid
AND e.refobjid OPERATOR(pg_catalog.=) 'pg_catalog.pg_settings'::pg_catalog.regclass::pg_catalog.oid
AND w.ev_class OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
UNION ALL
SELECT 'i', i.inhrelid::pg_catalog.text, i.inhparent::pg_catalog.text, '' FROM pg_catalog.pg_inherits i
UNION ALL
SELECT CASE WHEN d.refclassid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid THEN 'd' ELSE 'f' END,
w.ev_class::pg_catalog.text, d.refobjid::pg_catalog.text, w.ev_type::pg_catalog.text
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
WHERE d.classid OPERATOR(pg_catalog.=) '2618'::pg_catalog.oid
AND w.ev_class OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
AND (d.refclassid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid
OR (d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617}'::pg_catalog.oid[]) AND d.refobjid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid))`

// catalogQuery reads also the server's own relations that reveal, and the
// columns with names that are masked.
const catalogQuery = relationsQuery + `
UNION ALL
SELECT 'r', c.oid::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,f,p,S}'::pg_catalog."char"[])
AND c.oid OPERATOR(pg_catalog.<) '16384'::pg_catalog.oid AND c.relname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[])
UNION ALL
SELECT 'a', a.attrelid::pg_catalog.text, a.attnum::pg_catalog.text, a.attname::pg_catalog.text
FROM pg_catalog.pg_attribute a
WHERE a.attnum OPERATOR(pg_catalog.>) '0'::pg_catalog.int2 AND NOT a.attisdropped
AND a.attrelid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
AND (a.attname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[]) OR a.attrelid OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.oid[]))
UNION ALL
SELECT 'a', a.attrelid::pg_catalog.text, a.attnum::pg_catalog.text, a.attname::pg_catalog.text
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
WHERE c.relname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[]) AND a.attname OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.name[])
AND NOT a.attname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[])
UNION ALL
SELECT 'k', k.conrelid::pg_catalog.text, u.child::pg_catalog.text,
pg_catalog.concat_ws(' ', k.confrelid::pg_catalog.oid, u.parent, a.attname)
FROM pg_catalog.pg_constraint k, ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) u(child, parent), pg_catalog.pg_attribute a
WHERE k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char"
AND a.attrelid OPERATOR(pg_catalog.=) k.conrelid AND a.attnum OPERATOR(pg_catalog.=) u.child
UNION ALL
SELECT 'g', a.attrelid::pg_catalog.text, a.attnum::pg_catalog.text, pg_catalog.concat_ws(' ', d.refobjid, d.refobjsubid, a.attname)
FROM pg_catalog.pg_depend d LEFT JOIN pg_catalog.pg_attrdef f ON f.oid OPERATOR(pg_catalog.=) d.objid AND d.classid OPERATOR(pg_catalog.=) '2604'::pg_catalog.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) d.refobjid AND a.attnum OPERATOR(pg_catalog.=) COALESCE(f.adnum, d.objsubid)
WHERE a.attgenerated OPERATOR(pg_catalog.<>) ''::pg_catalog."char" AND d.refobjsubid OPERATOR(pg_catalog.>) '0'::pg_catalog.int4
AND d.refclassid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid
AND (d.classid OPERATOR(pg_catalog.=) '2604'::pg_catalog.oid
OR d.classid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) d.refobjid)
UNION ALL
SELECT 'p', p.oid::pg_catalog.text, p.proname::pg_catalog.text,
(p.provolatile OPERATOR(pg_catalog.<>) 'v'::pg_catalog."char" AND p.prokind OPERATOR(pg_catalog.=) 'f'::pg_catalog."char"
AND l.lanname OPERATOR(pg_catalog.=) ANY ('{sql,plpgsql}'::pg_catalog.name[]))::pg_catalog.text
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
WHERE p.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
UNION ALL
SELECT 'v', v.oid::pg_catalog.text, pg_catalog.pg_get_viewdef(v.oid), ''
FROM pg_catalog.pg_class v
WHERE v.relkind OPERATOR(pg_catalog.=) ANY ('{v,m}'::pg_catalog."char"[]) AND v.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
AND v.oid OPERATOR(pg_catalog.=) ANY (ARRAY(` + reachedQuery + `))`

// reachedQuery finds what reads, however far away, a table with a column of a
// masked name, one of the server's own relations that reveal, or a user's
// function.
const reachedQuery = `
WITH RECURSIVE edge(source, reader) AS (
	SELECT i.inhparent, i.inhrelid FROM pg_catalog.pg_inherits i
	UNION ALL
	SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i
	UNION ALL
	SELECT d.refobjid, w.ev_class
	FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
	WHERE d.classid OPERATOR(pg_catalog.=) '2618'::pg_catalog.oid AND d.refclassid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid
), reached(oid) AS (
	SELECT s.oid FROM (
		SELECT a.attrelid AS oid FROM pg_catalog.pg_attribute a
		WHERE a.attname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[]) OR a.attrelid OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.oid[])
		UNION ALL
		SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[])
		UNION ALL
		SELECT w.ev_class
		FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
		WHERE d.classid OPERATOR(pg_catalog.=) '2618'::pg_catalog.oid
		AND d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617}'::pg_catalog.oid[]) AND d.refobjid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
	) s
	UNION
	SELECT e.reader FROM reached r JOIN edge e ON e.source OPERATOR(pg_catalog.=) r.oid
)
SELECT r.oid FROM reached r`

// catalogRow is one row of catalogQuery. Its columns are what the row's kind
// says: r: oid, schema, name; i: child, parent; d: view, relation, event of the rule;
// f: view, function; l, q: relation; a: table, number, name; F, O, T, C: nothing, name;
// k, g: table, number and link of a column that is a foreign key or generated;
// p: function, name, whether it changes nothing; v: view, definition.
type catalogRow struct {
	kind    byte
	oid     uint32
	second  string
	third   string
	secondN uint32
}

// readCatalog asks the server. Between simple queries it ends with a Sync; in
// a pipeline a Sync would commit, so it ends with a Flush.
func (c *conversation) readCatalog(sync bool) {
	c.catalog.changes = c.catalog.targets.changes.Load()
	c.catalog.builtins = builtins{installs: c.catalog.targets.installs.Load()}
	c.catalog.rows = c.catalog.rows[:0]
	c.catalog.failed = false
	c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte { return c.catalog.request(dst, sync) })
	for _, kind := range [...]debtKind{oweClose, oweClose, oweParse, oweBind, oweExecute, oweClose, oweClose} {
		c.queue.push(debt{kind: kind, own: true, purpose: forCatalog})
	}
	if sync {
		c.queue.push(debt{kind: oweSync, own: true, purpose: forCatalog})
	}
	c.pause()
}

// request appends the messages that ask.
func (c *catalog) request(dst []byte, sync bool) []byte {
	query, arguments := takenQuery, [][]string(nil)
	switch {
	case c.needed():
		query, arguments = catalogQuery, c.arguments()
	case c.follow:
		query = relationsQuery
	}
	dst = closeOwn(dst) // a question that failed may have left them
	return appendEnd(closeOwn(appendOwn(dst, query, arguments)), sync)
}

// appendOwn appends the messages that run a query of ours.
func appendOwn(dst []byte, query string, arguments [][]string) []byte {
	dst, mark := open(dst, msgParse)
	dst = appendString(appendString(dst, ownName), query)
	dst = shut(append(dst, 0, 0), mark)
	dst, mark = open(dst, msgBind)
	dst = appendString(appendString(dst, ownName), ownName)
	dst = append(dst, 0, 0, 0, byte(len(arguments)))
	for _, list := range arguments {
		literal := arrayLiteral(list)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(literal)))
		dst = append(dst, literal...)
	}
	dst = shut(append(dst, 0, 0), mark)
	dst, mark = open(dst, msgExecute)
	return shut(append(appendString(dst, ownName), 0, 0, 0, 0), mark)
}

// appendEnd appends what makes the server answer.
func appendEnd(dst []byte, sync bool) []byte {
	last := byte(msgFlush)
	if sync {
		last = msgSync
	}
	dst, mark := open(dst, last)
	return shut(dst, mark)
}

// closeOwn closes our portal and statement, if they are there.
func closeOwn(dst []byte) []byte {
	for _, which := range [...]byte{'P', 'S'} {
		var mark int
		dst, mark = open(dst, msgClose)
		dst = shut(appendString(append(dst, which), ownName), mark)
	}
	return dst
}

// arguments are the parameters of catalogQuery: the names of masked columns
// and tables, the revealing relations, and where masked columns once were.
func (c *catalog) arguments() [][]string {
	var columns, tables []string
	for i := range c.rules {
		columns = append(columns, c.rules[i].Column.Column)
	}
	for _, places := range c.remembered() {
		for _, p := range places {
			tables = append(tables, strconv.FormatUint(uint64(p.table), 10))
		}
	}
	var relations, reveals []string
	for name, columns := range revealed {
		relations, reveals = append(relations, name), append(reveals, columns...)
	}
	return [][]string{columns, relations, tables, reveals}
}

// arrayLiteral writes a one-dimensional array as text.
func arrayLiteral(list []string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, s := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// ownAnswer handles what answers a question of ours. The client sees none of
// it.
func (c *conversation) ownAnswer(s *stream, kind byte, frame []byte, head *debt) bool {
	c.swallow(s, len(frame))
	over := false
	switch {
	case head.purpose == forError:
		return false // it cannot succeed
	case kind == msgParameterDescription && head.kind == oweDescribe:
	case (kind == msgRowDescription || kind == msgNoData) && head.kind == oweDescribe:
		over = true
		if !c.learn(kind, frame, head) {
			return false
		}
	case kind == msgDataRow && head.purpose == forCatalog:
		return c.catalog.take(frame[headerSize:])
	case kind == msgDataRow && head.purpose == forStanding:
		return c.standing.take(frame[headerSize:])
	case kind == msgDataRow && head.purpose == forTally:
		return c.tally.take(frame[headerSize:])
	case kind == msgParseComplete && head.kind == oweParse,
		kind == msgBindComplete && head.kind == oweBind,
		kind == msgCloseComplete && head.kind == oweClose:
		over = true
	case kind == msgCommandComplete && (head.purpose == forBegin || head.purpose == forEnd):
	case kind == msgCommandComplete && head.kind == oweExecute:
		over = true
	default:
		return false
	}
	if !over {
		return true
	}
	d := c.queue.pop()
	c.prepared.release(d.portal)
	if d.kind == oweExecute {
		c.ownAnswered(d.purpose)
	}
	c.resumeCounted()
	return true
}

// ownAnswered takes an answer over that is whole.
func (c *conversation) ownAnswered(purpose purpose) {
	switch purpose {
	case forStanding:
		c.standing.answered()
	case forCatalog:
		c.catalog.build()
	case forTally:
		c.tallyAnswered()
	}
}

// ownReady ends a question between simple queries.
func (c *conversation) ownReady(d debt) {
	switch {
	case d.purpose == forEnd:
		c.endOurs(d.op)
	case d.purpose == forTally && c.tally.op != nil:
		c.endTally()
	case !c.opened && c.owesReading(): // the other question
	case !c.opened:
		if c.catalog.failed || c.standing.stale() {
			c.refuseLogin(stateUndecided, "the definitions that statements depend on could not be read")
			return
		}
		c.openToClient()
		return
	case (d.purpose == forProbe || d.purpose == forBegin) && c.front.failed:
		c.sendReady()
	}
	c.resumeCounted()
}

// owesReading reports whether a question between simple queries is still to be
// answered.
func (c *conversation) owesReading() bool {
	return slices.ContainsFunc(c.queue.debts[c.queue.first:], func(d debt) bool { return d.own && d.kind == oweSync })
}

// catalogFailed tells the client of a pipeline that its statement is not run
// because the catalog could not be read. Between simple queries the refusal of
// the statement does.
func (c *conversation) catalogFailed() {
	if c.owesReading() {
		return
	}
	const reason = "sluice: the definitions that this statement depends on could not be read, so it is refused"
	if c.front.op == nil {
		c.synthesise(protocol.ClientLeg, nil, func(dst []byte) []byte {
			return appendError(dst, "ERROR", stateUndecided, reason)
		})
		return
	}
	c.front.failed = true
	c.deny(stateUndecided, reason, "")
	c.write(protocol.ClientLeg, c.front.op.refusal, c.front.op)
}

// take keeps one row of the answer.
func (c *catalog) take(body []byte) bool {
	r := reader{b: body}
	if r.int16() != 4 {
		return false
	}
	var cells [4]string
	for i := range cells {
		cells[i] = string(r.take(int(r.int32())))
	}
	oid, err := strconv.ParseUint(cells[1], 10, 32)
	if !r.done() || err != nil || len(cells[0]) != 1 {
		return false
	}
	number, _ := strconv.ParseUint(cells[2], 10, 32) // a name is no number, and is not used as one
	c.rows = append(c.rows, catalogRow{cells[0][0], uint32(oid), cells[2], cells[3], uint32(number)})
	return true
}

// remembered are the places where this session's masked columns were found.
func (c *catalog) remembered() map[mask.Column][]place {
	c.targets.mu.Lock()
	defer c.targets.mu.Unlock()
	places := make(map[mask.Column][]place)
	for i := range c.rules {
		m := c.rules[i].Column
		if p, ok := c.targets.found[targetKey{c.resource, c.database, m}]; ok {
			places[m] = slices.Clone(p)
		}
	}
	return places
}

func (c *catalog) remember(m mask.Column, p []place) {
	c.targets.mu.Lock()
	defer c.targets.mu.Unlock()
	c.targets.found[targetKey{c.resource, c.database, m}] = p
}
