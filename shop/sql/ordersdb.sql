-- The orders service's database: a sink connector keeps these tables. It writes, and owns nothing.

CREATE TABLE orders (
  order_id    bigint PRIMARY KEY,
  customer_id int NOT NULL,
  status      text NOT NULL,
  total       numeric(12,2) NOT NULL,
  currency    char(3) NOT NULL,
  ordered_at  timestamptz NOT NULL,
  order_total numeric(14,2) NOT NULL,
  item_count  int NOT NULL
);

-- How many of each product are left.
CREATE TABLE stock_levels (
  product_id        int PRIMARY KEY,
  level             bigint NOT NULL,
  stock             bigint NOT NULL,
  sold              bigint NOT NULL,
  restocked         bigint NOT NULL,
  reorder_threshold bigint NOT NULL
);

CREATE ROLE orders_sink LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders, stock_levels TO orders_sink;
