-- The protocol: issue (at the lock), claim, write. The lock cannot guarantee mutual exclusion; these conditions do.
-- The functions that the service calls are `security definer` with a pinned search path; 0003_roles.sql revokes every
-- other way to change stock. A refusal is an exception, so that it rolls back what the statement did before:
--   HF001 stale fencing token   HF002 token source mismatch   HF003 out of stock   HF004 unknown SKU
--   HF005 below held units      HF006 stale version
-- The service recognises a refusal by these codes and reads the values from `detail`, a JSON object.

-- Rows of the parameters of `reserve` and `reserve_batch`, which arrive as JSON.
create type reserve_line as (
    sku text, quantity bigint, fencing_token bigint, observed_available bigint, observed_version bigint
);
create type new_reservation as (id uuid, order_id uuid, fingerprint text, lines jsonb);

-- Claim: the token is registered *before* stock is read. From its commit on, writes with older tokens are refused.
-- Strictly less: two holders with the same token (a lock node lost its memory) cannot both claim.
create function stock_claim(p_sku text, p_token bigint, p_source text)
    returns table (sku text, on_hand bigint, available bigint, fence bigint, version bigint)
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    return query
        update stock s
           set fence = p_token, token_source = coalesce(s.token_source, p_source)
         where s.sku = p_sku and s.fence < p_token and coalesce(s.token_source, p_source) = p_source
        returning s.sku, s.on_hand, s.available, s.fence, s.version;
    if not found then
        perform stock_refuse(p_sku, p_token, p_source);
    end if;
end $$;

-- Write: only while the token is still the latest that was claimed, and only once with it.
-- `fence = token` refuses a holder whose lease lapsed; `applied_fence < token` refuses a write that arrives twice.
create function stock_write_fenced(p_sku text, p_after bigint, p_token bigint, p_source text)
    returns void language plpgsql as $$
begin
    update stock s
       set available = p_after, applied_fence = p_token, version = s.version + 1
     where s.sku = p_sku and s.fence = p_token and s.applied_fence < p_token and s.token_source = p_source;
    if not found then
        perform stock_refuse(p_sku, p_token, p_source);
    end if;
end $$;

-- The strategies that let the database decide have no token. They increment the fence all the same, which refuses the
-- writes of earlier claims as a newer claim would. Without that, two strategies that are safe alone oversell together.

-- `atomic` and `row-lock`: enough units at the time of the write. With p_lock the row is locked and read first, as in a
-- program that decides between the two; without it, one statement checks and takes.
create function stock_take(p_sku text, p_units bigint, p_lock boolean, out after bigint, out new_fence bigint)
    language plpgsql as $$
begin
    if p_lock then
        perform from stock s where s.sku = p_sku for update;
    end if;
    update stock s
       set available = s.available - p_units,
           fence = s.fence + 1, applied_fence = s.fence + 1, version = s.version + 1
     where s.sku = p_sku and s.available >= p_units
    returning s.available, s.fence into after, new_fence;
    if not found then
        perform stock_refuse_short(p_sku);
    end if;
end $$;

-- `optimistic`: only if the row was not written since it was read.
create function stock_take_version(
    p_sku text, p_units bigint, p_version bigint, out after bigint, out new_fence bigint
) language plpgsql as $$
begin
    update stock s
       set available = s.available - p_units,
           fence = s.fence + 1, applied_fence = s.fence + 1, version = s.version + 1
     where s.sku = p_sku and s.version = p_version and s.available >= p_units
    returning s.available, s.fence into after, new_fence;
    if not found then
        perform stock_refuse_version(p_sku, p_version);
        perform stock_refuse_short(p_sku);
    end if;
end $$;

-- Raises the reason for which a token is refused.
create function stock_refuse(p_sku text, p_token bigint, p_source text)
    returns void language plpgsql as $$
declare
    current_row stock;
begin
    select * into current_row from stock s where s.sku = p_sku;
    if not found then
        perform stock_refuse_short(p_sku);
    elsif coalesce(current_row.token_source, p_source) <> p_source then
        raise exception 'token source mismatch' using errcode = 'HF002',
            detail = jsonb_build_object('sku', p_sku, 'source', p_source, 'current', current_row.token_source)::text;
    end if;
    raise exception 'stale fencing token' using errcode = 'HF001',
        detail = jsonb_build_object('sku', p_sku, 'token', p_token, 'current', current_row.fence)::text;
end $$;

