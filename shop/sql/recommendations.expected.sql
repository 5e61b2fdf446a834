-- The expected rows of the table `recommendations` while all orders are of one span of days, so that all weigh alike: for
-- each product the five others that are in most orders with it, and the five categories of these.
WITH bought AS (
  SELECT DISTINCT order_id, (item ->> 'product_id')::int AS product_id
  FROM new_orders, jsonb_array_elements(items) AS item WHERE status <> 'cancelled'
), pairs AS (
  SELECT a.product_id, b.product_id AS other, count(*) AS orders
  FROM bought a JOIN bought b USING (order_id) WHERE a.product_id <> b.product_id GROUP BY 1, 2
), others AS (
  SELECT *, row_number() OVER (PARTITION BY product_id ORDER BY orders DESC, other) AS rank FROM pairs
), sums AS (
  SELECT pairs.product_id, category, sum(orders) AS orders
  FROM pairs JOIN products ON products.product_id = other GROUP BY 1, 2
), categories AS (
  SELECT *, row_number() OVER (PARTITION BY product_id ORDER BY orders DESC, category COLLATE "C") AS rank FROM sums
)
SELECT product_id,
       (SELECT jsonb_agg(other ORDER BY rank) FROM others WHERE others.product_id = products.product_id AND rank <= 5) AS others,
       (SELECT jsonb_agg(category ORDER BY rank) FROM categories
        WHERE categories.product_id = products.product_id AND rank <= 5) AS categories
FROM products
WHERE product_id IN (SELECT product_id FROM pairs)
