-- The operators that sqltext takes for harmless (builtin_operators.txt): those
-- of pg_catalog of which no variant is volatile.
SELECT o.oprname
FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
WHERE o.oprnamespace = 'pg_catalog'::regnamespace
GROUP BY o.oprname
HAVING bool_and(p.provolatile IN ('i', 's'))
ORDER BY o.oprname COLLATE "C"
