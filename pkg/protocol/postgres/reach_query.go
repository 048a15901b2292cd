package postgres

import "github.com/sluicegate/sluice/pkg/sqltext"

// Questions of an asker. All but resolveQuery and the statement's own run with
// search_path pg_catalog, so that every name in them is the server's.

// resolveQuery finds the relations of names as the session would. Everything in
// it is qualified: it runs under the session's search_path.
const resolveQuery = `SELECT pg_catalog.to_regclass(CASE WHEN n.space OPERATOR(pg_catalog.=) '' THEN pg_catalog.quote_ident(n.name)
	ELSE pg_catalog.quote_ident(n.space) OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(n.name) END)::pg_catalog.oid
FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) WITH ORDINALITY AS n(space, name, place)
ORDER BY n.place`

// treeQuery begins a query about relations ($1, OIDs) and what inherits from
// them.
const treeQuery = `WITH RECURSIVE tree(oid, root) AS (
	SELECT r.oid, r.oid FROM unnest($1::oid[]) r(oid)
	UNION SELECT i.inhrelid, t.root FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid)`

// relationQuery describes relations: OID, name, kind, rows by statistics.
const relationQuery = treeQuery + `
SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), CASE c.relkind
	WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'i' THEN 'index' WHEN 'I' THEN 'partitioned index' WHEN 'v' THEN 'view'
	WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'relation' END,
	coalesce((SELECT sum(l.reltuples)::int8 FROM tree t JOIN pg_class l ON l.oid = t.oid
		WHERE t.root = c.oid AND l.reltuples >= 0 AND l.relkind IN ('r', 'm', 'i')), -1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[])`

// dependantQuery tells what hangs on relations: OID, words.
const dependantQuery = `
SELECT DISTINCT d.refobjid, (CASE v.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END) || v.oid::regclass::text
FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1::oid[]) AND v.oid <> d.refobjid
UNION ALL
SELECT confrelid, 'foreign key of ' || conrelid::regclass::text || CASE confdeltype
	WHEN 'c' THEN ', deletes cascade' WHEN 'n' THEN ', deletes set NULL' WHEN 'd' THEN ', deletes set the default' ELSE '' END || CASE confupdtype
	WHEN 'c' THEN ', updates cascade' WHEN 'n' THEN ', updates set NULL' WHEN 'd' THEN ', updates set the default' ELSE '' END
FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND confrelid = ANY ($1::oid[])
UNION ALL
SELECT tgrelid, 'trigger ' || quote_ident(tgname) || CASE tgenabled WHEN 'D' THEN ', disabled' ELSE '' END
FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = ANY ($1::oid[])
UNION ALL
SELECT ev_class, 'rule ' || quote_ident(rulename) FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_class = ANY ($1::oid[])
UNION ALL
SELECT inhparent, 'child ' || inhrelid::regclass::text FROM pg_inherits WHERE inhparent = ANY ($1::oid[])
UNION ALL
SELECT i.indexrelid, 'it belongs to ' || i.indrelid::regclass::text || ', which is locked too' FROM pg_index i WHERE i.indexrelid = ANY ($1::oid[])
UNION ALL
SELECT prrelid, 'publication ' || quote_ident(p.pubname) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE prrelid = ANY ($1::oid[])
ORDER BY 1, 2 LIMIT 1000`

// sizeQuery is the size on disk of one relation with all of its own. It takes
// the weakest lock on each.
const sizeQuery = treeQuery + ` SELECT coalesce(sum(pg_total_relation_size(t.oid)), -1)::int8 FROM tree t`

// lockTextQuery is the text that keeps relations as they are while they are
// looked at.
const lockTextQuery = `SELECT 'LOCK TABLE ' || string_agg(quote_ident(n.nspname) || '.' || quote_ident(c.relname), ', ') || ' IN ACCESS SHARE MODE'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[]) AND c.relkind IN ('r', 'p')`

