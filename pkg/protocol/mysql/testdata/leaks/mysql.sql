-- Each line is tried as a text and as a prepared statement.
SELECT email FROM customers
SELECT email AS e, ssn x, pay, doc FROM customers
SELECT * FROM customers
TABLE customers
SELECT customers.* FROM customers
SELECT c.*, o.* FROM customers c JOIN orders o ON o.customer = c.id
SELECT o.*, c.* FROM customers c JOIN orders o ON o.customer = c.id
SELECT id, c.*, email FROM customers c
SELECT *, email AS x, 1 FROM customers
SELECT shop.customers.email FROM shop.customers
SELECT `email` FROM `shop`.`customers` AS `orders`
SELECT orders.email FROM customers orders
SELECT name FROM (SELECT email AS name FROM customers) orders
SELECT * FROM (SELECT email AS name, id FROM customers) orders
SELECT * FROM (SELECT * FROM customers) d
SELECT d.* FROM (SELECT pay AS id FROM customers) d
SELECT * FROM (SELECT * FROM (SELECT ssn FROM customers) a) b
SELECT item FROM (SELECT MAX(email) AS item FROM customers) orders
WITH c AS (SELECT email FROM customers) SELECT * FROM c
WITH c AS (SELECT email AS name FROM customers) SELECT name FROM c
WITH c (name) AS (SELECT email FROM customers) SELECT * FROM c
WITH c (name, id) AS (SELECT email, pay FROM customers) SELECT name, id FROM c
WITH orders (id, customer, total, item) AS (SELECT id, pay, 1, email FROM customers) SELECT * FROM orders
WITH RECURSIVE c AS (SELECT 1 AS id, CAST('' AS char(300)) AS name UNION ALL SELECT c.id + 1, k.email FROM c JOIN customers k ON k.id = c.id WHERE c.id < 5) SELECT * FROM c
SELECT ssn FROM customers UNION SELECT email FROM customers
SELECT name FROM customers UNION ALL SELECT email FROM customers
SELECT item FROM orders UNION SELECT email FROM customers
SELECT item FROM orders INTERSECT SELECT email FROM customers
SELECT item FROM orders EXCEPT SELECT email FROM customers UNION SELECT ssn FROM customers
(SELECT item FROM orders) UNION (SELECT email FROM customers) ORDER BY 1
VALUES ((SELECT email FROM customers WHERE id = 1))
SELECT UPPER(email), LOWER(email), REVERSE(email), HEX(email), TO_BASE64(email), REVERSE(ssn), CONCAT(ssn, '') FROM customers
SELECT CONVERT(email USING utf16), CAST(email AS binary), CAST(ssn AS char(20)), email COLLATE utf8mb4_bin, BINARY email FROM customers
SELECT CONVERT(email USING ucs2), _binary 'x', CAST(pay AS char), pay + 0, pay * 1, -pay, pay | 0 FROM customers
SELECT GROUP_CONCAT(ssn), MAX(email), MIN(email), SUM(pay) / COUNT(*), AVG(pay), ANY_VALUE(email) FROM customers
SELECT GROUP_CONCAT(email SEPARATOR '') FROM customers GROUP BY id
SELECT MAX(pay), MIN(pay), BIT_OR(pay) FROM customers
SELECT JSON_OBJECT('a', email), JSON_ARRAY(email, ssn), JSON_ARRAYAGG(email), JSON_OBJECTAGG(id, ssn) FROM customers
SELECT JSON_QUOTE(email), JSON_UNQUOTE(JSON_QUOTE(email)) FROM customers
SELECT JSON_EXTRACT(doc, '$.card.code'), JSON_VALUE(doc, '$.card.code'), JSON_QUERY(doc, '$.card') FROM customers
SELECT j.* FROM customers, JSON_TABLE(doc, '$' COLUMNS (x varchar(50) PATH '$.card.code')) j
SELECT j.x FROM customers, JSON_TABLE(JSON_ARRAY(email), '$[*]' COLUMNS (x varchar(250) PATH '$')) j
SELECT (SELECT ssn FROM customers LIMIT 1)
SELECT (SELECT email FROM customers WHERE id = o.customer) AS item FROM orders o
SELECT item, (SELECT MAX(email) FROM customers) FROM orders
SELECT CASE WHEN 1 THEN ssn END, IF(1, email, ''), IFNULL(email, ''), COALESCE(NULL, ssn), NULLIF(email, ''), GREATEST(email, ''), LEAST(email, 'zzz') FROM customers
SELECT DISTINCT email FROM customers ORDER BY email
SELECT FIRST_VALUE(email) OVER (ORDER BY id), LAG(email) OVER (ORDER BY id), NTH_VALUE(ssn, 1) OVER (ORDER BY id) FROM customers
SELECT email FROM customers GROUP BY email WITH ROLLUP
SELECT email FROM customers PROCEDURE ANALYSE()
SELECT email INTO @x FROM customers LIMIT 1; SELECT @x
SELECT @y := email FROM customers; SELECT @y
SELECT id, @z := ssn FROM customers WHERE id = 1; SELECT @z
SET @w = (SELECT email FROM customers LIMIT 1); SELECT @w
SET SESSION max_join_size = (SELECT pay FROM customers LIMIT 1); SELECT @@max_join_size
SET SESSION max_join_size = 5, @k = (SELECT pay FROM customers LIMIT 1); SELECT @k
SET @w := (SELECT MAX(pay) FROM customers); SELECT @w
DO @q := (SELECT email FROM customers LIMIT 1); SELECT @q
SELECT @x, @y, @z, @w, @q
SELECT SUBSTRING_INDEX(email, '', 1), LEFT(ssn, 100), MID(email, 1, 100), TRIM(email), REPLACE(email, 'x1', ''), LPAD(email, 300, ' ') FROM customers
SELECT email FROM contacts
SELECT contact FROM contacts
SELECT * FROM contacts
SELECT * FROM outer_contacts
SELECT contact AS id FROM outer_contacts
SELECT item2 FROM joined
SELECT * FROM joined
SELECT a FROM renamed
SELECT * FROM renamed
SELECT name FROM kept
SELECT * FROM kept
SELECT k.name AS item FROM kept k
SELECT * FROM spilled
SELECT spill()
CALL pour()
SELECT * FROM other.far
SELECT email AS id FROM other.far
CREATE VIEW mine AS SELECT email AS m FROM customers; SELECT m FROM mine; SELECT * FROM mine
CREATE TABLE stolen AS SELECT email FROM customers; SELECT * FROM stolen
CREATE TEMPORARY TABLE stolen2 SELECT ssn AS id FROM customers; SELECT * FROM stolen2
CREATE TABLE stolen3 LIKE customers; INSERT INTO stolen3 SELECT * FROM customers; SELECT * FROM stolen3
CREATE TABLE stolen4 (x text) AS SELECT ssn AS x FROM customers; SELECT x FROM stolen4
INSERT INTO codes SELECT id, email FROM customers; SELECT * FROM codes
INSERT INTO codes (code) VALUES ((SELECT email FROM customers LIMIT 1)); SELECT code FROM codes
REPLACE INTO codes SELECT id, ssn FROM customers; SELECT code FROM codes
INSERT INTO codes SET code = (SELECT ssn FROM customers LIMIT 1); SELECT code FROM codes
INSERT INTO orders (id, item) SELECT id + 100, email FROM customers ON DUPLICATE KEY UPDATE item = VALUES(item); SELECT item FROM orders
INSERT INTO customers (id, email) SELECT 1, 'x' FROM orders ON DUPLICATE KEY UPDATE name = email; SELECT name FROM customers
INSERT INTO customers (id, name, email) VALUES (1, '', 'x') ON DUPLICATE KEY UPDATE name = customers.email
UPDATE customers SET name = email; SELECT name FROM customers
UPDATE customers SET name = CONCAT(ssn, ''), notes = pay; SELECT name, notes FROM customers
UPDATE orders o JOIN customers c ON c.id = o.customer SET o.item = c.email; SELECT item FROM orders
UPDATE orders SET item = (SELECT email FROM customers WHERE id = customer); SELECT item FROM orders
UPDATE customers SET email = ssn, ssn = email WHERE id = 3; SELECT * FROM customers
UPDATE customers SET doc = JSON_OBJECT('x', JSON_VALUE(doc, '$.card.code')); SELECT doc FROM customers
DELETE FROM customers WHERE id = 20 RETURNING email, ssn
DELETE FROM customers WHERE id = 19 RETURNING *
DELETE FROM customers WHERE id = 18 RETURNING CONCAT(email)
INSERT INTO customers (id, name, email, ssn) VALUES (30, 'n', 'none', 'none') RETURNING (SELECT c.email FROM customers c WHERE c.id = 1)
REPLACE INTO customers (id, name) SELECT 31, email FROM customers WHERE id = 1 RETURNING name
EXPLAIN SELECT * FROM customers WHERE id = 1
EXPLAIN EXTENDED SELECT email FROM customers WHERE id = 1; SHOW WARNINGS
ANALYZE FORMAT=JSON SELECT * FROM customers WHERE email > (SELECT MIN(email) FROM customers)
SELECT * FROM customers WHERE ssn > 5; SHOW WARNINGS
SELECT CAST(email AS int) FROM customers; SHOW WARNINGS; SHOW ERRORS
SHOW WARNINGS
SELECT EXTRACTVALUE(1, CONCAT(0x7e, (SELECT email FROM customers LIMIT 1)))
SELECT UPDATEXML(1, CONCAT(0x7e, (SELECT ssn FROM customers LIMIT 1)), 1)
SELECT id FROM customers WHERE EXTRACTVALUE(1, CONCAT(0x7e, ssn))
SELECT 1 FROM orders WHERE EXTRACTVALUE(1, CONCAT(0x7e, (SELECT ssn FROM customers LIMIT 1)))
SHOW TABLES WHERE EXTRACTVALUE(1, CONCAT(0x7e, (SELECT ssn FROM customers LIMIT 1)))
SHOW COLUMNS FROM customers WHERE EXTRACTVALUE(1, CONCAT(0x7e, (SELECT ssn FROM customers LIMIT 1)))
INSERT INTO codes (code) SELECT email FROM customers; INSERT INTO codes (code) SELECT email FROM customers
INSERT INTO customers (id, email) SELECT id + 100, email FROM customers
UPDATE customers SET email = (SELECT email FROM (SELECT email FROM customers LIMIT 1) x)
INSERT INTO customers (id, pay) SELECT 200, email FROM customers LIMIT 1
ALTER TABLE customers ADD UNIQUE u (ssn)
ALTER TABLE customers MODIFY email int
CREATE UNIQUE INDEX twice ON customers (ssn)
ALTER TABLE customers RENAME COLUMN email TO mail; SELECT mail FROM customers
ALTER TABLE customers CHANGE email mail varchar(200); SELECT * FROM customers
ALTER TABLE customers RENAME TO clients; SELECT * FROM clients
RENAME TABLE customers TO clients; SELECT * FROM clients
ALTER TABLE customers ADD COLUMN copy varchar(200) AS (email); SELECT copy FROM customers
ALTER TABLE customers ADD COLUMN copy2 varchar(200) DEFAULT (email)
CREATE TRIGGER steal BEFORE UPDATE ON customers FOR EACH ROW SET NEW.name = OLD.email
CREATE FUNCTION f2() RETURNS text RETURN (SELECT email FROM customers LIMIT 1); SELECT f2()
CREATE PROCEDURE p2() SELECT email FROM customers; CALL p2()
CREATE EVENT e2 ON SCHEDULE EVERY 1 DAY DO INSERT INTO codes SELECT id, email FROM customers
BEGIN NOT ATOMIC SELECT email FROM customers; END
EXECUTE IMMEDIATE 'SELECT email FROM customers'
PREPARE s FROM 'SELECT email FROM customers'; EXECUTE s
PREPARE s FROM 'SELECT email AS id FROM customers UNION SELECT ssn FROM customers'; EXECUTE s; DEALLOCATE PREPARE s
SET @t = 'SELECT email FROM customers'; PREPARE s FROM @t; EXECUTE s
HANDLER customers OPEN; HANDLER customers READ FIRST; HANDLER customers CLOSE
HANDLER customers OPEN AS orders; HANDLER orders READ FIRST
HANDLER customers READ `PRIMARY` FIRST
CHECKSUM TABLE customers EXTENDED
SELECT * FROM mysql.column_stats
SELECT min_value, max_value, histogram FROM mysql.column_stats
SELECT DECODE_HISTOGRAM(hist_type, histogram) FROM mysql.column_stats
SELECT * FROM mysql.global_priv
SELECT INFO FROM information_schema.PROCESSLIST
SELECT * FROM information_schema.INNODB_TRX
SELECT SQL_TEXT FROM performance_schema.events_statements_history
SELECT * FROM performance_schema.events_statements_current
SELECT LOAD_FILE('/etc/passwd')
SELECT email FROM customers INTO OUTFILE '/tmp/sluice-stolen.txt'
SELECT email FROM customers LIMIT 1 INTO DUMPFILE '/tmp/sluice-stolen.bin'
LOAD DATA INFILE '/tmp/sluice-stolen.txt' INTO TABLE codes (code)
SELECT email FROM customers FOR UPDATE
SELECT SQL_CALC_FOUND_ROWS email FROM customers LIMIT 1; SELECT FOUND_ROWS()
SELECT LAST_INSERT_ID(pay) FROM customers LIMIT 1; SELECT LAST_INSERT_ID()
UPDATE orders SET id = LAST_INSERT_ID((SELECT pay FROM customers LIMIT 1)) WHERE id = 5; SELECT LAST_INSERT_ID()
INSERT INTO orders (id) SELECT pay FROM customers LIMIT 1; SELECT id FROM orders
SELECT SETVAL(s1, (SELECT pay FROM customers LIMIT 1))
SELECT SLEEP(pay * 0), BENCHMARK(1, email), GET_LOCK(email, 0), RELEASE_ALL_LOCKS(), MASTER_POS_WAIT(email, 1) FROM customers LIMIT 1
SELECT /*!50000 email */ FROM customers
SELECT /*M!100000 ssn */ AS id FROM customers
SELECT /*! email, */ id FROM customers
SELECT 1 /*!99999999 + 1 */, email FROM customers
SET sql_mode = 'ANSI_QUOTES'; SELECT "email" FROM customers
SET sql_mode = 'ANSI_QUOTES'
SELECT "email" FROM customers
SELECT "email", 'x' FROM "customers"
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'
SELECT 'x\', email, '' FROM customers
SET SESSION sql_mode = ''
SET NAMES gbk
SELECT '縗', email, '' FROM customers
SET NAMES utf8mb4
USE other; SELECT email FROM shop.customers
USE shop
CREATE TEMPORARY TABLE customers (id int, email varchar(200)); SELECT * FROM customers; DROP TEMPORARY TABLE customers
CREATE TEMPORARY TABLE contacts (id int, contact text); DROP TEMPORARY TABLE contacts; SELECT * FROM contacts
CREATE TEMPORARY TABLE codes (id int, code text); INSERT INTO codes SELECT id, email FROM customers; SELECT * FROM codes
SELECT customers.email FROM customers NATURAL JOIN orders
SELECT * FROM customers NATURAL LEFT JOIN orders
SELECT * FROM orders JOIN customers USING (id)
SELECT a.name FROM customers a, LATERAL (SELECT a.email AS name) b
SELECT b.* FROM orders a, (SELECT email FROM customers) b
SELECT EMAIL, SSN, Pay FROM CUSTOMERS
SELECT NAME_CONST('item', email) FROM customers
SELECT REGEXP_REPLACE(email, 'zzz', ''), REGEXP_SUBSTR(email, '.*'), INSERT(email, 1, 0, ''), EXPORT_SET(1, email, '') FROM customers
SELECT COMPRESS(email), AES_ENCRYPT(email, 'k'), MD5(email), QUOTE(email), CHAR(ASCII(email)), SOUNDEX(email), FORMAT(pay, 0), CONV(pay, 10, 16) FROM customers
SELECT ELT(1, email), FIELD(email, 'x'), MAKE_SET(1, email), WEIGHT_STRING(email), COLUMN_JSON(COLUMN_CREATE('a', email)) FROM customers
SELECT UNHEX(HEX(email)), FROM_BASE64(TO_BASE64(ssn)), UNCOMPRESS(COMPRESS(email)), SEC_TO_TIME(pay), FROM_UNIXTIME(pay) FROM customers
SELECT ſsn FROM customers
SELECT CONCAT(ſsn, '') AS x FROM customers
SELECT x.ſsn FROM (SELECT ssn FROM customers) x
SELECT * FROM (SELECT CONCAT(ſsn) AS name FROM customers) x
SELECT CONCAT(x.`ſsn`) FROM (SELECT * FROM customers) x
ALTER TABLE customers RENAME COLUMN `ſsn` TO open; SELECT * FROM customers
SELECT * FROM orders UNION SELECT id, id, pay, email FROM customers
SELECT * FROM (SELECT MAX(email) FROM customers) d
SELECT * FROM (SELECT MAX(email) AS id FROM customers) d
SELECT d.*, c.id FROM (SELECT id AS email, email AS id FROM customers) d JOIN customers c ON c.id = d.email
SELECT * FROM (SELECT id AS email, email AS name FROM customers) d NATURAL JOIN (SELECT 1 AS x) e
SELECT * FROM (SELECT a.email AS id, b.* FROM customers a JOIN (SELECT 1 AS item) b) d
SELECT * FROM customers a JOIN (SELECT ssn AS note FROM customers) b
CREATE TABLE merged (id int, email varchar(200)) ENGINE=MERGE UNION=(cards); SELECT * FROM merged
SET default_storage_engine = MERGE; CREATE TABLE merged2 (id int, email varchar(200)) UNION=(cards); SELECT * FROM merged2
CREATE TABLE merged3 (id int, email varchar(200)) UNION (cards); SELECT email FROM merged3
ALTER TABLE empty_merge UNION=(cards); SELECT * FROM empty_merge
CREATE TEMPORARY TABLE merged4 (id int, email varchar(200)) ENGINE=MRG_MyISAM UNION=(shop.cards); SELECT * FROM merged4
SET default_storage_engine = InnoDB
SELECT name FROM customers GROUP BY name HAVING EXTRACTVALUE(1, CONCAT(0x7e, MAX(email)))
SELECT item FROM orders ORDER BY EXTRACTVALUE(1, CONCAT(0x7e, (SELECT email FROM customers LIMIT 1)))
SELECT 1 LIMIT 1 OFFSET 0; SELECT (SELECT email FROM customers LIMIT 1) AS `id`
SELECT orders.* FROM orders, (SELECT 1) x UNION ALL SELECT id, pay, pay, email FROM customers
SELECT * FROM (SELECT item, (SELECT email FROM customers WHERE id = o.id) AS total FROM orders o) orders
SELECT item FROM (SELECT item FROM orders UNION SELECT email FROM customers) orders
SELECT `item` FROM (SELECT email `item` FROM `customers`) AS `shop.orders`
SELECT * FROM customers PARTITION (p0)
SELECT * FROM customers USE INDEX (email) WHERE email > ''
SELECT c.email FROM orders LEFT JOIN (customers c, codes d) ON c.id = orders.id
SELECT id, (SELECT b.email FROM customers b WHERE b.id = a.id) FROM customers a
SELECT a.id FROM customers a WHERE a.id IN (SELECT LAST_INSERT_ID(pay) FROM customers); SELECT LAST_INSERT_ID()
INSERT INTO orders (id, item) VALUES (500, (SELECT email FROM customers LIMIT 1)); SELECT item FROM orders WHERE id = 500
INSERT INTO orders (id, item) WITH c AS (SELECT email FROM customers) SELECT 600, email FROM c LIMIT 1; SELECT item FROM orders WHERE id = 600
INSERT INTO orders (id, item) TABLE codes
INSERT INTO customers (id, notes) SELECT 700, email FROM contacts LIMIT 1; SELECT notes FROM customers WHERE id = 700
INSERT INTO contacts (id, contact) VALUES (800, 'x') ON DUPLICATE KEY UPDATE id = 801
UPDATE contacts SET id = 900 WHERE contact LIKE 'u1.%'
UPDATE customers c JOIN contacts k ON k.id = c.id SET c.notes = k.contact; SELECT notes FROM customers
UPDATE customers SET notes = DEFAULT(email)
CREATE OR REPLACE VIEW plain AS SELECT id, email AS name FROM customers; SELECT name FROM plain
ALTER VIEW plain AS SELECT id, ssn AS name FROM customers; SELECT * FROM plain
DROP VIEW plain; CREATE VIEW plain AS SELECT email FROM customers; SELECT * FROM plain
LOCK TABLES customers READ; SELECT email FROM customers; UNLOCK TABLES
START TRANSACTION; SELECT email FROM customers; ROLLBACK
XA START 'x'; SELECT email FROM customers; XA END 'x'; XA ROLLBACK 'x'
SET STATEMENT max_statement_time = 5 FOR SELECT email FROM customers
SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT "email" FROM customers
SELECT HIGH_PRIORITY SQL_NO_CACHE email FROM customers
SELECT STRAIGHT_JOIN email FROM customers, orders
SELECT email FROM shop.customers AS OF TIMESTAMP NOW()
SELECT * FROM customers FOR SYSTEM_TIME ALL
GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT; SELECT @m
SHOW PROFILES
SHOW BINLOG EVENTS
SHOW ENGINE INNODB STATUS
SHOW EXPLAIN FOR 1
DESCRIBE SELECT email FROM customers WHERE id = 1
EXPLAIN FORMAT=JSON UPDATE customers SET name = 'x' WHERE email = (SELECT MIN(email) FROM customers)
