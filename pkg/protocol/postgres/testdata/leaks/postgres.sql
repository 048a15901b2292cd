-- Every way that we know of to move a masked value to the client, in the order
-- in which one job tries them. A line is one statement, but for comments.
-- The tables are those of customers in leak_test.go.
SELECT email FROM customers
SELECT * FROM customers
TABLE customers
SELECT email AS e, ssn x FROM customers c
SELECT customers FROM customers
SELECT c FROM customers c
SELECT (c).email FROM customers c
SELECT c.* FROM customers c
SELECT ROW(c.*) FROM customers c
SELECT email::text FROM customers
SELECT email||'' FROM customers
SELECT ssn::varchar(11) FROM customers
SELECT upper(email) FROM customers
SELECT substr(ssn, 1, 3) FROM customers
SELECT encode(email::bytea, 'hex') FROM customers
SELECT encode(email::bytea, 'base64') FROM customers
SELECT reverse(email) FROM customers
SELECT email FROM customers UNION ALL SELECT 'x'
SELECT 'x' UNION SELECT ssn FROM customers
WITH c AS (SELECT email FROM customers) SELECT * FROM c
WITH c AS MATERIALIZED (SELECT email||'' e FROM customers) SELECT e FROM c
WITH RECURSIVE r AS (SELECT 1 n, email FROM customers UNION ALL SELECT n+1, email FROM r WHERE n<2) SELECT email FROM r
SELECT (SELECT email FROM customers LIMIT 1)
SELECT max(email) FROM customers
SELECT string_agg(ssn, ',') FROM customers
SELECT array_agg(email) FROM customers
SELECT json_agg(c) FROM customers c
SELECT row_to_json(c) FROM customers c
SELECT to_jsonb(c) FROM customers c
SELECT json_build_object('e', email) FROM customers
SELECT coalesce(email, '') FROM customers
SELECT CASE WHEN true THEN ssn END FROM customers
SELECT greatest(email, '') FROM customers
SELECT nullif(email, '') FROM customers
SELECT count(*), email FROM customers GROUP BY email
SELECT DISTINCT ssn FROM customers
SELECT first_value(email) OVER () FROM customers
SELECT * FROM contacts
SELECT contact FROM outer_contacts
SELECT * FROM kept_contacts
SELECT spill()
SELECT * FROM spill()
SELECT * FROM spilled
SELECT * FROM vips
SELECT email FROM ONLY vips
SELECT v FROM vips v
SELECT email FROM other.plain
SELECT o.id, c.email FROM orders o JOIN customers c ON c.id=o.customer
SELECT * FROM orders o, LATERAL (SELECT ssn FROM customers c WHERE c.id=o.customer) l
SELECT * FROM customers a FULL JOIN customers b USING (email)
SELECT * FROM customers NATURAL JOIN vips
COPY customers TO STDOUT
COPY customers (email) TO STDOUT (FORMAT csv)
COPY customers TO STDOUT (FORMAT binary)
COPY (SELECT email FROM customers) TO STDOUT
COPY contacts TO STDOUT
DO $$BEGIN RAISE NOTICE '%', (SELECT email FROM customers LIMIT 1); END$$
DO $$BEGIN RAISE EXCEPTION '%', (SELECT ssn FROM customers LIMIT 1); END$$
DO $$BEGIN EXECUTE 'CREATE TABLE stolen AS SELECT * FROM cust'||'omers'; END$$
SELECT email::int FROM customers
SELECT ssn::date FROM customers
SELECT 1 FROM customers WHERE email::int = 1
SELECT id FROM customers WHERE ssn::int > 0
SELECT id FROM customers ORDER BY email::int
INSERT INTO customers SELECT * FROM customers
INSERT INTO customers (id, email) SELECT 1000+id, email FROM customers
UPDATE customers SET notes = email RETURNING notes
UPDATE customers SET name = ssn
UPDATE customers SET notes = customers::text RETURNING notes
UPDATE customers SET notes = c.b FROM customers AS c(a, x, b) RETURNING customers.notes
DELETE FROM customers WHERE id = 20 RETURNING email||''
INSERT INTO orders SELECT 500, 1, 1, email FROM customers LIMIT 1
INSERT INTO orders SELECT 501, 1, 1, a.item FROM customers AS a(id, name, item) LIMIT 1 RETURNING item
UPDATE orders SET item = (SELECT email FROM customers LIMIT 1)
UPDATE orders SET item = c.email FROM customers c
SELECT item FROM orders
INSERT INTO orders SELECT 600, 1, 1, contact FROM contacts LIMIT 1
UPDATE orders SET item = contact FROM contacts
CREATE TABLE stolen AS SELECT contact FROM contacts
CREATE VIEW renamed (a) AS SELECT contact FROM contacts
SELECT * FROM renamed
SELECT item FROM orders WHERE id >= 500
BEGIN
DECLARE k CURSOR FOR SELECT email||'' FROM customers
FETCH ALL FROM k
COMMIT
BEGIN
DECLARE k CURSOR FOR SELECT email, id FROM customers
FETCH 3 FROM k
MOVE 1 FROM k
ROLLBACK
MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN UPDATE SET item = c.ssn
CREATE TABLE stolen AS SELECT * FROM customers
SELECT * INTO stolen FROM customers
CREATE TEMP TABLE stolen AS TABLE customers
CREATE VIEW stolen AS SELECT email||'' AS e FROM customers
CREATE MATERIALIZED VIEW stolen AS SELECT email FROM customers
SELECT * FROM stolen
WITH w AS (INSERT INTO orders SELECT 502, 1, 1, email FROM customers LIMIT 1 RETURNING item) SELECT * FROM w
CREATE FUNCTION leak() RETURNS text LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1'
SELECT leak()
CREATE RULE r AS ON INSERT TO orders DO ALSO SELECT email||'' FROM customers
INSERT INTO orders VALUES (503, 1, 1, 'x')
ALTER TABLE customers ADD COLUMN copied text GENERATED ALWAYS AS (email) STORED
SELECT copied FROM customers
ALTER TABLE customers ALTER COLUMN notes TYPE text USING email
SELECT notes FROM customers
SELECT name FROM customers
EXPLAIN SELECT * FROM customers WHERE email > 'a'
EXPLAIN ANALYZE SELECT * FROM customers
EXPLAIN (VERBOSE) SELECT 1 FROM customers WHERE email < 'z'
SELECT * FROM pg_stats WHERE tablename = 'customers'
SELECT most_common_vals FROM pg_catalog.pg_stats
SELECT histogram_bounds::text FROM pg_stats
SELECT query FROM pg_stat_activity
PREPARE p AS SELECT email||'' FROM customers
EXECUTE p
DEALLOCATE ALL
SELECT query_to_xml('SELECT email FROM customers', true, false, '')
SELECT table_to_xml('customers', true, false, '')
SELECT database_to_xml(true, false, '')
SELECT schema_to_xml('public', true, false, '')
SELECT lo_from_bytea(0, (SELECT email FROM customers LIMIT 1)::bytea)
SELECT pg_notify('c', (SELECT email FROM customers LIMIT 1))
SELECT set_config('app.x', (SELECT email FROM customers LIMIT 1), false)
SHOW app.x
SELECT * FROM "customers"
SELECT "email" FROM public.customers
SELECT email||'' FROM "public"."customers"
SELECT U&"\0065mail"||'' FROM customers
SELECT em/* */ail FROM customers
SELECT email||'' FROM -- x  customers
SELECT e FROM (SELECT email||'' e FROM customers) s
SELECT CAST(email AS text) COLLATE "C" FROM customers
SELECT ARRAY(SELECT email FROM customers)
SELECT unnest(ARRAY[email]) FROM customers
SELECT * FROM unnest((SELECT array_agg(email) FROM customers))
VALUES ((SELECT email FROM customers LIMIT 1))
SELECT format('%s', email) FROM customers
SELECT regexp_matches(email, '.*') FROM customers
SELECT xmlelement(name e, email) FROM customers
SELECT ssn FROM customers FOR UPDATE
SELECT customers.email, customers.ssn FROM customers LIMIT 3
SELECT 1; SELECT email||'' FROM customers
INSERT INTO customers VALUES (1, 'x', 'y', 'z', 'n')
INSERT INTO customers (id, email) VALUES (2000, 'u1.kanarie.zq7@example.test')
CREATE UNIQUE INDEX dup ON customers (ssn)
ALTER TABLE customers ADD CONSTRAINT short CHECK (length(email) < 3)
ALTER TABLE customers RENAME TO clients
SELECT email||'' FROM clients
SELECT email FROM clients
ALTER TABLE clients RENAME COLUMN email TO mail
SELECT mail FROM clients
SELECT mail||'' FROM clients
ALTER TABLE clients RENAME COLUMN mail TO email
ALTER TABLE clients RENAME TO customers
-- expressions, more of them
SELECT lower(email), initcap(email), trim(email), lpad(email, 40), rpad(ssn, 20), repeat(ssn, 2), left(email, 30), right(ssn, 9) FROM customers
SELECT overlay(email placing 'x' from 1), translate(ssn, '-', ' '), replace(ssn, '-', '-'), split_part(email, '@', 1) FROM customers
SELECT email COLLATE "C", email LIKE '%x%', email = 'nobody' FROM customers
SELECT regexp_replace(email, '^', ''), regexp_split_to_array(email, ','), string_to_array(ssn, ','), quote_literal(email), quote_ident(email) FROM customers
SELECT convert_to(email, 'UTF8'), encode(convert_to(email, 'UTF8'), 'escape'), decode(encode(email::bytea, 'hex'), 'hex') FROM customers
SELECT convert_from(email::bytea, 'UTF8'), ssn::bytea, email::name, ssn::"char", email::char(40), ARRAY[email, ssn]::text FROM customers
SELECT array_to_string(ARRAY[email], ','), cardinality(ARRAY[email]), ARRAY[[email]], ROW(email), ROW(ROW(email)) FROM customers
SELECT concat(email), concat_ws(',', email, ssn), email || id, 'x' || ssn, format('%L %I', email, ssn) FROM customers
SELECT to_json(email), to_jsonb(ssn), json_build_array(email), jsonb_build_object(email, 1), json_object(ARRAY[email, ssn]) FROM customers
SELECT json_agg(email), jsonb_agg(ssn), json_object_agg(id, email), jsonb_object_agg(email, id), array_agg(c) FROM customers c
SELECT xmlagg(xmlelement(name e, email)), xmlconcat(xmlelement(name e, ssn)) FROM customers
SELECT xmlforest(email, ssn), xmlcomment('x'), xmlpi(name p, email) FROM customers
SELECT min(email), max(ssn), mode() WITHIN GROUP (ORDER BY email), percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM customers
SELECT lag(email) OVER (ORDER BY id), lead(ssn) OVER w, nth_value(email, 1) OVER w FROM customers WINDOW w AS (ORDER BY id)
SELECT array_agg(email) FILTER (WHERE id > 0), string_agg(DISTINCT email, ';' ORDER BY email) FROM customers
SELECT CASE id WHEN 1 THEN email ELSE ssn END, CASE email WHEN 'x' THEN 1 END FROM customers
SELECT to_tsvector('simple', email), to_tsvector('simple', ssn)::text, ts_headline('simple', email, 'x'::tsquery) FROM customers
SELECT hashtext(email)::text || email FROM customers
SELECT s.email[1] FROM (SELECT string_to_array(email, ',') AS email FROM customers) s
SELECT born::text, born + 1, to_char(born, 'YYYY-MM-DD'), extract(year FROM born), born - date '2000-01-01' FROM customers
SELECT ssn::varchar(3)::text, substring(ssn from 1 for 7), substring(ssn, '\d+-\d+'), position('6' in ssn), ascii(ssn) FROM customers
SELECT unnest(string_to_array(email, '@@')), regexp_split_to_table(ssn, 'x'), generate_series(1, 1) FROM customers
-- rows
SELECT (c.*)::text FROM customers c
SELECT c.*::customers FROM customers c
SELECT (SELECT c) FROM customers c
SELECT (SELECT to_jsonb(c)) FROM customers c
SELECT (x.r).email FROM (SELECT c AS r FROM customers c) x
SELECT (x).r FROM (SELECT c AS r FROM customers c) x
SELECT r FROM (SELECT * FROM customers) r
SELECT to_json(r) FROM (SELECT email FROM customers) r
SELECT v.* FROM customers c, LATERAL (VALUES (c.email), (c.ssn)) v(x)
SELECT v.x || '' FROM customers c, LATERAL (VALUES (c.email), (c.ssn)) v(x)
SELECT jsonb_populate_record(NULL::customers, to_jsonb(c)) FROM customers c
SELECT r.* FROM customers c, jsonb_to_record(to_jsonb(c)) AS r(email text)
SELECT e.* FROM customers c, jsonb_each_text(to_jsonb(c)) e
SELECT e.value FROM customers c, json_each(row_to_json(c)) e
SELECT jsonb_path_query(to_jsonb(c), '$.email') FROM customers c
SELECT to_jsonb(c) ->> 'email', to_jsonb(c) #>> '{ssn}' FROM customers c
SELECT c.row_to_json FROM customers c
SELECT customers.concat, c.record_send FROM customers, vips c
SELECT x.to_jsonb FROM (SELECT * FROM customers) x
SELECT x.quote_literal FROM (SELECT (id), email FROM customers) x
SELECT c.json_agg, c.array_agg FROM customers c
WITH q AS (SELECT email, ssn FROM customers) SELECT q.to_json FROM q
SELECT o.json_build_array FROM outer_contacts o
ALTER TABLE customers ALTER COLUMN notes TYPE text USING customers.concat
SELECT notes FROM customers
SELECT x.q FROM (SELECT id, email FROM customers) c, LATERAL (VALUES (c.*, 1)) AS x(p, q)
SELECT x.column2 || '' FROM (SELECT id, email FROM customers) c, LATERAL (VALUES (1, 'a', 2), ((c).*, 1)) AS x
-- shapes of queries
SELECT email FROM customers INTERSECT SELECT email FROM customers
SELECT ssn FROM customers EXCEPT SELECT 'x'
SELECT * FROM (SELECT email FROM customers UNION ALL SELECT ssn FROM customers) u
SELECT x FROM (SELECT email, ssn FROM customers) s(x, y)
SELECT y || '' FROM (SELECT email, ssn FROM customers) s(x, y)
SELECT b || '' FROM customers AS c(a, n, b)
WITH a AS (SELECT email x FROM customers), b AS (SELECT x || '' y FROM a), c AS (SELECT upper(y) z FROM b) SELECT z FROM c
WITH RECURSIVE a AS (SELECT x FROM b), b AS (SELECT email || '' AS x FROM customers) SELECT x || '' FROM a
WITH RECURSIVE r(n, v) AS (SELECT 1, '' UNION ALL SELECT n + 1, (SELECT email FROM customers LIMIT 1) FROM r WHERE n < 3) SELECT v FROM r
WITH RECURSIVE r(n, v, w) AS (SELECT 1, email, '' FROM customers UNION ALL SELECT n + 1, '', v FROM r WHERE n < 2) SELECT w FROM r
WITH orders AS (SELECT email AS item FROM customers) SELECT item || '' FROM orders
WITH RECURSIVE t AS (SELECT id, email FROM customers UNION SELECT id, email FROM t WHERE id < 0) SEARCH DEPTH FIRST BY email SET o SELECT o FROM t
SELECT (SELECT string_agg(x.email, ',') FROM customers x WHERE x.id = o.customer) FROM orders o
SELECT o.item || (SELECT c.ssn FROM customers c WHERE c.id = o.customer) FROM orders o
SELECT ARRAY(SELECT c.email || '' FROM customers c WHERE c.id = o.id) FROM orders o
SELECT id FROM orders WHERE item = (SELECT email::int::text FROM customers LIMIT 1)
SELECT j.email || '' FROM (customers c JOIN orders o ON o.customer = c.id) AS j
SELECT email || '' FROM customers JOIN vips USING (id, email)
SELECT x.email || '' FROM customers a JOIN customers b USING (email) AS x
SELECT coalesce(a.email, b.email) FROM customers a FULL JOIN vips b ON a.id = b.id
SELECT email || '' FROM customers TABLESAMPLE BERNOULLI (100)
SELECT x.c FROM XMLTABLE('/r' PASSING (SELECT xmlelement(name r, email) FROM customers LIMIT 1) COLUMNS c text PATH '.') x
SELECT u FROM ROWS FROM (unnest((SELECT array_agg(email) FROM customers)), generate_series(1, 2)) AS u(a, b)
SELECT u.a FROM ROWS FROM (unnest((SELECT array_agg(ssn) FROM customers))) WITH ORDINALITY AS u(a, n)
SELECT email || '' FROM ONLY public.customers c ORDER BY 1 FETCH FIRST 2 ROWS WITH TIES
SELECT DISTINCT ON (email) email || '', ssn || '' FROM customers
SELECT email || '' FROM customers GROUP BY GROUPING SETS ((email), ())
VALUES ((SELECT ssn FROM customers LIMIT 1)), ('x')
TABLE outer_contacts
-- views and functions
SELECT upper(contact), o.contact || '' FROM outer_contacts o
SELECT row_to_json(o) FROM outer_contacts o
SELECT count(*), max(ssn) FROM kept_contacts
SELECT p || '' FROM peeked
SELECT peek()
SELECT * FROM peek()
SELECT upper(peek())
SELECT id FROM customers WHERE peek()::int = 1
SELECT set_config('app.x', peek(), false)
SELECT current_setting('app.x')
SELECT pg_notify('c', peek())
INSERT INTO orders VALUES (700, 1, 1, peek())
UPDATE orders SET item = peek() WHERE id = 1
ALTER TABLE orders ALTER COLUMN item SET DEFAULT peek()
ALTER TABLE orders ALTER COLUMN item TYPE text USING peek()
CREATE TABLE stolen AS SELECT peek() AS x
CREATE INDEX leaky ON orders ((item || peek()))
SELECT pg_advisory_lock(replace(ssn, '-', '')::bigint) FROM customers
-- writes
INSERT INTO orders (id, item) SELECT 800 + id, email FROM customers RETURNING item || ''
INSERT INTO orders VALUES (801, 1, 1, (SELECT ssn FROM customers LIMIT 1))
INSERT INTO orders SELECT 802, 1, 1, c.x FROM (SELECT email || '' AS x FROM customers LIMIT 1) c
INSERT INTO orders VALUES (803, 1, 1, 'x') ON CONFLICT (id) DO UPDATE SET item = (SELECT email FROM customers LIMIT 1)
INSERT INTO customers (id, email) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET notes = customers.email RETURNING notes
UPDATE customers SET (name, notes) = (email, ssn) RETURNING name
UPDATE customers SET (name, notes) = (SELECT email, ssn FROM customers LIMIT 1)
UPDATE customers c SET name = v.level::text || v.email FROM vips v
WITH w AS (UPDATE customers SET notes = notes WHERE id = 2 RETURNING email || '' AS x) SELECT x FROM w
WITH w AS (UPDATE orders SET item = (SELECT ssn FROM customers LIMIT 1) RETURNING 1) SELECT 1
SELECT * FROM customers WHERE id = 2 FOR UPDATE
DELETE FROM orders USING customers c WHERE c.id = orders.id AND orders.id = 19 RETURNING c.email, c.ssn || ''
SELECT email || '' AS x INTO TEMP stolen FROM customers
CREATE TEMP VIEW stolen AS SELECT c FROM customers c
CREATE MATERIALIZED VIEW stolen AS SELECT ssn || '' AS x FROM customers
-- names and encodings of the text
SELECT E'x' || email FROM customers
SELECT $$x$$ || email FROM "public"."customers"
SELECT email OPERATOR(pg_catalog.||) '' FROM customers
SELECT pg_catalog.upper(customers.email) FROM public.customers
SELECT/**/upper(/**/email/**/)/**/FROM/**/customers
SELECT U&"!0065mail" UESCAPE '!' || '' FROM customers
-- cursors and prepared statements
PREPARE q (int) AS SELECT email || '', ssn FROM customers WHERE id > $1
EXECUTE q(0)
CREATE TABLE stolen AS EXECUTE q(0)
EXPLAIN ANALYZE EXECUTE q(0)
DEALLOCATE ALL
PREPARE q AS INSERT INTO orders SELECT 900, 1, 1, email FROM customers LIMIT 1
EXECUTE q
DEALLOCATE ALL
DECLARE h CURSOR WITH HOLD FOR SELECT email || '', ssn FROM customers
FETCH 2 FROM h
FETCH ALL FROM h
CLOSE h
BEGIN
DECLARE m NO SCROLL CURSOR FOR SELECT row_to_json(c) FROM customers c
FETCH NEXT FROM m
SAVEPOINT s
CLOSE m
DECLARE m CURSOR FOR SELECT id::text FROM orders
ROLLBACK TO s
FETCH NEXT FROM m
ROLLBACK
-- cursors that are older than what their columns are now
DECLARE older CURSOR WITH HOLD FOR SELECT email FROM customers
BEGIN
ALTER TABLE customers DROP COLUMN email CASCADE
FETCH ALL FROM older
ROLLBACK
FETCH ALL FROM older
CLOSE older
BEGIN
DECLARE older CURSOR FOR SELECT contact FROM contacts
CREATE OR REPLACE VIEW contacts AS SELECT id, item AS contact FROM orders
FETCH ALL FROM older
ROLLBACK
-- COPY
COPY customers (id, ssn) TO STDOUT (DELIMITER '|', NULL 'nil')
COPY customers TO STDOUT (FORMAT csv, HEADER, QUOTE '''', ESCAPE '/', FORCE_QUOTE *)
COPY (SELECT c FROM customers c) TO STDOUT
COPY (SELECT email || '', upper(ssn) FROM customers) TO STDOUT (FORMAT binary)
COPY (DELETE FROM customers WHERE id = 18 RETURNING email, ssn || '') TO STDOUT
COPY (SELECT * FROM outer_contacts) TO STDOUT (FORMAT csv, DELIMITER '@')
COPY (SELECT email FROM customers) TO STDOUT (ENCODING 'SQL_ASCII')
COPY kept_contacts TO STDOUT
COPY vips TO STDOUT WITH CSV
COPY customers TO '/tmp/stolen'
COPY customers TO PROGRAM 'cat'
-- statistics and the server's own
SELECT stavalues1::text, stavalues2::text FROM pg_statistic
SELECT array_to_string(most_common_vals::text::text[], ',') FROM pg_stats
SELECT s FROM pg_stats s
SELECT most_common_vals FROM pg_stats_ext
SELECT pg_stat_get_activity(NULL)
SELECT * FROM pg_stat_get_activity(NULL)
SELECT query || '' FROM pg_stat_activity
SELECT data FROM pg_largeobject
SELECT lo_get(1)
SELECT pg_read_file('postgresql.conf')
SELECT cursor_to_xml('k', 1, true, false, '')
SELECT ts_stat('SELECT to_tsvector(email) FROM customers')
SELECT query_to_xml_and_xmlschema('SELECT ssn FROM customers', true, false, '')
-- leaving the tree, other types, other names
ALTER TABLE vips NO INHERIT customers
SELECT email || '' FROM vips
SELECT email FROM vips
ALTER TABLE vips INHERIT customers
ALTER TABLE customers ALTER COLUMN ssn TYPE char(11)
SELECT ssn, ssn || '' FROM customers
ALTER TABLE customers RENAME COLUMN notes TO remarks
SELECT remarks, ssn FROM customers
ALTER TABLE customers RENAME TO moved
CREATE TABLE customers (id int, email text, ssn text)
SELECT email || '' FROM moved
SELECT ssn FROM moved
SELECT m FROM moved m
DROP TABLE customers
ALTER TABLE moved RENAME TO customers
ALTER TABLE customers RENAME COLUMN remarks TO notes
-- errors of statements that do not name the table: what goes over every table,
-- views whose conditions read it, foreign keys that lead there
CREATE STATISTICS trap ON (email::int), id FROM customers
ANALYZE
VACUUM ANALYZE
DROP STATISTICS trap
CREATE VIEW trap AS SELECT id FROM customers WHERE email::int > 0
SELECT * FROM trap
SELECT count(*) FROM trap
CREATE VIEW trap_of_trap AS SELECT id + 1 AS n FROM trap
SELECT n FROM trap_of_trap
COPY (SELECT n FROM trap_of_trap) TO STDOUT
DROP VIEW trap CASCADE
CREATE TABLE parents (id int PRIMARY KEY)
INSERT INTO parents SELECT id FROM customers
ALTER TABLE customers ADD CONSTRAINT child FOREIGN KEY (id) REFERENCES parents ON UPDATE CASCADE ON DELETE SET NULL
DELETE FROM parents WHERE id = 11
ALTER TABLE customers ADD CONSTRAINT small CHECK (id < 5000) NOT VALID
UPDATE parents SET id = id + 5000 WHERE id = 12
ALTER TABLE customers DROP CONSTRAINT small, DROP CONSTRAINT child
DROP TABLE parents
-- columns that the server fills with masked ones
CREATE TABLE copies (id int NOT NULL, name text, email text UNIQUE, ssn text, notes text, born date, copy text GENERATED ALWAYS AS (email || '') STORED)
CREATE TABLE copied (e text REFERENCES copies (email) ON UPDATE CASCADE)
CREATE VIEW copied_view AS SELECT e || '' AS e FROM copied
ALTER TABLE copies INHERIT customers
INSERT INTO copies (id, email) SELECT id, email || '' FROM ONLY customers WHERE id < 4
INSERT INTO copies (id, email) VALUES (77, 'mine')
INSERT INTO copied VALUES ('mine')
UPDATE copies SET email = 'x' || c.email FROM ONLY customers c WHERE c.id = 6 AND copies.email = 'mine'
SELECT copy FROM copies
SELECT copy || '', upper(copy) FROM copies
SELECT e FROM copied
SELECT e || '' FROM copied
SELECT * FROM copied_view
ALTER TABLE copies ALTER COLUMN copy DROP EXPRESSION
ALTER TABLE copied DROP CONSTRAINT copied_e_fkey
SELECT copy, copy || '' FROM copies
SELECT e, e || '' FROM copied
INSERT INTO orders SELECT 1000, 1, 1, e FROM copied
INSERT INTO orders SELECT 1001, 1, 1, copy FROM copies LIMIT 1
DROP TABLE copied CASCADE
DROP TABLE copies CASCADE
SELECT attmissingval::text FROM pg_attribute WHERE attrelid = 'customers'::regclass
