-- Tells which rows keep a release of ended holds from going on, so that the sweeper leaves their SKUs out for a while
-- instead of waiting for them again. Waits for nothing, and changes nothing.

-- The SKUs of those reservations of which another transaction has locked a row at this moment: that of the SKU, or that
-- of a reservation with it.
create function reservations_locked(p_ids uuid[]) returns setof text
language sql volatile security definer set search_path = public, pg_temp as $$
    with lines as materialized (
        select reservation_id, sku from reservation_lines where reservation_id = any (p_ids)
    ), free_reservations as (
        select id from reservations where id = any (p_ids) for update skip locked
    ), free_stock as (
        select sku from stock where sku in (select sku from lines) for update skip locked
    )
    select distinct l.sku from lines l
     where l.reservation_id not in (select id from free_reservations)
        or l.sku not in (select sku from free_stock)
$$;

alter function reservations_locked owner to inventory_owner;
revoke all on function reservations_locked from public;
grant execute on function reservations_locked to inventory_service;
