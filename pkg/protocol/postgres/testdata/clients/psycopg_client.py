# What a Python job does with psycopg 3: binary, prepared, pipelined.
import sys

import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    for binary in (False, True):
        cur = conn.cursor(binary=binary)
        cur.execute("SELECT %s::text, %s::int8, %s::numeric, %s::bytea, NULL", ("ü", 1 << 40, 12.5, b"\x00\x01"))
        print("values", cur.fetchall())
    for n in range(8):
        print("prepared", conn.execute("SELECT %s::int + 1", (n,), prepare=True).fetchall())
    try:
        conn.execute("SELECT 1/%s::int", (0,))
    except psycopg.Error as e:
        print("error", e.sqlstate)
    conn.execute("CREATE TEMP TABLE t (a int, b text)")
    with conn.cursor().copy("COPY t (a, b) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        for n in range(1000):
            copy.write_row((n, "x" * (n % 50)))
    with conn.cursor().copy("COPY (SELECT b FROM t ORDER BY a LIMIT 5) TO STDOUT") as copy:
        print("copied", [row for row in copy.rows()])
    with conn.pipeline():
        cursors = [conn.execute("SELECT %s::int * 2", (n,)) for n in range(30)]
    print("pipeline", [c.fetchone() for c in cursors])
    try:
        with conn.pipeline():
            first = conn.execute("SELECT 1")
            conn.execute("SELECT broken")
            conn.execute("SELECT 3")
    except psycopg.Error as e:
        print("pipeline error", e.sqlstate, first.fetchall())
    with conn.transaction():
        conn.execute("INSERT INTO t VALUES (-1, 'kept')")
        try:
            with conn.transaction():
                conn.execute("INSERT INTO t VALUES (-2, 'undone')")
                raise RuntimeError
        except RuntimeError:
            pass
    print("kept", conn.execute("SELECT * FROM t WHERE a < 0").fetchall())
    with conn.transaction(), conn.cursor("server_side", binary=True) as cur:
        cur.execute("SELECT n FROM generate_series(1, 100) n")
        print("cursor", cur.fetchmany(3), cur.fetchone())
        cur.scroll(10)
        print("scrolled", cur.fetchone())
