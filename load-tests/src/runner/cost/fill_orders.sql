-- Orders $1 to $2 of the past: confirmed and paid for, of one unit each, over the last day. No key has expired yet.
with identified as materialized (
    select n, 'filled-' || n % 1000 as sku, at,
           overlay(md5('o' || n)::uuid::text placing left(first_id_at(at)::text, 13) || '-7' from 1 for 15)::uuid as id
      from generate_series($1::bigint, $2) as n
           cross join lateral (select now() - interval '20 hours' + interval '19 hours' * (n::float8 / $3) as at) as made
), orders_filled as (
    insert into orders (id, customer, status, strategy, idempotency_key, reservation, created_at, updated_at)
    select id, 'customer-' || n, 'confirmed', 'redlock-fenced', 'filled-' || n,
           jsonb_build_object('reservation_id', id, 'order_id', id, 'status', 'confirmed', 'expires_at', at,
                              'lines', jsonb_build_array(jsonb_build_object('sku', sku, 'quantity', 1))), at, at
      from identified
), lines_filled as (
    insert into order_lines (order_id, sku, quantity) select id, sku, 1 from identified
), payments_filled as (
    insert into payments (order_id, state, authorised_at, settled_at) select id, 'captured', at, at from identified
)
insert into idempotency_keys (scope, key, fingerprint, order_id, state, deadline, status_code, content_type, location, body,
                              created_at)
select 'place-order', 'filled-' || n, sha256(n::text::bytea), id, 'done', at, 201, 'application/json', '/v1/orders/' || id,
       convert_to(repeat('x', 400), 'UTF8'), at
  from identified
