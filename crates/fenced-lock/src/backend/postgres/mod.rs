//! Postgres: session advisory locks, on a session of its own for each acquisition. It touches no table
//! and knows no schema.
//!
//! It issues **no tokens**: nothing that the server hands out with such a lock grows with it. The lock
//! lives as long as its session, so the lease is made of the session: the server ends one that was
//! idle for as long (`idle_session_timeout`, Postgres 14). A lock that the server ended early —
//! restart, `pg_terminate_backend` — is noticed at the next extend or release, not before.
//!
//! Waiters queue at the server, first come first served, within their `lock_timeout`.
//!
//! Source: Postgres, "Advisory Locks" and "Client Connection Defaults".

mod database;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Error, query, query_as, query_scalar};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use self::database::AdvisoryDatabase;
use self::session::{Session, Sessions, failed, has_ended};
use crate::backend::service::Service;
use crate::grant::{self, Acquired, ReleaseOutcome};
use crate::locks::Request;
use crate::{Holder, Lease, LockError, Options, Resource};

/// A resource's number: locks have numbers, not names. Two names with one number would only exclude
/// each other.
const TRY_LOCK: &str = "select pg_try_advisory_lock(hashtextextended($1, 0))";
const LOCK: &str = "select 1 from (select pg_advisory_lock(hashtextextended($1, 0))) as locked";
const LIMIT_WAIT: &str = "select set_config('lock_timeout', $1, false)";
const START_LEASE: &str =
    "select set_config('idle_session_timeout', $1, false), set_config('application_name', $2, false)";
const RELEASE: &str = "with given as materialized (
        select bool_and(pg_advisory_unlock(hashtextextended(name, 0))) as ours from unnest($1::text[]) as name)
    select ours, set_config('idle_session_timeout', '0', false), set_config('application_name', '', false) from given";
const UNLOCK_ALL: &str = "select pg_advisory_unlock_all()";
const HOLDER: &str =
    "select activity.application_name from pg_locks as held join pg_stat_activity as activity using (pid)
    where held.locktype = 'advisory' and held.granted and held.objsubid = 1
      and held.database = (select oid from pg_database where datname = current_database())
      and ((held.classid::bigint << 32) | held.objid::bigint) = hashtextextended($1, 0)";

/// `lock_not_available`: the wait was over.
const NOT_AVAILABLE: &str = "55P03";

/// What Postgres cuts names of sessions to.
const LONGEST_NAME: usize = 63;

/// One database and everything that callers share.
#[derive(Debug)]
pub(crate) struct PostgresAdvisory {
    sessions: Sessions,
    /// Unique to this client; owners are numbered after it.
    client_id: String,
    next_number: AtomicU64,
}

/// One lock, and the session that it lives in.
#[derive(Debug)]
pub(crate) struct SessionLock {
    sessions: Sessions,
    /// `None` once the lock was given back, or found to be gone.
    session: Mutex<Option<Session>>,
    resources: Arc<[Resource]>,
    /// When the server ends the session at the latest, as seen from here.
    end: std::sync::Mutex<Instant>,
}

impl PostgresAdvisory {
    pub(crate) fn new(database: AdvisoryDatabase, options: &Options) -> Arc<Self> {
        let service = Service::new("postgres-advisory", &database.name(), options.node_timeout());
        let unique = uuid::Uuid::now_v7().simple().to_string();
        // The owner is the session's name as well, and must not be cut where it is unique.
        let room = LONGEST_NAME - unique.len() - ".".len() - ".18446744073709551615".len();
        let client_name: String = options.client_name().chars().take(room).collect();
        Arc::new(Self {
            sessions: Sessions::new(database, service),
            client_id: format!("{client_name}.{unique}"),
            next_number: AtomicU64::new(1),
        })
    }

    /// Tries until granted, or until the deadline while somebody else has it.
    pub(crate) async fn acquire(&self, request: &Request) -> Result<Option<Acquired>, LockError> {
        let service = &self.sessions.service;
        let mut session = self.sessions.get().await?;
        for (i, resource) in request.resources.iter().enumerate() {
            let mut locked = self.lock(&mut session, resource, request).await;
            if i == 0 && session.reused && matches!(&locked, Err(error) if has_ended(error)) {
                session = self.sessions.replace(session).await?;
                locked = self.lock(&mut session, resource, request).await;
            }
            if !locked.map_err(|error| failed(service, error))? {
                self.unlock_all(session).await;
                return Ok(None);
            }
        }
        let owner: Arc<str> = format!("{}.{}", self.client_id, self.next_number.fetch_add(1, Ordering::Relaxed)).into();
        let started = Instant::now();
        start_lease(service, &mut session, request.lease, &owner).await.map_err(|error| failed(service, error))?;
        if Instant::now() >= started + request.lease.usable() {
            return Err(LockError::Lapsed { lease: request.lease.get(), elapsed: started.elapsed() });
        }
        let held = SessionLock {
            sessions: self.sessions.clone(),
            session: Mutex::new(Some(session)),
            resources: Arc::clone(&request.resources),
            end: std::sync::Mutex::new(started + request.lease.get()),
        };
        Ok(Some(Acquired {
            owner,
            tokens: vec![None; request.resources.len()],
            valid_until: started + request.lease.usable(),
            held: grant::HeldLock::PostgresAdvisory(Box::new(held)),
        }))
    }

