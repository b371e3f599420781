-- The replicas of this service that run, so that a retry learns within seconds that the replica which worked on its
-- order is gone, and not only when that attempt's deadline has passed.

-- A replica renews its row twice a second and deletes it when it stops. A row that was not renewed for two seconds is
-- a replica that was killed, paused or cut off: its keys may be taken over. It records nothing for them afterwards,
-- because only the latest attempt of a key does.
create table replicas (
    id      uuid        constraint replicas_pk primary key,
    seen_at timestamptz not null default now()
);

-- The replica that works on the order; null in rows of older versions, which wait for their deadline.
alter table idempotency_keys add column owner uuid;
