-- The protocol: issue (at the lock), claim, write. What the lock cannot promise, these conditions keep.
-- What the service calls is `security definer` with a pinned search path; 0003 takes every other way away.
-- A refusal is an exception, so that everything the statement did before is undone with it:
--   HF001 stale fencing token   HF002 token source mismatch   HF003 out of stock   HF004 unknown SKU
--   HF005 below what is held    HF006 stale version
-- `detail` carries the facts as JSON.

-- Claim: the token is registered *before* stock is read. From its commit on, older holders are shut out.
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
-- `fence = token` refuses the holder whose lease lapsed; `applied_fence < token` the write that comes twice.
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

-- The strategies that let the database decide have no token. They move the fence all the same: whoever had
-- claimed and read before is shut out, as by a newer claim. Without that, two strategies that are safe alone
-- oversell together.

-- `atomic` and `row-lock`: enough units now, whoever read what before. With p_lock the row is locked and read
-- first, as a program does that has something to decide between the two; without, one statement does both.
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

-- `optimistic`: only if nothing was written since the decision was made.
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

-- Says why a token was not good enough.
create function stock_refuse(p_sku text, p_token bigint, p_source text)
    returns void language plpgsql as $$
declare
    held stock;
begin
    select * into held from stock s where s.sku = p_sku;
    if not found then
        perform stock_refuse_short(p_sku);
    elsif coalesce(held.token_source, p_source) <> p_source then
        raise exception 'token source mismatch' using errcode = 'HF002',
            detail = jsonb_build_object('sku', p_sku, 'source', p_source, 'current', held.token_source)::text;
    end if;
    raise exception 'stale fencing token' using errcode = 'HF001',
        detail = jsonb_build_object('sku', p_sku, 'token', p_token, 'current', held.fence)::text;
end $$;

-- Refuses if the version is another one by now.
create function stock_refuse_version(p_sku text, p_version bigint)
    returns void language plpgsql as $$
declare
    current_version bigint := (select s.version from stock s where s.sku = p_sku);
begin
    if current_version <> p_version then
        raise exception 'stale version' using errcode = 'HF006',
            detail = jsonb_build_object('sku', p_sku, 'token', p_version, 'current', current_version)::text;
    end if;
end $$;

-- Too few units, or none that we know of.
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

-- A claim by somebody who needs no snapshot, because he adds and takes away without deciding on what he read:
-- registers the token, or without one locks the row and leaves the fence to the write. Either way the row is
-- ours until the transaction ends.
create function stock_hold(p_sku text, p_token bigint, p_source text)
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

-- Sets what there is, creating the SKU if need be. With a token as everybody, or without one by moving the
-- fence: whoever read before is shut out. Nobody can have read a SKU that is new.
create function stock_put(p_sku text, p_on_hand bigint, p_token bigint, p_source text)
    returns table (sku text, on_hand bigint, available bigint, fence bigint, version bigint)
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    was stock;
    now_is stock;
begin
    insert into stock as s (sku, on_hand, available) values (p_sku, p_on_hand, p_on_hand)
        on conflict do nothing returning * into now_is;
    if not found then
        perform stock_hold(p_sku, p_token, p_source);
        select * into was from stock s where s.sku = p_sku;
        if was.available + p_on_hand - was.on_hand < 0 then
            raise exception 'below what is held' using errcode = 'HF005', detail =
                jsonb_build_object('sku', p_sku, 'on_hand', p_on_hand, 'held', was.on_hand - was.available)::text;
        end if;
        update stock s
           set on_hand = p_on_hand, available = s.available + p_on_hand - s.on_hand,
               fence = coalesce(p_token, s.fence + 1), applied_fence = coalesce(p_token, s.fence + 1),
               version = s.version + 1
         where s.sku = p_sku
        returning * into now_is;
    end if;
    insert into stock_ledger (sku, delta, before, after, fence, kind)
    values (p_sku, now_is.available - coalesce(was.available, 0), coalesce(was.available, 0), now_is.available,
            now_is.fence, 'put');
    return query select now_is.sku, now_is.on_hand, now_is.available, now_is.fence, now_is.version;
end $$;

