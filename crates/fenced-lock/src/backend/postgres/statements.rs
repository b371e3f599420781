//! All the SQL of the advisory locks. They use no table and no schema.
//!
//! Advisory locks have numbers, not names, so a resource is locked by the hash of its name. Two names with the
//! same hash exclude each other, which is safe.

/// Also limits how long the session may be idle, so that the server ends it, and its lock with it, should the client
/// never learn that it has the lock.
pub(super) const TRY_LOCK: &str =
    "select pg_try_advisory_lock(hashtextextended($1, 0)), set_config('idle_session_timeout', $2, false)";

/// A standby has locks of its own: they exclude no client of the primary.
pub(super) const IS_STANDBY: &str = "select pg_is_in_recovery()";

pub(super) const LOCK: &str = "select 1 from (select pg_advisory_lock(hashtextextended($1, 0))) as locked";

/// Makes the session usable for another lock.
pub(super) const UNLOCK_ALL: &str = "select pg_advisory_unlock_all(), set_config('idle_session_timeout', '0', false)";

/// Limits the next wait for a lock.
pub(super) const SET_LOCK_TIMEOUT: &str = "select set_config('lock_timeout', $1, false)";

/// From here on the server ends the session when it receives nothing for as long as the lease.
pub(super) const START_LEASE: &str =
    "select set_config('idle_session_timeout', $1, false), set_config('application_name', $2, false)";

pub(super) const EXTEND_LEASE: &str = "select set_config('idle_session_timeout', $1, false)";

/// Unlocks the resources, and makes the session usable for another lock.
pub(super) const RELEASE: &str = "with unlocked as materialized (
        select bool_and(pg_advisory_unlock(hashtextextended(name, 0))) as held from unnest($1::text[]) as name)
    select held, set_config('idle_session_timeout', '0', false), set_config('application_name', '', false) from unlocked";

/// The name of the session that holds a lock.
pub(super) const HOLDER: &str =
    "select activity.application_name from pg_locks as held join pg_stat_activity as activity using (pid)
    where held.locktype = 'advisory' and held.granted and held.objsubid = 1
      and held.database = (select oid from pg_database where datname = current_database())
      and ((held.classid::bigint << 32) | held.objid::bigint) = hashtextextended($1, 0)";

/// A wait for a lock has a limit of its own.
pub(super) const NO_STATEMENT_TIMEOUT: &str = "select set_config('statement_timeout', '0', false)";

/// How often the server checks that the client of a waiting session is still connected.
pub(super) const CHECK_CLIENT: &str = "select set_config('client_connection_check_interval', '1s', false)";

/// The error code `lock_not_available`: the wait for a lock has ended without it.
pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
