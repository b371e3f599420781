-- When the last write under this key was left without an answer; null where none is. Under a strategy that cannot shut
-- such a write out, its time to arrive counts from here, however often the client retries meanwhile.
alter table idempotency_keys add column unknown_since timestamptz;
