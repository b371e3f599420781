-- The orders, their idempotency keys and their payments. Stock is not here: it
-- is inventory's, in another database.

-- A crash leaves an order pending. The attempt that takes its key over resolves
-- it under the same id.
create table orders (
    id          uuid        constraint orders_pk primary key,
    customer    text        not null,
    status      text        not null default 'pending'
        constraint orders_status_known check (status in ('pending', 'held', 'confirmed', 'cancelled', 'failed')),
    strategy    text        not null,
    -- Unique in idempotency_keys until the key expires, not here: orders stay.
    idempotency_key text    not null,
    traceparent text,
    -- The reservation as inventory returned it.
    reservation jsonb,
    -- The problem code of a failed order.
    failure     text,
    -- When a held order is compared with its reservation: its hold ends then, or
    -- a request to confirm or cancel it may not have finished.
    review_at   timestamptz,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    constraint orders_live_have_a_reservation
        check (status not in ('held', 'confirmed') or reservation is not null)
);

-- For the reconciler: few orders are pending at any time.
create index orders_pending on orders (created_at) where status = 'pending';
create index orders_to_review on orders (review_at) where status = 'held';
-- For the auditor, which reads orders by key.
create index orders_by_key on orders (idempotency_key);

create table order_lines (
    order_id uuid   not null constraint order_lines_order references orders,
    sku      text   not null,
    quantity bigint not null constraint order_lines_quantity_positive check (quantity > 0),
    constraint order_lines_pk primary key (order_id, sku)
);

-- in_flight   an attempt works on the order until `deadline`; then another may take it over
-- free        the last attempt certainly wrote nothing, and its answer was not final
-- unresolved  the last attempt's write has no answer: its reservation is queried first
-- done        the answer is recorded and replayed byte for byte
--
-- The order id of a key never changes. Inventory accepts one reservation for an
-- order id, so no sequence of retries sells twice. `attempt` numbers the attempts:
-- only the latest may record an answer.
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

-- The simulated payment provider, one payment for each order. `authorised` is
-- never final: the payment is captured if and only if the units are the order's,
-- and voided otherwise. A captured payment is voided when its held order is
-- cancelled or expires.
create table payments (
    order_id      uuid        constraint payments_pk primary key
        constraint payments_order references orders,
    state         text        not null
        constraint payments_state_known check (state in ('authorised', 'captured', 'voided')),
    authorised_at timestamptz not null default now(),
    settled_at    timestamptz
);

create index payments_open on payments (authorised_at) where state = 'authorised';
