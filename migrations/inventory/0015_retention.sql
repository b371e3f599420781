-- Deletes what is over and old, in batches, where the service is configured to (INVENTORY_RETAIN_DAYS). What the deleted
-- rows add up to stays, so that the auditor can judge the rest. A reservation is over once it is not held and its hold has
-- ended; nothing younger than a day is ever deleted, whoever asks.

-- A reservation of an order that is older than this may have been deleted. No row: none was.
create table retention (
    only_row         boolean     primary key default true constraint retention_is_one_row check (only_row),
    forgotten_before timestamptz not null
);

-- The deleted rows of a SKU, summed: those of the ledger, which are always its first, and the confirmed reservations.
create table stock_carried_forward (
    sku         text   collate "C" primary key,
    -- The last row of the ledger that was deleted, 0 if none was; and what it left.
    last_seq    bigint not null default 0,
    available   bigint not null default 0,
    fence       bigint,
    -- What `put` rows added, and what all others took.
    put_units   bigint not null default 0,
    taken_units bigint not null default 0,
    -- The most by which units taken exceeded units in stock, after any of the rows.
    oversold    bigint not null default 0,
    -- Units of confirmed reservations.
    sold_units  bigint not null default 0
);

-- The smallest UUID of version 7 of that time: ids begin with the milliseconds since 1970, so the primary key finds old rows.
create function first_id_at(p_at timestamptz) returns uuid immutable language sql as $$
    select (lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

create function delete_old_reservations(p_before timestamptz, p_limit bigint) returns bigint language plpgsql as $$
declare
    over uuid[] := array(
        select r.id from reservations r
         where r.id < first_id_at(p_before) and r.status <> 'held' and r.expires_at < p_before
         order by r.id limit p_limit for update skip locked);
begin
    if cardinality(over) = 0 then
        return 0;
    end if;
    -- An hour more: the clock that made the ids of the orders may differ from this one.
    insert into retention as r (forgotten_before) values (p_before + interval '1 hour')
        on conflict (only_row) do update set forgotten_before = greatest(r.forgotten_before, excluded.forgotten_before);
    insert into stock_carried_forward as s (sku, sold_units)
    select l.sku, sum(l.quantity) from reservation_lines l join reservations r on r.id = l.reservation_id
     where r.id = any (over) and r.status = 'confirmed' group by l.sku order by l.sku
        on conflict (sku) do update set sold_units = s.sold_units + excluded.sold_units;
    delete from reservation_lines where reservation_id = any (over);
    delete from reservations where id = any (over);
    return cardinality(over);
end $$;

-- The first rows of the ledger, as far as all of them are old.
create function delete_old_ledger(p_before timestamptz, p_limit bigint) returns bigint language plpgsql as $$
declare
    last bigint := (
        select max(f.seq) from (
            select l.seq, bool_and(l.at < p_before) over (order by l.seq) as old
              from (select seq, at from stock_ledger order by seq limit p_limit) as l
        ) as f where f.old);
    deleted bigint;
begin
    insert into stock_carried_forward as s (sku, last_seq, available, fence, put_units, taken_units, oversold)
    select g.sku, max(g.seq), (array_agg(g.after order by g.seq desc))[1], max(g.fence),
           (array_agg(g.put_units order by g.seq desc))[1], (array_agg(g.taken_units order by g.seq desc))[1],
           greatest(max(g.oversold), max(g.taken_units - g.put_units))
      from (select l.sku, l.seq, l.after, l.fence, coalesce(c.oversold, 0) as oversold,
                   coalesce(c.put_units, 0)
                       + sum(case l.kind when 'put' then l.delta else 0 end) over earlier as put_units,
                   coalesce(c.taken_units, 0)
                       - sum(case l.kind when 'put' then 0 else l.delta end) over earlier as taken_units
              from stock_ledger l left join stock_carried_forward c on c.sku = l.sku
             where l.seq <= last
            window earlier as (partition by l.sku order by l.seq)) as g
     group by g.sku order by g.sku
        on conflict (sku) do update
       set last_seq = excluded.last_seq, available = excluded.available, fence = greatest(s.fence, excluded.fence),
           put_units = excluded.put_units, taken_units = excluded.taken_units, oversold = excluded.oversold;
    delete from stock_ledger l where l.seq <= last;
    get diagnostics deleted = row_count;
    return deleted;
end $$;

create function delete_old_refusals(p_before timestamptz, p_limit bigint) returns bigint language plpgsql as $$
declare
    deleted bigint;
begin
    delete from fence_refusals where id <= (
        select max(f.id) from (
            select r.id, bool_and(r.at < p_before) over (order by r.id) as old
              from (select id, at from fence_refusals order by id limit p_limit) as r
        ) as f where f.old);
    get diagnostics deleted = row_count;
    return deleted;
end $$;

-- One batch of each table. Returns the largest number of rows that were deleted from one of them: p_limit if more may be
-- left. One replica at a time; another one deletes nothing.
create function delete_old_rows(p_before timestamptz, p_limit bigint) returns bigint
    language plpgsql security definer set search_path = public, pg_temp as $$
declare
    allowed timestamptz := least(p_before, now() - interval '1 day');
begin
    if not pg_try_advisory_xact_lock(hashtext('inventory retention')) then
        return 0;
    end if;
    return greatest(delete_old_reservations(allowed, p_limit), delete_old_ledger(allowed, p_limit),
                    delete_old_refusals(allowed, p_limit));
end $$;

-- What the triggers of 0003_roles.sql refused altogether is possible for the function above alone, and for it only with
-- rows that are old and over.
drop trigger reservations_are_never_deleted on reservations;
create trigger reservations_are_kept before delete on reservations
   for each row when (current_user <> 'inventory_owner' or old.status = 'held'
                      or old.expires_at > now() - interval '1 day')
   execute function stock_refuse_change();
drop trigger lines_never_change on reservation_lines;
create trigger lines_never_change before update on reservation_lines
   for each row execute function stock_refuse_change();
create function lines_refuse_deletion() returns trigger language plpgsql as $$
begin
    if current_user <> 'inventory_owner' or exists (
        select from reservations r where r.id = old.reservation_id
           and (r.status = 'held' or r.expires_at > now() - interval '1 day')) then
        raise exception 'delete on % refused for %: its reservation is not old enough', tg_table_name, current_user
            using errcode = 'insufficient_privilege';
    end if;
    return old;
end $$;
alter function lines_refuse_deletion owner to inventory_owner;
revoke all on function lines_refuse_deletion from public;
create trigger lines_are_kept before delete on reservation_lines
   for each row execute function lines_refuse_deletion();
drop trigger ledger_is_append_only on stock_ledger;
create trigger ledger_never_changes before update on stock_ledger
   for each row execute function stock_refuse_change();
create trigger ledger_is_kept before delete on stock_ledger
   for each row when (current_user <> 'inventory_owner' or old.at > now() - interval '1 day')
   execute function stock_refuse_change();
drop trigger refusals_are_append_only on fence_refusals;
create trigger refusals_never_change before update on fence_refusals
   for each row execute function stock_refuse_change();
create trigger refusals_are_kept before delete on fence_refusals
   for each row when (current_user <> 'inventory_owner' or old.at > now() - interval '1 day')
   execute function stock_refuse_change();

alter table retention owner to inventory_owner;
alter table stock_carried_forward owner to inventory_owner;
alter function first_id_at owner to inventory_owner;
alter function delete_old_reservations owner to inventory_owner;
alter function delete_old_ledger owner to inventory_owner;
alter function delete_old_refusals owner to inventory_owner;
alter function delete_old_rows owner to inventory_owner;
revoke all on function first_id_at, delete_old_reservations, delete_old_ledger, delete_old_refusals, delete_old_rows
    from public;
grant select on retention, stock_carried_forward to inventory_service, inventory_auditor;
grant execute on function delete_old_rows, first_id_at to inventory_service;