    /// `false` is contention.
    async fn lock(&self, session: &mut Session, resource: &Resource, request: &Request) -> Result<bool, Error> {
        let timeout = self.sessions.service.timeout();
        let connection = &mut session.connection;
        let free = query_scalar(TRY_LOCK).bind(resource.as_str()).fetch_one(&mut *connection);
        if with_timeout(timeout, free).await? {
            return Ok(true);
        }
        let remaining = request.deadline.saturating_duration_since(Instant::now());
        if !request.waits || remaining.is_zero() {
            return Ok(false);
        }
        // 0 would be no limit at all.
        let limit = query(LIMIT_WAIT).bind(format!("{}ms", remaining.as_millis().max(1))).execute(&mut *connection);
        with_timeout(timeout, limit).await?;
        let wait = query(LOCK).bind(resource.as_str()).execute(&mut *connection);
        match with_timeout(remaining + timeout, wait).await {
            Ok(_) => Ok(true),
            Err(Error::Database(error)) if error.code().as_deref() == Some(NOT_AVAILABLE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets go of what was locked so far, so that it was all or nothing.
    async fn unlock_all(&self, mut session: Session) {
        let unlock = query(UNLOCK_ALL).execute(&mut session.connection);
        if with_timeout(self.sessions.service.timeout(), unlock).await.is_ok() {
            self.sessions.put_back(session);
        }
    }

    /// What is known of a lock that others have: the name of the session, no token.
    pub(crate) async fn holder(&self, resource: &Resource) -> Result<Option<Holder>, LockError> {
        let service = &self.sessions.service;
        let mut session = self.sessions.get().await?;
        let mut asked = query_holder(service, &mut session, resource).await;
        if session.reused && matches!(&asked, Err(error) if has_ended(error)) {
            session = self.sessions.replace(session).await?;
            asked = query_holder(service, &mut session, resource).await;
        }
        let found = asked.map_err(|error| failed(service, error))?;
        self.sessions.put_back(session);
        Ok(found.map(|(name,)| Holder::new(name, None)))
    }

    pub(crate) async fn ready(&self) -> Result<(), LockError> {
        let nobody = Resource::new("ready").map_err(|error| self.sessions.service.wrong(error))?;
        self.holder(&nobody).await.map(|_| ())
    }
}

impl SessionLock {
    pub(crate) async fn extend(&self, lease: Lease) -> Result<Instant, LockError> {
        let service = &self.sessions.service;
        let mut slot = self.session.lock().await;
        let lost = || LockError::Lost { resource: self.resources[0].clone() };
        let session = slot.as_mut().ok_or_else(lost)?;
        let started = Instant::now();
        let limit = query_scalar::<_, String>("select set_config('idle_session_timeout', $1, false)");
        let limit = limit.bind(millis(lease)).fetch_one(&mut session.connection);
        match with_timeout(service.timeout(), limit).await {
            Ok(_) => {
                *self.end() = started + lease.get();
                Ok(started + lease.usable())
            }
            Err(error) if has_ended(&error) => {
                slot.take();
                Err(lost())
            }
            Err(error) => Err(failed(service, error)),
        }
    }

    pub(crate) async fn release(&self) -> Result<ReleaseOutcome, LockError> {
        let service = &self.sessions.service;
        let mut slot = self.session.lock().await;
        let Some(session) = slot.as_mut() else {
            return Ok(ReleaseOutcome::NotHeld);
        };
        let names: Vec<_> = self.resources.iter().map(|resource| resource.as_str().to_owned()).collect();
        let unlock = query_as::<_, (bool, String, String)>(RELEASE).bind(names).fetch_one(&mut session.connection);
        match with_timeout(service.timeout(), unlock).await {
            Ok((ours, _, _)) => {
                if let Some(session) = slot.take() {
                    self.sessions.put_back(session);
                }
                Ok(if ours { ReleaseOutcome::Released } else { ReleaseOutcome::NotHeld })
            }
            Err(error) => {
                // Closed here as well, so that it ends there if it has not.
                slot.take();
                let told = matches!(&error, Error::Database(_)) && has_ended(&error);
                if told || Instant::now() >= *self.end() {
                    Ok(ReleaseOutcome::NotHeld)
                } else {
                    Err(failed(service, error))
                }
            }
        }
    }

    /// Keeps the session open until the server ends it.
    pub(crate) fn abandon(self, runtime: &Handle) {
        let end = *self.end();
        runtime.spawn(async move {
            tokio::time::sleep_until(end).await;
            drop(self);
        });
    }

    fn end(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// From here on the server ends the session when it hears nothing for as long as the lease.
async fn start_lease(service: &Service, session: &mut Session, lease: Lease, owner: &str) -> Result<(), Error> {
    let start_lease = query(START_LEASE).bind(millis(lease)).bind(owner).execute(&mut session.connection);
    with_timeout(service.timeout(), start_lease).await.map(|_| ())
}

async fn query_holder(
    service: &Service,
    session: &mut Session,
    resource: &Resource,
) -> Result<Option<(String,)>, Error> {
    let ask = query_as(HOLDER).bind(resource.as_str()).fetch_optional(&mut session.connection);
    with_timeout(service.timeout(), ask).await
}

fn millis(lease: Lease) -> String {
    format!("{}ms", lease.millis())
}

async fn with_timeout<T>(limit: Duration, ask: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silence = |_| Err(Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time")));
    tokio::time::timeout(limit, ask).await.unwrap_or_else(silence)
}
