CREATE ROLE app LOGIN PASSWORD :'password';
CREATE DATABASE shop OWNER app;
\connect shop
SET ROLE app;
CREATE TABLE customers (
    id      integer PRIMARY KEY,
    name    text NOT NULL,
    email   text NOT NULL,
    ssn     text NOT NULL,
    city    text NOT NULL
);
INSERT INTO customers VALUES
    (1, 'Ada Example',   'ada@example.com',   '078-05-1120', 'London'),
    (2, 'Grace Example', 'grace@example.com', '219-09-9999', 'New York'),
    (3, 'Alan Example',  'alan@example.com',  '457-55-5462', 'Manchester');
CREATE TABLE orders (
    id          integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    item        text NOT NULL,
    cents       integer NOT NULL
);
INSERT INTO orders VALUES (1, 1, 'notebook', 1250), (2, 1, 'pencil', 120), (3, 2, 'lamp', 4900);
