-- The web shop's own database: the source. Debezium captures its three tables as shop.public.<table>.

CREATE TABLE products (
  product_id        int PRIMARY KEY,
  name              text NOT NULL,
  category          text NOT NULL,
  price             numeric(10,2) NOT NULL,
  -- The pieces in the warehouse at the last stocktaking; later sales and deliveries are in the other two tables.
  stock             int NOT NULL,
  -- Below the threshold this quantity of the product is ordered.
  reorder_threshold int NOT NULL,
  reorder_quantity  int NOT NULL
);

-- One row per order; its items are a JSON array of {product_id, qty, unit_price}.
CREATE TABLE new_orders (
  order_id      bigint PRIMARY KEY,
  customer_id   int NOT NULL,
  customer_name text,
  email         text,
  phone         text,
  ship_address  jsonb,
  items         jsonb NOT NULL DEFAULT '[]',
  status        text NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'paid', 'shipped', 'cancelled')),
  total         numeric(12,2) NOT NULL,
  currency      char(3) NOT NULL DEFAULT 'EUR',
  gift          boolean NOT NULL DEFAULT false,
  note          text,
  tags          text[],
  ordered_on    date,
  ordered_at    timestamptz NOT NULL DEFAULT now(),
  local_ts      timestamp(6),
  local_ts3     timestamp(3),
  slot          time,
  trace_id      uuid,
  version       int NOT NULL DEFAULT 1
);
-- Updates and deletes carry the whole row as it was before, and large values that did not change.
ALTER TABLE new_orders REPLICA IDENTITY FULL;

-- Deliveries to the warehouse.
CREATE TABLE restocks (
  restock_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  product_id   int NOT NULL REFERENCES products,
  quantity     int NOT NULL CHECK (quantity > 0),
  restocked_at timestamptz NOT NULL DEFAULT now()
);
-- Their records are keyed by product (message.key.columns of the connector): a delete, too, has to know it.
ALTER TABLE restocks REPLICA IDENTITY FULL;

-- The connector may read the tables, and follow their changes. It needs no superuser.
CREATE ROLE shop_cdc LOGIN REPLICATION;
GRANT SELECT ON products, new_orders, restocks TO shop_cdc;
CREATE PUBLICATION shop FOR TABLE products, new_orders, restocks;

INSERT INTO products
SELECT id, 'Product ' || id, (ARRAY['books', 'garden', 'kitchen', 'music', 'office', 'toys'])[1 + id % 6],
       (100 + id * 37 % 9900) / 100.0, 30 + id % 40, 20 + id % 15, 100 + id % 50
FROM generate_series(1, 900) AS id;
-- Each was delivered once.
INSERT INTO restocks (product_id, quantity) SELECT product_id, 5 + product_id % 10 FROM products;
