"""Queries, streams, changes and reads an error. Arguments: a port."""
import sys

import pymysql
import pymysql.cursors

conn = pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="app", password="app-secret", database="shop", charset="utf8mb4")
with conn.cursor() as cursor:
    cursor.execute("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,ANSI_QUOTES'")
    cursor.execute('SELECT "id", name, email FROM customers WHERE id = %s', (1,))
    print(cursor.fetchone())
    cursor.execute("SELECT 'größer'")
    print(cursor.fetchone())
with conn.cursor(pymysql.cursors.SSCursor) as cursor:
    cursor.execute("SELECT email FROM customers ORDER BY id")
    print(cursor.fetchall())
with conn.cursor() as cursor:
    cursor.executemany("INSERT INTO orders (id, item) VALUES (%s, %s)", [(n, "item") for n in range(500, 600)])
    print(cursor.rowcount)
    try:
        cursor.execute("INSERT INTO orders (id) VALUES (500)")
    except pymysql.err.IntegrityError as e:
        print(e.args)
conn.ping()
conn.select_db("other")
conn.rollback()
with conn.cursor() as cursor:
    cursor.execute("DROP TABLE shop.codes")
    cursor.execute("SHOW TABLES FROM shop")
    print(sorted(cursor.fetchall()))
conn.close()