-- Refuses if the version has changed.
create function stock_refuse_version(p_sku text, p_version bigint)
    returns void language plpgsql as $$
declare
    current_version bigint := (select s.version from stock s where s.sku = p_sku);
begin
    if current_version <> p_version then
        raise exception 'stale version' using errcode = 'HF006',
            detail = jsonb_build_object('sku', p_sku, 'observed', p_version, 'current', current_version)::text;
    end if;
end $$;

-- Refuses because of too few units, or because the SKU does not exist.
create function stock_refuse_short(p_sku text)
    returns void language plpgsql as $$
declare
    units bigint := (select s.available from stock s where s.sku = p_sku);
begin
    if units is null then
        raise exception 'unknown sku' using errcode = 'HF004', detail = jsonb_build_object('sku', p_sku)::text;
    end if;
    raise exception 'out of stock' using errcode = 'HF003',
        detail = jsonb_build_object('sku', p_sku, 'available', units)::text;
end $$;

-- A claim for a relative change, which adds or subtracts and so needs no snapshot: registers the token, or without one
-- locks the row and leaves the fence to the write. Either way the row is locked until the transaction ends.
create function stock_claim_or_lock(p_sku text, p_token bigint, p_source text)
    returns void language plpgsql as $$
begin
    if p_token is null then
        perform from stock s where s.sku = p_sku for update;
        return;
    end if;
    update stock s set fence = p_token where s.sku = p_sku and s.fence < p_token and s.token_source = p_source;
    if not found then
        perform stock_refuse(p_sku, p_token, p_source);
    end if;
end $$;

-- Sets the units on hand, creating the SKU if it does not exist. With a token like every write, or without one by
-- incrementing the fence; both refuse the writes of earlier claims. A new SKU has no earlier claims.
create function stock_put(p_sku text, p_on_hand bigint, p_token bigint, p_source text)
    returns table (sku text, on_hand bigint, available bigint, fence bigint, version bigint)
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    old_row stock;
    new_row stock;
begin
    insert into stock as s (sku, on_hand, available) values (p_sku, p_on_hand, p_on_hand)
        on conflict do nothing returning * into new_row;
    if not found then
        perform stock_claim_or_lock(p_sku, p_token, p_source);
        select * into old_row from stock s where s.sku = p_sku;
        if old_row.available + p_on_hand - old_row.on_hand < 0 then
            raise exception 'below held units' using errcode = 'HF005', detail =
                jsonb_build_object('sku', p_sku, 'on_hand', p_on_hand, 'held', old_row.on_hand - old_row.available)::text;
        end if;
        update stock s
           set on_hand = p_on_hand, available = s.available + p_on_hand - s.on_hand,
               fence = coalesce(p_token, s.fence + 1), applied_fence = coalesce(p_token, s.fence + 1),
               version = s.version + 1
         where s.sku = p_sku
        returning * into new_row;
    end if;
    insert into stock_ledger (sku, delta, before, after, fence, kind)
    values (p_sku, new_row.available - coalesce(old_row.available, 0), coalesce(old_row.available, 0),
            new_row.available, new_row.fence, 'put');
    return query select new_row.sku, new_row.on_hand, new_row.available, new_row.fence, new_row.version;
end $$;

-- The lines of a reservation, in their order.
create function reserve_lines(p_lines jsonb) returns reserve_line[] language sql as $$
    select array_agg((l.sku, l.quantity, l.fencing_token, l.observed_available, l.observed_version)::reserve_line
                     order by l.n)
      from jsonb_populate_recordset(null::reserve_line, p_lines) with ordinality
           as l (sku, quantity, fencing_token, observed_available, observed_version, n)
$$;

-- Sets units aside for an order: stock first, then the reservation, then the ledger, all or nothing, in one round trip.
-- p_order is a new_reservation. Its lines are sorted by SKU, so that two orders cannot deadlock.
-- p_check: 'fenced', 'version', 'row-lock', 'guard'; other values are for the laboratory (lab.sql).
create function reserve(p_strategy text, p_check text, p_source text, p_hold_seconds bigint, p_order jsonb)
    returns timestamptz language plpgsql security definer set search_path = public, pg_temp as $$
declare
    hold_ends timestamptz := now() + make_interval(secs => p_hold_seconds);
    reservation new_reservation := jsonb_populate_record(null::new_reservation, p_order);
    lines reserve_line[] := reserve_lines(reservation.lines);
    line reserve_line;
    -- The fence of each line in the ledger: its token, or what the write incremented the fence to.
    fences bigint[];
    taken record;
