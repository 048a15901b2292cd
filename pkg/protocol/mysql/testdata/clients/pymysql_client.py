"""Logs in, queries, streams a result and reads an error. Arguments: a port."""
import sys

import pymysql
import pymysql.cursors

conn = pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="job", password="whatever", database="shop")
with conn.cursor() as cursor:
    cursor.execute("SELECT id, name, email FROM customers WHERE id = %s", (1,))
    print(cursor.fetchone())
with conn.cursor(pymysql.cursors.SSCursor) as cursor:
    cursor.execute("SELECT email FROM customers ORDER BY id")
    print(set(cursor.fetchall()))
with conn.cursor() as cursor:
    try:
        cursor.execute("CREATE TABLE copied AS SELECT email FROM customers")
    except pymysql.err.OperationalError as e:
        print(e.args[0])
    cursor.execute("UPDATE customers SET name = 'new' WHERE id = 2")
    conn.commit()
    print(cursor.rowcount)
conn.close()
