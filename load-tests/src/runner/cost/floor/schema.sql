-- The tables of both services, as one service with one database would have them: the same columns that an order fills, the
-- same keys and constraints, and the indexes that its own reads would need.

create table stock (
    sku text collate "C" primary key, on_hand bigint not null,
    available bigint not null check (available between 0 and on_hand), version bigint not null default 0
) with (fillfactor = 50);
create table orders (
    id uuid primary key, customer text not null, status text not null, strategy text not null,
    idempotency_key text not null, reservation jsonb, review_at timestamptz,
    created_at timestamptz not null default now(), updated_at timestamptz not null default now()
);
create index orders_to_review on orders (review_at) where status = 'held';
create table order_lines (
    order_id uuid not null, sku text not null, quantity bigint not null check (quantity > 0), primary key (order_id, sku)
);
create table idempotency_keys (
    scope text not null, key text not null, fingerprint bytea not null, order_id uuid not null unique,
    state text not null, status_code smallint, content_type text, location text, body bytea,
    created_at timestamptz not null default now(), primary key (scope, key)
);
create table payments (
    order_id uuid primary key, state text not null, authorised_at timestamptz not null default now(),
    settled_at timestamptz
);
create table reservations (
    id uuid primary key, order_id uuid not null unique, status text not null, strategy text not null,
    fingerprint text not null, created_at timestamptz not null default now(), expires_at timestamptz not null
);
create index reservations_held_until on reservations (expires_at) where status = 'held';
create table reservation_lines (
    reservation_id uuid not null, sku text collate "C" not null, quantity bigint not null check (quantity > 0),
    fencing_token bigint, primary key (reservation_id, sku)
);
create table stock_ledger (
    seq bigint generated always as identity primary key, sku text collate "C" not null, delta bigint not null,
    before bigint not null, after bigint not null, fence bigint, kind text not null, reservation_id uuid,
    at timestamptz not null default clock_timestamp()
);