begin
    for i in 1 .. cardinality(lines) loop
        line := lines[i];
        if p_check in ('version', 'row-lock', 'guard') then
            if p_check = 'version' then
                select * into taken from stock_take_version(line.sku, line.quantity, line.observed_version);
            else
                select * into taken from stock_take(line.sku, line.quantity, p_check = 'row-lock');
            end if;
            line.observed_available := taken.after + line.quantity;
            lines[i] := line;
            fences[i] := taken.new_fence;
            continue;
        end if;
        fences[i] := line.fencing_token;
        if line.observed_available < line.quantity then
            raise exception 'out of stock' using errcode = 'HF003',
                detail = jsonb_build_object('sku', line.sku, 'available', line.observed_available)::text;
        elsif p_check = 'fenced' then
            perform stock_write_fenced(
                line.sku, line.observed_available - line.quantity, line.fencing_token, p_source);
        else
            perform stock_write_unsafe(
                p_check, line.sku, line.observed_available - line.quantity, line.fencing_token, p_source);
        end if;
    end loop;
    insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
    values (reservation.id, reservation.order_id, 'held', p_strategy, reservation.fingerprint, hold_ends);
    insert into reservation_lines (reservation_id, sku, quantity, fencing_token)
    select reservation.id, l.sku, l.quantity, l.fencing_token from unnest(lines) as l;
    insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id)
    select l.sku, -l.quantity, l.observed_available, l.observed_available - l.quantity, l.fence, 'reserve',
           reservation.id
      from unnest(lines, fences) as l (sku, quantity, fencing_token, observed_available, observed_version, fence);
    return hold_ends;
end $$;

-- Makes a hold final. Stock does not change: the units are never returned. False if the reservation is not held any
-- more, or if the hold has ended and was not swept yet.
create function reservation_confirm(p_id uuid)
    returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update reservations r set status = 'confirmed'
     where r.id = p_id and r.status = 'held' and r.expires_at > now();
    return found;
end $$;

-- Returns the units of whole reservations to stock, p_kind 'cancel' or 'expire', with one summed write for each SKU, and
-- returns the ids of those that ended. Reservations that are not held any more (or, to expire, whose hold has not ended)
-- are skipped. p_skus and p_tokens name the SKUs that have a lock; tokens are checked first, so that a holder whose lease
-- lapsed is refused even where nothing is left to return.
create function reservations_release(
    p_ids uuid[], p_kind text, p_source text, p_skus text[], p_tokens bigint[]
) returns setof uuid language plpgsql security definer set search_path = public, pg_temp as $$
declare
    ended uuid[];
    line record;
    new_row stock;
begin
    for line in
        select l.sku, t.token
          from (select distinct r.sku from reservation_lines r where r.reservation_id = any (p_ids)) as l
          left join unnest(p_skus, p_tokens) as t (sku, token) using (sku)
         order by l.sku
    loop
        perform stock_claim_or_lock(line.sku, line.token, p_source);
    end loop;

    with ended_now as (
        update reservations r
           set status = case p_kind when 'cancel' then 'cancelled' when 'expire' then 'expired' end
         where r.id = any (p_ids) and r.status = 'held' and (p_kind = 'cancel' or r.expires_at <= now())
        returning r.id
    )
    select array_agg(id) into ended from ended_now;

    for line in
        select l.sku, t.token, sum(l.quantity)::bigint as units
          from reservation_lines l left join unnest(p_skus, p_tokens) as t (sku, token) using (sku)
         where l.reservation_id = any (ended)
         group by l.sku, t.token order by l.sku
    loop
        update stock s
           set available = s.available + line.units,
               fence = coalesce(line.token, s.fence + 1), applied_fence = coalesce(line.token, s.fence + 1),
               version = s.version + 1
         where s.sku = line.sku
        returning * into new_row;
        insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id)
        select line.sku, l.quantity, new_row.available - line.units + l.running_sum - l.quantity,
               new_row.available - line.units + l.running_sum, new_row.fence, p_kind, l.reservation_id
          from (select r.reservation_id, r.quantity,
                       (sum(r.quantity) over (order by r.reservation_id))::bigint as running_sum
                  from reservation_lines r where r.sku = line.sku and r.reservation_id = any (ended)) as l
         order by l.reservation_id;
    end loop;
    return query select unnest(ended);
end $$;
