-- The expected rows of the table `stock_levels`: the stocktaking, less the orders, plus the deliveries.
WITH ordered AS (
  SELECT (item ->> 'product_id')::int AS product_id, sum((item ->> 'qty')::bigint)::bigint AS pieces
  FROM new_orders, jsonb_array_elements(items) AS item WHERE status <> 'cancelled' GROUP BY 1
), delivered AS (
  SELECT product_id, sum(quantity) AS pieces FROM restocks GROUP BY 1
)
SELECT product_id, stock - coalesce(ordered.pieces, 0) + coalesce(delivered.pieces, 0) AS level, stock,
       coalesce(ordered.pieces, 0) AS sold, coalesce(delivered.pieces, 0) AS restocked, reorder_threshold
FROM products LEFT JOIN ordered USING (product_id) LEFT JOIN delivered USING (product_id)
