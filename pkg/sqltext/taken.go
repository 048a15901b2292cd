package sqltext

// Somebody else's function, operator, cast or type can have a name that a text
// uses, so that the text calls code that it does not show. Every name and
// operator in these questions is qualified: a search_path must not change what
// they mean. What came with the server (below FirstNormalObjectId, 16384) is its
// own. The answers hold until somebody creates such a thing.

// ShadowQuery asks a server whether anything of others shares a name with a
// function or an operator of pg_catalog's, or is a function that can be written
// as a column: one row with one boolean.
const ShadowQuery = `SELECT EXISTS (SELECT FROM pg_catalog.pg_proc u WHERE ` + others + ` AND (` + sharesName + ` OR ` + rowCallCondition + `))
OR EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid AND ` + sharesOperator + `)`

// TakenQuery asks a server for what Calling wants: rows of a kind and a name. 'F'
// is a function and 'O' an operator with a name of the server's own, 'T' a type to
// or from which users' code casts, or which it checks, 'C' a function that can be
// written as a column.
const TakenQuery = `SELECT 'F'::pg_catalog.text AS kind, u.proname AS name FROM pg_catalog.pg_proc u WHERE ` + others + ` AND NOT ` + Sound + ` AND ` + sharesName + `
UNION SELECT 'O'::pg_catalog.text, o.oprname FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc u ON u.oid OPERATOR(pg_catalog.=) o.oprcode
	WHERE o.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid AND NOT (` + others + ` AND ` + Sound + `) AND ` + sharesOperator + `
UNION SELECT 'T'::pg_catalog.text, t.typname FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_proc u ON u.oid OPERATOR(pg_catalog.=) k.castfunc
	JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) ANY (ARRAY[k.castsource, k.casttarget]) WHERE ` + others + ` AND NOT ` + Sound + `
UNION SELECT 'T'::pg_catalog.text, t.typname FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) k.contypid
	JOIN pg_catalog.pg_depend e ON e.classid OPERATOR(pg_catalog.=) '2606'::pg_catalog.oid AND e.objid OPERATOR(pg_catalog.=) k.oid
	AND e.refclassid OPERATOR(pg_catalog.=) '1255'::pg_catalog.oid
	JOIN pg_catalog.pg_proc u ON u.oid OPERATOR(pg_catalog.=) e.refobjid WHERE ` + others + ` AND NOT ` + Sound + `
UNION SELECT 'C'::pg_catalog.text, u.proname FROM pg_catalog.pg_proc u WHERE ` + others + ` AND ` + rowCallCondition

// others holds for an object u that did not come with the server.
const others = `u.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid`

// Sound holds for a function u that an extension brought and that changes
// nothing, or takes nothing: one in C, which only superusers install, or one of
// the superuser's who made the database (BOOTSTRAP_SUPERUSERID, 10). A job that
// owns an extension can put functions of its own into it, but neither of these.
const Sound = `((u.provolatile OPERATOR(pg_catalog.<>) 'v'::pg_catalog."char" OR u.pronargs OPERATOR(pg_catalog.=) '0'::pg_catalog.int2)
	AND (u.prolang OPERATOR(pg_catalog.=) '13'::pg_catalog.oid OR u.proowner OPERATOR(pg_catalog.=) '10'::pg_catalog.oid)
	AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) '1255'::pg_catalog.oid
		AND d.objid OPERATOR(pg_catalog.=) u.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog."char"))`

// sharesName holds for a function u with a name that a text may mean as the
// server's.
const sharesName = `(EXISTS (SELECT FROM pg_catalog.pg_proc b
			WHERE b.pronamespace OPERATOR(pg_catalog.=) '11'::pg_catalog.oid AND b.proname OPERATOR(pg_catalog.=) u.proname)
		OR u.proname OPERATOR(pg_catalog.=) ANY ('{json,json_array,json_arrayagg,json_exists,json_object,json_objectagg,json_query,json_scalar,
			json_serialize,json_table,json_value,merge_action}'::pg_catalog.name[]))`

// sharesOperator is the same for an operator o.
const sharesOperator = `EXISTS (SELECT FROM pg_catalog.pg_operator b
	WHERE b.oprnamespace OPERATOR(pg_catalog.=) '11'::pg_catalog.oid AND b.oprname OPERATOR(pg_catalog.=) o.oprname)`

// rowCallCondition holds for a function u that takes a row, or may: one that can
// be written as a column.
const rowCallCondition = `((u.pronargs OPERATOR(pg_catalog.-) u.pronargdefaults) OPERATOR(pg_catalog.<=) 1
			AND u.pronargs OPERATOR(pg_catalog.>=) 1
			AND EXISTS (SELECT FROM pg_catalog.pg_type t
				WHERE t.oid OPERATOR(pg_catalog.=) u.proargtypes[0]
				AND t.typtype OPERATOR(pg_catalog.=) ANY ('{c,d,p}'::pg_catalog."char"[]))
			AND u.prorettype OPERATOR(pg_catalog.<>) '2279'::pg_catalog.oid)`
