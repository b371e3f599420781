-- The protocol: issue (at the lock), claim, write. What the lock cannot promise, these conditions keep.
-- A refusal is an exception, so that everything the statement did before is undone with it:
--   HF001 stale fencing token   HF002 token source mismatch   HF003 out of stock   HF004 unknown SKU
--   HF005 below what is held
-- `detail` carries the facts as JSON.

-- Claim: the token is registered *before* stock is read. From its commit on, older holders are shut out.
-- Strictly less: two holders with the same token (a lock node lost its memory) cannot both claim.
create function stock_claim(p_sku text, p_token bigint, p_source text)
    returns table (sku text, on_hand bigint, available bigint, fence bigint, version bigint)
    language plpgsql as $$
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

-- The textbook, for the laboratory: the token is compared at the write and nowhere before. It refuses what
-- is older than the last *write*, and so lets a stale holder through while the newer one has only read.
create function stock_write_textbook(p_sku text, p_after bigint, p_token bigint, p_source text)
    returns void language plpgsql as $$
begin
    update stock s
       set available = p_after, fence = p_token, applied_fence = p_token, version = s.version + 1,
           token_source = coalesce(s.token_source, p_source)
     where s.sku = p_sku and s.fence < p_token and coalesce(s.token_source, p_source) = p_source;
    if not found then
        perform stock_refuse(p_sku, p_token, p_source);
    end if;
end $$;

-- No check at all, for the laboratory: what was computed is written. This is how units get sold twice.
create function stock_write_unfenced(p_sku text, p_after bigint)
    returns void language plpgsql as $$
begin
    update stock s set available = p_after, version = s.version + 1 where s.sku = p_sku;
    if not found then
        perform stock_refuse(p_sku, null, null);
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
        raise exception 'unknown sku' using errcode = 'HF004',
            detail = jsonb_build_object('sku', p_sku)::text;
    elsif coalesce(held.token_source, p_source) <> p_source then
        raise exception 'token source mismatch' using errcode = 'HF002',
            detail = jsonb_build_object('sku', p_sku, 'source', p_source, 'current', held.token_source)::text;
    end if;
    raise exception 'stale fencing token' using errcode = 'HF001',
        detail = jsonb_build_object('sku', p_sku, 'token', p_token, 'current', held.fence)::text;
end $$;

-- Sets what there is, creating the SKU if need be. Changing what is there needs no token, and so it moves the
-- fence: whoever read before is shut out, as by a newer claim. Nobody can have read a SKU that is new.
create function stock_put(p_sku text, p_on_hand bigint)
    returns table (sku text, on_hand bigint, available bigint, fence bigint, version bigint)
    language plpgsql as $$
declare
    was stock;
    now_is stock;
begin
    insert into stock as s (sku, on_hand, available) values (p_sku, p_on_hand, p_on_hand)
        on conflict do nothing returning * into now_is;
    if not found then
        select * into was from stock s where s.sku = p_sku for update;
        if was.available + p_on_hand - was.on_hand < 0 then
            raise exception 'below what is held' using errcode = 'HF005', detail =
                jsonb_build_object('sku', p_sku, 'on_hand', p_on_hand, 'held', was.on_hand - was.available)::text;
        end if;
        update stock s
           set on_hand = p_on_hand, available = s.available + p_on_hand - s.on_hand,
               fence = s.fence + 1, applied_fence = s.fence + 1, version = s.version + 1
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
-- p_check: 'fenced', 'textbook' or 'unfenced'.
create function reserve(
    p_id uuid, p_order_id uuid, p_strategy text, p_check text, p_source text, p_fingerprint text,
    p_hold_seconds bigint, p_skus text[], p_quantities bigint[], p_tokens bigint[], p_observed bigint[]
) returns timestamptz language plpgsql as $$
declare
    ends timestamptz := now() + make_interval(secs => p_hold_seconds);
begin
    for i in 1 .. cardinality(p_skus) loop
        if p_observed[i] < p_quantities[i] then
            raise exception 'out of stock' using errcode = 'HF003',
                detail = jsonb_build_object('sku', p_skus[i], 'available', p_observed[i])::text;
        end if;
        case p_check
            when 'fenced' then
                perform stock_write_fenced(p_skus[i], p_observed[i] - p_quantities[i], p_tokens[i], p_source);
            when 'textbook' then
                perform stock_write_textbook(p_skus[i], p_observed[i] - p_quantities[i], p_tokens[i], p_source);
            when 'unfenced' then
                perform stock_write_unfenced(p_skus[i], p_observed[i] - p_quantities[i]);
        end case;
    end loop;
    insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
    values (p_id, p_order_id, 'held', p_strategy, p_fingerprint, ends);
    insert into reservation_lines (reservation_id, sku, quantity, fencing_token)
    select p_id, l.sku, l.quantity, l.token
      from unnest(p_skus, p_quantities, p_tokens) as l (sku, quantity, token);
    insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id)
    select l.sku, -l.quantity, l.observed, l.observed - l.quantity, l.token, 'reserve', p_id
      from unnest(p_skus, p_quantities, p_tokens, p_observed) as l (sku, quantity, token, observed);
    return ends;
end $$;
