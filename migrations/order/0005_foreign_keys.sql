-- A line and a key are inserted by the statement that inserts their order, and orders are never deleted, so these keys can
-- not be violated. Checking them reads and locks the order's row again for each line and each key. The payment is recorded by
-- a statement of its own: its foreign key stays.
alter table order_lines      drop constraint order_lines_order;
alter table idempotency_keys drop constraint idempotency_keys_order;