-- Sets units aside for an order: stock first, then the reservation, then the ledger, all or nothing, in one
-- round trip. Lines come sorted by SKU, so that two orders never wait for each other in a circle.
-- p_check: 'fenced', 'version', 'row-lock', 'guard'; anything else is for the laboratory (lab.sql).
create function reserve(
    p_id uuid, p_order_id uuid, p_strategy text, p_check text, p_source text, p_fingerprint text,
    p_hold_seconds bigint, p_skus text[], p_quantities bigint[], p_tokens bigint[], p_observed bigint[],
    p_versions bigint[]
) returns timestamptz language plpgsql security definer set search_path = public, pg_temp as $$
declare
    ends timestamptz := now() + make_interval(secs => p_hold_seconds);
    -- What was read and what the ledger says it was written with, line by line.
    seen bigint[] := p_observed;
    fences bigint[] := p_tokens;
    taken record;
begin
    for i in 1 .. cardinality(p_skus) loop
        if p_check in ('version', 'row-lock', 'guard') then
            if p_check = 'version' then
                select * into taken from stock_take_version(p_skus[i], p_quantities[i], p_versions[i]);
            else
                select * into taken from stock_take(p_skus[i], p_quantities[i], p_check = 'row-lock');
            end if;
            seen[i] := taken.after + p_quantities[i];
            fences[i] := taken.new_fence;
        elsif seen[i] < p_quantities[i] then
            raise exception 'out of stock' using errcode = 'HF003',
                detail = jsonb_build_object('sku', p_skus[i], 'available', seen[i])::text;
        elsif p_check = 'fenced' then
            perform stock_write_fenced(p_skus[i], seen[i] - p_quantities[i], p_tokens[i], p_source);
        else
            perform stock_write_unsafe(p_check, p_skus[i], seen[i] - p_quantities[i], p_tokens[i], p_source);
        end if;
    end loop;
    insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
    values (p_id, p_order_id, 'held', p_strategy, p_fingerprint, ends);
    insert into reservation_lines (reservation_id, sku, quantity, fencing_token)
    select p_id, l.sku, l.quantity, l.token
      from unnest(p_skus, p_quantities, p_tokens) as l (sku, quantity, token);
    insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id)
    select l.sku, -l.quantity, l.seen, l.seen - l.quantity, l.fence, 'reserve', p_id
      from unnest(p_skus, p_quantities, fences, seen) as l (sku, quantity, fence, seen);
    return ends;
end $$;

-- The customer has it: stock does not move, the units just never come back. False if it was not held any more,
-- or if the hold has ended and nobody has swept it yet.
create function reservation_confirm(p_id uuid)
    returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update reservations r set status = 'confirmed'
     where r.id = p_id and r.status = 'held' and r.expires_at > now();
    return found;
end $$;

-- Gives the units of whole reservations back, p_kind 'cancel' or 'expire', with one summed write for each SKU,
-- and returns those that ended: what is not held any more (or, to expire, not over yet) is passed over.
-- Tokens come for the SKUs that have a lock; they are checked before anything is looked at, so that a holder
-- whose lease lapsed is refused even where there is nothing left to do for him.
create function reservations_release(
    p_ids uuid[], p_kind text, p_source text, p_skus text[], p_tokens bigint[]
) returns setof uuid language plpgsql security definer set search_path = public, pg_temp as $$
declare
    ended uuid[];
    line record;
    now_is stock;
begin
    for line in
        select l.sku, t.token
          from (select distinct r.sku from reservation_lines r where r.reservation_id = any (p_ids)) as l
          left join unnest(p_skus, p_tokens) as t (sku, token) using (sku)
         order by l.sku
    loop
        perform stock_hold(line.sku, line.token, p_source);
    end loop;

    with gone as (
        update reservations r
           set status = case p_kind when 'cancel' then 'cancelled' when 'expire' then 'expired' end
         where r.id = any (p_ids) and r.status = 'held' and (p_kind = 'cancel' or r.expires_at <= now())
        returning r.id
    )
    select array_agg(id) into ended from gone;

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
        returning * into now_is;
        insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id)
        select line.sku, l.quantity, now_is.available - line.units + l.upto - l.quantity,
               now_is.available - line.units + l.upto, now_is.fence, p_kind, l.reservation_id
          from (select r.reservation_id, r.quantity, (sum(r.quantity) over (order by r.reservation_id))::bigint as upto
                  from reservation_lines r where r.sku = line.sku and r.reservation_id = any (ended)) as l
         order by l.reservation_id;
    end loop;
    return query select unnest(ended);
end $$;
