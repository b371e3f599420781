-- Indexes that cost each order two entries, since its row is updated once, and that nothing needs: the auditor reads whole
-- tables, and the id of an order tells the age of its key.
drop index orders_by_key;
drop index idempotency_keys_by_age;
