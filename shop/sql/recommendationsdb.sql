-- The database behind the shop's pages: a sink connector keeps this table.

-- For each product the products that are most often bought together with it, the best first.
CREATE TABLE recommendations (
  product_id int PRIMARY KEY,
  others     jsonb NOT NULL,
  categories jsonb NOT NULL
);

CREATE ROLE recommendations_sink LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON recommendations TO recommendations_sink;
