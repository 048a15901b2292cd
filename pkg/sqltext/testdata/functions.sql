-- The functions that sqltext takes for harmless (builtin_functions.txt): those
-- of pg_catalog of which no overload is volatile, changes anything, or takes
-- SQL, a cursor or the name of a relation to read.
SELECT p.proname
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'pg_catalog'::regnamespace
GROUP BY p.proname
HAVING bool_and(
    l.lanname IN ('internal', 'sql')
    AND p.prokind IN ('f', 'a', 'w')
    AND (
        p.provolatile IN ('i', 's')
        -- volatile, but only because they read or wait
        OR p.proname IN (
            'clock_timestamp', 'currval', 'gen_random_uuid', 'lastval',
            'pg_database_size', 'pg_indexes_size', 'pg_is_in_recovery',
            'pg_partition_ancestors', 'pg_partition_tree', 'pg_relation_size', 'pg_sleep', 'pg_sleep_for', 'pg_sleep_until',
            'pg_table_size', 'pg_total_relation_size', 'random', 'timeofday'))
    -- no handlers, triggers, and input and output of types
    AND p.prorettype NOT IN (
        'trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype,
        'language_handler'::regtype, 'fdw_handler'::regtype,
        'index_am_handler'::regtype, 'table_am_handler'::regtype,
        'tsm_handler'::regtype, 'cstring'::regtype)
    AND NOT 'internal'::regtype = ANY (p.proargtypes)
    AND NOT 'cstring'::regtype = ANY (p.proargtypes)
    AND NOT 'refcursor'::regtype = ANY (p.proargtypes))
-- no relation, schema or query given by name and read
AND p.proname !~ '_to_xml|_to_xmlschema|^ts_stat|^ts_rewrite'
-- no large objects, transaction ids, replication, statistics of values, or
-- what other sessions run
AND p.proname !~ '^lo_|^binary_upgrade|^txid_|^pg_current_xact|^pg_xact|^pg_logical|^pg_replication|^pg_mcv_|^pg_stat_get_activity|^pg_stat_get_backend_|^pg_stat_get_progress|^pg_stat_get_wal|^pg_get_backend|^pg_prepared|^pg_cursor|^pg_event_trigger|^pg_show_'
ORDER BY p.proname COLLATE "C"
