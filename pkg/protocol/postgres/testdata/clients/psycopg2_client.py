# What a Python job does with psycopg2. Prints what it got, line by line.
import sys

import psycopg2
import psycopg2.extras

conn = psycopg2.connect(sys.argv[1])
cur = conn.cursor()


def show(label, statement, values=None):
    try:
        cur.execute(statement, values)
        print(label, cur.fetchall() if cur.description else cur.statusmessage)
    except psycopg2.Error as e:
        print(label, e.pgcode, str(e.pgerror).splitlines()[0])
        conn.rollback()


show("values", "SELECT %s, %s::int, %s::timestamptz, encode(%s::bytea, 'hex')", ("ü ' \\", 42, "2020-01-02T03:04:05Z", b"\x00\xff"))
show("error", "SELECT 1/0")
show("table", "CREATE TEMP TABLE t (a int PRIMARY KEY, b text)")
psycopg2.extras.execute_values(cur, "INSERT INTO t VALUES %s", [(n, "x" * n) for n in range(500)])
show("count", "SELECT count(*), sum(length(b)) FROM t")
show("duplicate", "INSERT INTO t VALUES (1, '')")
conn.commit()
show("table again", "CREATE TEMP TABLE t (a int, b text)")
with open(sys.argv[2], "w+") as f:
    f.write("1\tone\n2\ttwo\n")
    f.seek(0)
    cur.copy_expert("COPY t FROM STDIN", f)
    f.seek(0)
    f.truncate()
    cur.copy_expert("COPY t TO STDOUT (FORMAT csv)", f)
    f.seek(0)
    print("copied", f.read())
named = conn.cursor("server_side")
named.itersize = 7
named.execute("SELECT n FROM generate_series(1, 50) n")
print("cursor", sum(row[0] for row in named))
conn.rollback()
conn.autocommit = True
show("listen", "LISTEN here")
show("notify", "NOTIFY here, 'there'")
conn.poll()
print("notified", [(n.channel, n.payload) for n in conn.notifies])
show("notice", "DO $$BEGIN RAISE NOTICE 'noted'; END$$")
print("notices", conn.notices)
conn.close()
