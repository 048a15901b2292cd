CREATE DATABASE shop;
USE shop;
CREATE TABLE customers (
    id      int PRIMARY KEY,
    name    varchar(100) NOT NULL,
    email   varchar(100) NOT NULL,
    ssn     varchar(20) NOT NULL,
    city    varchar(100) NOT NULL
);
INSERT INTO customers VALUES
    (1, 'Ada Example',   'ada@example.com',   '078-05-1120', 'London'),
    (2, 'Grace Example', 'grace@example.com', '219-09-9999', 'New York'),
    (3, 'Alan Example',  'alan@example.com',  '457-55-5462', 'Manchester');
CREATE TABLE orders (
    id          int PRIMARY KEY,
    customer_id int NOT NULL REFERENCES customers (id),
    item        varchar(100) NOT NULL,
    cents       int NOT NULL
);
INSERT INTO orders VALUES (1, 1, 'notebook', 1250), (2, 1, 'pencil', 120), (3, 2, 'lamp', 4900);
