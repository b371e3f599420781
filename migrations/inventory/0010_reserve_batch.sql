-- Sets units aside for orders that shared a grant of locks: one fenced write for each SKU, and for each order a
-- reservation and its rows in the ledger, chained, as if the orders had been written one after the other. All or
-- nothing, like `reserve`: an order that already has a reservation rolls the batch back, and the service leaves that order
-- out of its next attempt.
-- p_stock: objects with sku, fencing_token and available, the new value. p_orders: new_reservation rows; the
-- observed_available of their lines is the number of units that the orders before left.
create function reserve_batch(p_strategy text, p_source text, p_hold_seconds bigint, p_stock jsonb, p_orders jsonb)
    returns timestamptz language plpgsql security definer set search_path = public, pg_temp as $$
declare
    hold_ends timestamptz := now() + make_interval(secs => p_hold_seconds);
    orders new_reservation[] := array(select o from jsonb_populate_recordset(null::new_reservation, p_orders) as o);
    line record;
begin
    for line in
        select s.sku, s.fencing_token, s.available
          from rows from (jsonb_to_recordset(p_stock) as (sku text, fencing_token bigint, available bigint))
               with ordinality as s (sku, fencing_token, available, n)
         order by s.n
    loop
        perform stock_write_fenced(line.sku, line.available, line.fencing_token, p_source);
    end loop;
    insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
    select o.id, o.order_id, 'held', p_strategy, o.fingerprint, hold_ends from unnest(orders) as o;
    insert into reservation_lines (reservation_id, sku, quantity, fencing_token)
    select o.id, l.sku, l.quantity, l.fencing_token
      from unnest(orders) as o cross join lateral unnest(reserve_lines(o.lines)) as l;
    insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id)
    select l.sku, -l.quantity, l.observed_available, l.observed_available - l.quantity, l.fencing_token, 'reserve', o.id
      from unnest(orders) with ordinality as o (id, order_id, fingerprint, lines, n)
           cross join lateral unnest(reserve_lines(o.lines)) as l
     order by o.n, l.sku collate "C";
    return hold_ends;
end $$;

alter function reserve_batch owner to inventory_owner;
revoke all on function reserve_batch from public;
grant execute on function reserve_batch to inventory_service;