// objectionQuery says why the conditions of a statement cannot even be planned
// without the risk that something which a user of the server wrote is called;
// ” when nothing is: $1 the relations, $2 their names, $3 the types that are
// cast to, $4 those of parameters. To plan is to fold functions that are
// declared immutable or stable, and to ask operators about statistics.
const objectionQuery = treeQuery + `, piece(classid, objid) AS (
	SELECT 'pg_class'::regclass::oid, oid FROM tree
	UNION SELECT d.classid, d.objid FROM pg_depend d JOIN tree t ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
	WHERE d.classid IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass, 'pg_policy'::regclass)
), own(oid) AS (
	SELECT oid FROM pg_type WHERE oid < '16384'::oid OR typtype = 'e'
	UNION SELECT a.oid FROM pg_type e JOIN pg_type a ON a.oid = e.typarray WHERE e.typtype = 'e'
)
SELECT CASE
WHEN EXISTS (SELECT FROM tree t JOIN pg_class c ON c.oid = t.oid WHERE c.relkind NOT IN ('r', 'p')) THEN 'it reads views, foreign tables or the like'
WHEN EXISTS (SELECT FROM tree t JOIN pg_class c ON c.oid = t.oid WHERE c.relrowsecurity) THEN 'a table has row-level security'
WHEN EXISTS (SELECT FROM tree t JOIN pg_class c ON c.oid = t.oid WHERE c.relhasrules) THEN 'a table has rules'
WHEN EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname LIKE 'pg\_temp\_%' AND c.relname = ANY ($2::name[]))
	THEN 'a temporary relation has the name of one of its tables'
WHEN EXISTS (SELECT FROM pg_depend d JOIN piece p ON p.classid = d.classid AND p.objid = d.objid WHERE d.refobjid >= '16384'::oid AND d.refclassid IN
	('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_opfamily'::regclass, 'pg_am'::regclass, 'pg_language'::regclass))
	THEN 'an index, a constraint, a default or the like of its tables uses functions or operators of users'
WHEN EXISTS (SELECT FROM tree t JOIN pg_attribute a ON a.attrelid = t.oid WHERE NOT a.attisdropped AND a.atttypid NOT IN (SELECT oid FROM own))
	THEN 'a table has columns of types of users'
WHEN EXISTS (SELECT FROM pg_cast WHERE oid >= '16384'::oid AND castsource < '16384'::oid AND casttarget < '16384'::oid)
	THEN 'users have defined casts between types of the server'
WHEN EXISTS (SELECT FROM unnest($3::name[]) n(name) WHERE NOT EXISTS (SELECT FROM pg_type t WHERE t.typname = n.name AND t.typnamespace = '11'::oid)
		OR EXISTS (SELECT FROM pg_type t WHERE t.typname = n.name AND t.typnamespace <> '11'::oid))
	OR EXISTS (SELECT FROM unnest($4::oid[]) n(oid) WHERE n.oid NOT IN (SELECT oid FROM own))
	THEN 'it casts to types of users'
WHEN (` + sqltext.ShadowQuery + `) THEN 'a function or an operator of users has the name of one of the server'
ELSE '' END`

// plainTypes are those whose values compare the same under all settings, as
// long as both sides are of one kind.
const plainTypes = `'{bool,int2,int4,int8,oid,numeric,float4,float8,text,varchar,bpchar,char,name,uuid,bytea,inet,cidr,macaddr,jsonb,date,timestamp,timestamptz,time,interval}'::name[]`

// doubtQuery says why the rows that conditions select can be estimated but not
// counted; ” when nothing is against it: $1 the relations, $2 the columns, $3
// the types that are cast to, $4 those of parameters, $5 the functions, $6
// whether values are computed with.
const doubtQuery = treeQuery + `, used(oid) AS (
	SELECT a.atttypid FROM tree t JOIN pg_attribute a ON a.attrelid = t.oid WHERE a.attname = ANY ($2::name[])
	UNION SELECT oid FROM pg_type WHERE typname = ANY ($3::name[]) AND typnamespace = '11'::oid
	UNION SELECT * FROM unnest($4::oid[])
), named(name, kind) AS (SELECT t.typname, t.typcategory FROM used u JOIN pg_type t ON t.oid = u.oid WHERE t.typtype <> 'e')
SELECT CASE
WHEN EXISTS (SELECT FROM unnest($2::name[]) n(name) WHERE NOT EXISTS
	(SELECT FROM tree t JOIN pg_attribute a ON a.attrelid = t.oid WHERE a.attname = n.name AND NOT a.attisdropped))
	THEN 'the conditions read more than columns'
WHEN EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = '11'::oid AND p.proname = ANY ($5::name[]) AND (p.provolatile <> 'i' OR p.prolang NOT IN ('12'::oid, '14'::oid)))
	THEN 'the conditions call functions that are not immutable'
WHEN EXISTS (SELECT FROM named WHERE name <> ALL (` + plainTypes + `))
	OR (SELECT count(*) FROM named WHERE kind IN ('D', 'T')) > 1 AND EXISTS (SELECT FROM named WHERE name = 'timestamptz')
	OR $6::bool AND EXISTS (SELECT FROM named WHERE kind NOT IN ('N', 'B'))
	THEN 'what the conditions compare depends on settings'
ELSE '' END`
