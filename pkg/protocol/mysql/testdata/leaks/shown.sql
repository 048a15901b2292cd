1|name1|note1 | SELECT id, name, notes FROM customers ORDER BY id
20 | SELECT COUNT(*) FROM customers
20 | SELECT COUNT(email) FROM customers
1|name1 | SELECT * FROM plain ORDER BY id
name1 | SELECT name FROM plain WHERE id = 1
NAME1 | SELECT UPPER(name) FROM customers WHERE id = 1
1|name1|[redacted]|********320|note1|NULL|{"card": {"code": "[redacted]"}, "plain": "seen"} | SELECT * FROM customers WHERE id = 1
1|[redacted] | SELECT id, contact FROM contacts WHERE id = 1
1|name1|[redacted] | SELECT c.id, d.name, d.email FROM orders c JOIN customers d ON d.id = c.customer WHERE c.id = 1
item1 | SELECT o.item FROM orders o JOIN customers c ON c.id = o.customer WHERE c.email LIKE 'u1.%'
1|1|10|item1 | SELECT * FROM orders WHERE id = 1
name1 | WITH c AS (SELECT name, email FROM customers WHERE id = 1) SELECT name FROM c
1 | SELECT d.id FROM (SELECT id, email FROM customers WHERE id = 1) d
1|name1 | SELECT d.id, d.name FROM (SELECT * FROM customers WHERE id = 1) d
5 | SELECT 2 + 3
customers | SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 'customers'
cards | SHOW TABLES
id|int(11) | SHOW COLUMNS FROM customers
id|int(11) | DESCRIBE customers
customers|CREATE TABLE | SHOW CREATE TABLE customers
1 | SELECT EXISTS (SELECT 1 FROM customers WHERE email IS NOT NULL)
utf8mb4 | SELECT @@character_set_client
item1 | SELECT item FROM orders UNION SELECT name FROM customers ORDER BY 1
20|210 | SELECT COUNT(*), SUM(id) FROM customers
1 | SELECT id FROM customers WHERE ssn IS NOT NULL ORDER BY id LIMIT 1
1|[redacted]|1|name1|[redacted] | SELECT o.id, c.email, c.* FROM customers c JOIN orders o ON o.customer = c.id WHERE o.id = 1
1|name1 | SELECT d.* FROM (SELECT id, name FROM customers WHERE id = 1) d
1|1|10|item1|1|name1|[redacted] | SELECT * FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = 1
1|[redacted] | SELECT * FROM contacts WHERE id = 1
1|[redacted] | SELECT * FROM outer_contacts WHERE id = 1
