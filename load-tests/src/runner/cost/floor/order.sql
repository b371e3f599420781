-- One order of one unit, for one of :skus SKUs: what both services write for it, each row once, in one transaction. The row
-- of the SKU is written last, so that it is locked for as short a time as can be.
\set sku random(1, :skus)
\set order random(1, 9000000000000000000)
begin;
insert into orders (id, customer, status, strategy, idempotency_key, reservation, review_at)
values (md5(:order::text)::uuid, 'customer-17', 'held', 'atomic', :order::text,
        '{"reservation_id": "0199a1b2-0000-7000-8000-000000000000", "status": "held", "lines": [{"sku": "sku-1", "quantity": 1}]}',
        now() + interval '15 minutes');
insert into order_lines (order_id, sku, quantity) values (md5(:order::text)::uuid, 'sku-' || :sku, 1);
insert into idempotency_keys (scope, key, fingerprint, order_id, state, status_code, content_type, location, body)
values ('place-order', :order::text, sha256(:order::text::bytea), md5(:order::text)::uuid, 'done', 201, 'application/json',
        '/v1/orders/' || md5(:order::text)::uuid, convert_to(repeat('x', 400), 'UTF8'));
insert into payments (order_id, state, settled_at) values (md5(:order::text)::uuid, 'captured', now());
insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
values (md5('r' || :order)::uuid, md5(:order::text)::uuid, 'held', 'atomic', 'sku-1x1', now() + interval '15 minutes');
insert into reservation_lines (reservation_id, sku, quantity) values (md5('r' || :order)::uuid, 'sku-' || :sku, 1);
with taken as (
    update stock set available = available - 1, version = version + 1
     where sku = 'sku-' || :sku and available >= 1 returning sku, available
)
insert into stock_ledger (sku, delta, before, after, kind, reservation_id)
select sku, -1, available + 1, available, 'reserve', md5('r' || :order)::uuid from taken;
commit;
