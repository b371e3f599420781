-- What inventory knows. Stock changes only through the functions of 0002: they carry the protocol.

create table stock (
    sku           text   primary key constraint stock_sku_form check (sku ~ '^[A-Za-z0-9_-]{1,64}$'),
    on_hand       bigint not null    constraint stock_on_hand_not_negative check (on_hand >= 0),
    -- Never a detector of overselling: a lost update ends at 0 and looks innocent here.
    available     bigint not null    constraint stock_available_within check (available between 0 and on_hand),
    -- The highest token that anybody registered, and the last one that was written with.
    fence         bigint not null default 0,
    applied_fence bigint not null default 0,
    -- Whose tokens these are. Counters, revisions and zxids do not compare, so the first claim decides for good.
    token_source  text   constraint stock_token_source check (token_source in ('redlock', 'etcd', 'zookeeper')),
    version       bigint not null default 0,
    constraint stock_applied_was_claimed check (applied_fence <= fence)
);

create table reservations (
    id          uuid        primary key,
    -- One reservation an order: a write that arrives twice finds this row and sells nothing more.
    order_id    uuid        not null constraint reservations_one_per_order unique,
    status      text        not null constraint reservations_status
                            check (status in ('held', 'confirmed', 'cancelled', 'expired')),
    strategy    text        not null,
    -- What was asked for, in canonical form: tells a retry from another request under the same order id.
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

-- Every change of `available`, in the order of the row lock. `before` is what the writer had read and `after`
-- what it wrote, not what the row held: a lost update is a break in this chain.
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

-- Written in a transaction of its own: the one that was refused is rolled back.
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
