-- Orders that shared a grant are written together: one fenced write for each SKU, and for each order a reservation
-- and its rows in the ledger, chained, as if they had come one after the other. All or nothing, like `reserve`:
-- an order that has a reservation already undoes the batch, and the service leaves it out of the next try.
-- Orders and lines come flattened; `lines` says of which order a line is, and what that order found.
create function reserve_batch(
    p_strategy text, p_source text, p_hold_seconds bigint,
    p_skus text[], p_tokens bigint[], p_afters bigint[],
    p_ids uuid[], p_order_ids uuid[], p_fingerprints text[],
    p_line_ids uuid[], p_line_skus text[], p_line_quantities bigint[], p_line_tokens bigint[], p_line_before bigint[]
) returns timestamptz language plpgsql security definer set search_path = public, pg_temp as $$
declare
    ends timestamptz := now() + make_interval(secs => p_hold_seconds);
begin
    for i in 1 .. cardinality(p_skus) loop
        perform stock_write_fenced(p_skus[i], p_afters[i], p_tokens[i], p_source);
    end loop;
    insert into reservations (id, order_id, status, strategy, fingerprint, expires_at)
    select o.id, o.order_id, 'held', p_strategy, o.fingerprint, ends
      from unnest(p_ids, p_order_ids, p_fingerprints) as o (id, order_id, fingerprint);
    insert into reservation_lines (reservation_id, sku, quantity, fencing_token)
    select l.id, l.sku, l.quantity, l.token
      from unnest(p_line_ids, p_line_skus, p_line_quantities, p_line_tokens) as l (id, sku, quantity, token);
    insert into stock_ledger (sku, delta, before, after, fence, kind, reservation_id)
    select l.sku, -l.quantity, l.before, l.before - l.quantity, l.token, 'reserve', l.id
      from unnest(p_line_ids, p_line_skus, p_line_quantities, p_line_tokens, p_line_before)
           with ordinality as l (id, sku, quantity, token, before, n)
     order by l.n;
    return ends;
end $$;

alter function reserve_batch owner to inventory_owner;
revoke all on function reserve_batch from public;
grant execute on function reserve_batch to inventory_service;
