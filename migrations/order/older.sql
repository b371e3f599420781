-- For tests only, and no migration: makes everything forty days older, as a superuser, so that retention finds old rows. The
-- ids of orders contain their time, so they change too.

set session_replication_role = replica;
create function pg_temp.older(id uuid) returns uuid language sql as $$
    select (lpad(to_hex(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint - 40 * 86400000::bigint), 12, '0')
            || substr(replace(id::text, '-', ''), 13))::uuid
$$;
update orders
   set id = pg_temp.older(id), created_at = created_at - interval '40 days',
       updated_at = updated_at - interval '40 days', review_at = review_at - interval '40 days';
update order_lines set order_id = pg_temp.older(order_id);
update payments set order_id = pg_temp.older(order_id), authorised_at = authorised_at - interval '40 days';
update idempotency_keys
   set order_id = pg_temp.older(order_id), created_at = created_at - interval '40 days',
       deadline = deadline - interval '40 days', unknown_since = unknown_since - interval '40 days';
drop function pg_temp.older;
set session_replication_role = origin;
