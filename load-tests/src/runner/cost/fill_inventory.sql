-- Reservations $1 to $2 of the past: confirmed, of one unit each, for 1,000 SKUs, over the last day.
with reservation as materialized (
    select n, now() - interval '20 hours' + interval '19 hours' * (n::float8 / $3) as at,
           'filled-' || n % 1000 as sku
      from generate_series($1::bigint, $2) as n
), identified as materialized (
    select n, at, sku,
           overlay(md5('r' || n)::uuid::text placing left(first_id_at(at)::text, 13) || '-7' from 1 for 15)::uuid as id,
           overlay(md5('o' || n)::uuid::text placing left(first_id_at(at)::text, 13) || '-7' from 1 for 15)::uuid as order_id
      from reservation
), reservations_filled as (
    insert into reservations (id, order_id, status, strategy, fingerprint, created_at, expires_at)
    select id, order_id, 'confirmed', 'redlock-fenced', sku || 'x1', at, at + interval '15 minutes' from identified
), lines_filled as (
    insert into reservation_lines (reservation_id, sku, quantity, fencing_token) select id, sku, 1, n from identified
)
insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id, at)
select sku, -1, 1, 0, n, 'reserve', id, at from identified order by n
