-- The tables of inventory. Stock changes only through the functions of 0002_protocol.sql.

create table stock (
    sku           text   primary key constraint stock_sku_form check (sku ~ '^[A-Za-z0-9_-]{1,64}$'),
    on_hand       bigint not null    constraint stock_on_hand_not_negative check (on_hand >= 0),
    -- This check does not detect overselling: after a lost update, the row still shows 0.
    available     bigint not null    constraint stock_available_within check (available between 0 and on_hand),
    -- The highest token that was claimed, and the token of the last write.
    fence         bigint not null default 0,
    applied_fence bigint not null default 0,
    -- The source of the tokens. Counters, revisions and zxids do not compare, so the first claim sets it for good.
    token_source  text   constraint stock_token_source check (token_source in ('redlock', 'etcd', 'zookeeper')),
    version       bigint not null default 0,
    constraint stock_applied_was_claimed check (applied_fence <= fence)
);

create table reservations (
    id          uuid        primary key,
    -- One reservation for each order: a write that arrives twice violates this constraint and sells nothing more.
    order_id    uuid        not null constraint reservations_one_per_order unique,
    status      text        not null constraint reservations_status
                            check (status in ('held', 'confirmed', 'cancelled', 'expired')),
    strategy    text        not null,
    -- SKUs and quantities in canonical form: tells a retry from another request with the same order id.
    fingerprint text        not null,
    created_at  timestamptz not null default now(),
    expires_at  timestamptz not null
);
create index reservations_held_until on reservations (expires_at) where status = 'held';

create table reservation_lines (
    reservation_id uuid   not null references reservations,
    sku            text   not null references stock,
    quantity       bigint not null constraint reservation_lines_quantity_positive check (quantity > 0),
    fencing_token  bigint,
    primary key (reservation_id, sku)
);
create index reservation_lines_by_sku on reservation_lines (sku);

-- Every change of `available`, in the order of the row lock. `before` is the value that the writer read and `after`
-- the value that it wrote, whatever the row contained: a lost update is a break in this chain.
create table stock_ledger (
    seq            bigint generated always as identity primary key,
    sku            text        not null references stock,
    delta          bigint      not null,
    before         bigint      not null,
    after          bigint      not null,
    fence          bigint,
    kind           text        not null constraint stock_ledger_kind
                               check (kind in ('put', 'reserve', 'cancel', 'expire')),
    reservation_id uuid,
    at             timestamptz not null default clock_timestamp()
);
create index stock_ledger_by_sku on stock_ledger (sku, seq);

-- Stale tokens that were refused. Written in a transaction of its own: the refused one is rolled back.
create table fence_refusals (
    id       bigint generated always as identity primary key,
    sku      text        not null,
    token    bigint      not null,
    current  bigint      not null,
    step     text        not null constraint fence_refusals_step check (step in ('claim', 'write')),
    order_id uuid,
    at       timestamptz not null default clock_timestamp()
);
create index fence_refusals_by_sku on fence_refusals (sku, id);
