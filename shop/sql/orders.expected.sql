-- The expected rows of the table `orders` of ordersdb, computed from the shop's own tables.
SELECT order_id, customer_id, status, total, currency, ordered_at,
       (SELECT coalesce(sum((item ->> 'qty')::int * (item ->> 'unit_price')::numeric), 0)
        FROM jsonb_array_elements(items) AS item)::numeric(14,2) AS order_total,
       (SELECT coalesce(sum((item ->> 'qty')::int), 0) FROM jsonb_array_elements(items) AS item)::int AS item_count
FROM new_orders
WHERE status <> 'cancelled'
