SET ROLE app;
CREATE TABLE bulk AS
    SELECT i AS id, 'customer-' || i AS name, 'person-' || i || '@example.com' AS email, md5(i::text) AS note
    FROM generate_series(1, 100000) AS i;
CREATE TABLE bulk_masked AS SELECT * FROM bulk;
RESET ROLE;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
