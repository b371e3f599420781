-- Claims and writes of several requests in one statement. Each request is a claim or a write of its own, as if they had
-- been made one after the other: the conditions are those of 0002_protocol.sql, in its functions. A request of which
-- somebody has locked a row is left out, so that one SKU never delays another; the service makes it alone. A refusal
-- rolls all of them back, and the service makes each alone.

-- Locks the rows of the requests that can be locked without waiting, and returns the requests of which one cannot: it is
-- locked by another transaction, or it does not exist.
create function stock_busy_requests(p_requests integer[], p_skus text[])
    returns integer[] language plpgsql as $$
declare
    locked text[] := array(select s.sku from stock s where s.sku = any (p_skus) for no key update skip locked);
begin
    return array(select r.request from unnest(p_requests, p_skus) as r (request, sku) where r.sku <> all (locked));
end $$;

-- Registers the tokens of all requests but the busy ones, and returns what they protect.
create function stock_claim_shared(p_requests integer[], p_skus text[], p_tokens bigint[], p_sources text[])
    returns table (request integer, sku text, on_hand bigint, available bigint, fence bigint, version bigint)
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    busy integer[] := stock_busy_requests(p_requests, p_skus);
begin
    return query
        select l.request, c.*
          from (select * from unnest(p_requests, p_skus, p_tokens, p_sources)
                       with ordinality as l (request, sku, token, source, n)
                 where l.request <> all (busy) order by l.n) as l
               cross join lateral stock_claim(l.sku, l.token, l.source) as c;
end $$;

-- A new_reservation, with the request it belongs to.
create type shared_reservation as (
    request integer, id uuid, order_id uuid, strategy text, hold_seconds bigint, fingerprint text, lines jsonb
);

-- Writes all requests but the busy ones: for each SKU of a request the new value of its row, and the reservations, chained
-- as in reserve_batch. Returns the requests that were written and when their holds end.
create function reserve_shared(
    p_requests integer[], p_skus text[], p_tokens bigint[], p_available bigint[], p_sources text[], p_reservations jsonb
) returns table (request integer, hold_ends timestamptz)
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    busy integer[] := stock_busy_requests(p_requests, p_skus);
    reservations shared_reservation[] := array(
        select r from jsonb_populate_recordset(null::shared_reservation, p_reservations) as r
         where r.request <> all (busy));
    line record;
begin
    for line in
        select l.sku, l.token, l.available, l.source
          from unnest(p_requests, p_skus, p_tokens, p_available, p_sources) as l (request, sku, token, available, source)
         where l.request <> all (busy)
    loop
        perform stock_write_fenced(line.sku, line.available, line.token, line.source);
    end loop;
    -- In the order of the orders: two statements with the same orders cannot deadlock.
    insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
    select r.id, r.order_id, 'held', r.strategy, r.fingerprint, now() + make_interval(secs => r.hold_seconds)
      from unnest(reservations) as r order by r.order_id;
    insert into reservation_lines (reservation_id, sku, quantity, fencing_token)
    select r.id, l.sku, l.quantity, l.fencing_token
      from unnest(reservations) as r
           cross join lateral jsonb_populate_recordset(null::reserve_line, r.lines) as l;
    insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id)
    select l.sku, -l.quantity, l.observed_available, l.observed_available - l.quantity, l.fencing_token, 'reserve', r.id
      from unnest(reservations) with ordinality
               as r (request, id, order_id, strategy, hold_seconds, fingerprint, lines, n)
           cross join lateral jsonb_populate_recordset(null::reserve_line, r.lines) as l
     order by r.n, l.sku collate "C";
    return query
        select distinct r.request, now() + make_interval(secs => r.hold_seconds) from unnest(reservations) as r;
end $$;

alter function stock_busy_requests owner to inventory_owner;
alter function stock_claim_shared owner to inventory_owner;
alter function reserve_shared owner to inventory_owner;
revoke all on function stock_busy_requests, stock_claim_shared, reserve_shared from public;
grant execute on function stock_claim_shared, reserve_shared to inventory_service;
