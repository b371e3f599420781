-- Orders that are over and old are deleted in batches where the service is configured to (ORDER_RETAIN_DAYS): their key has
-- expired, their payment is settled, and they are neither pending nor held.

-- An order that is older than this may have been deleted. No row: none was.
create table retention (
    only_row         boolean     constraint retention_pk primary key default true
        constraint retention_is_one_row check (only_row),
    forgotten_before timestamptz not null
);

-- The smallest UUID of version 7 of that time: ids begin with the milliseconds since 1970, so the primary key finds old rows.
create function first_id_at(p_at timestamptz) returns uuid immutable language sql as $$
    select (lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
