-- For the reconciler, which claims the keys that have been due for longest and has to find them however many keys there
-- are. An order is pending exactly while its key is in one of these states, so the index replaces orders_pending.
create index idempotency_keys_due on idempotency_keys (deadline) where state in ('in_flight', 'unresolved');
drop index orders_pending;
