-- The order service's own books: what was asked for, under which idempotency
-- key, what became of it, and what happened to the money. Stock is not here;
-- it belongs to inventory, in another database.

-- pending is the only state an order can be in without anybody working on it
-- who will surely finish: a crash leaves it, and whoever takes its key over
-- resolves it under the same id.
create table orders (
    id          uuid        constraint orders_pk primary key,
    customer    text        not null,
    status      text        not null default 'pending'
        constraint orders_status_known check (status in ('pending', 'held', 'confirmed', 'cancelled', 'failed')),
    strategy    text        not null,
    -- Unique in idempotency_keys while the key lives, not here: keys expire, orders stay.
    idempotency_key text    not null,
    traceparent text,
    -- What inventory answered, kept as it was told.
    reservation jsonb,
    -- The code of the problem a failed order ended with.
    failure     text,
    -- When a held order has to be compared with its reservation: its hold ends
    -- then, or somebody began to confirm or cancel it and may not have finished.
    review_at   timestamptz,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    constraint orders_standing_have_a_reservation
        check (status not in ('held', 'confirmed') or reservation is not null)
);

-- The reconciler looks for pending ones only; there are few at any time.
create index orders_pending on orders (created_at) where status = 'pending';
create index orders_to_review on orders (review_at) where status = 'held';
-- The auditor asks for one order per key.
create index orders_by_key on orders (idempotency_key);

create table order_lines (
    order_id uuid   not null constraint order_lines_order references orders,
    sku      text   not null,
    quantity bigint not null constraint order_lines_quantity_positive check (quantity > 0),
    constraint order_lines_pk primary key (order_id, sku)
);

-- in_flight   somebody works on it until `deadline`; past it, anybody may take it over
-- free        the last attempt definitely wrote nothing and its answer was not final
-- unresolved  the last attempt's write was never answered: look it up before anything else
-- done        the answer is stored and is given again byte for byte
--
-- A key keeps its order id through all of them. Inventory admits one
-- reservation per order id, so no sequence of retries can sell twice.
-- `attempt` tells owners apart: only the latest may record an answer.
create table idempotency_keys (
    scope        text        not null,
    key          text        not null,
    fingerprint  bytea       not null,
    order_id     uuid        not null
        constraint idempotency_keys_order references orders
        constraint idempotency_keys_one_per_order unique,
    state        text        not null
        constraint idempotency_keys_state_known check (state in ('in_flight', 'free', 'unresolved', 'done')),
    attempt      integer     not null default 1,
    deadline     timestamptz not null,
    status_code  smallint,
    content_type text,
    location     text,
    body         bytea,
    created_at   timestamptz not null default now(),
    constraint idempotency_keys_pk primary key (scope, key),
    constraint idempotency_keys_done_has_an_answer
        check ((state = 'done') = (status_code is not null and content_type is not null and body is not null))
);

create index idempotency_keys_by_age on idempotency_keys (created_at);

-- The simulated provider's books, one authorisation per order. Authorised is
-- never a final state: captured if and only if the order stands. Voided is also
-- what was captured and is paid back, when a held order is cancelled or expires.
create table payments (
    order_id      uuid        constraint payments_pk primary key
        constraint payments_order references orders,
    state         text        not null
        constraint payments_state_known check (state in ('authorised', 'captured', 'voided')),
    authorised_at timestamptz not null default now(),
    settled_at    timestamptz
);

create index payments_open on payments (authorised_at) where state = 'authorised';
