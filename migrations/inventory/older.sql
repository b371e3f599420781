-- For tests only, and no migration: makes everything forty days older, as a superuser, so that retention finds old rows. The
-- ids of reservations and orders contain their time, so they change too.

set session_replication_role = replica;
create function pg_temp.older(id uuid) returns uuid language sql as $$
    select (lpad(to_hex(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint - 40 * 86400000::bigint), 12, '0')
            || substr(replace(id::text, '-', ''), 13))::uuid
$$;
update reservations
   set id = pg_temp.older(id), order_id = pg_temp.older(order_id),
       created_at = created_at - interval '40 days', expires_at = expires_at - interval '40 days';
update reservation_lines set reservation_id = pg_temp.older(reservation_id);
update stock_ledger set reservation_id = pg_temp.older(reservation_id), at = at - interval '40 days';
update fence_refusals set order_id = pg_temp.older(order_id), at = at - interval '40 days';
drop function pg_temp.older;
set session_replication_role = origin;
