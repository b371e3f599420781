//! Postgres: session advisory locks, on a session of its own for each acquisition.
//!
//! It issues **no tokens**: nothing that the server returns with such a lock grows with it. The lock lives as long
//! as its session, so the server ends the lease by ending a session that was idle for as long
//! (`idle_session_timeout`, Postgres 14). When the server ends the session earlier (a restart,
//! `pg_terminate_backend`), the loss is noticed at the next extend or release, not before.
//!
//! Waiters queue at the server, first come, first served, within their `lock_timeout`.
//!
//! Source: Postgres, "Advisory Locks" and "Client Connection Defaults".

mod database;
mod pooler;
mod session;
mod session_lock;
mod statements;

use std::sync::Arc;

use futures_util::FutureExt as _;
use sqlx::{Error, query, query_as, query_scalar};
use tokio::time::Instant;

pub use self::database::AdvisoryDatabase;
use self::session::{Session, Sessions, has_ended, with_timeout};
use self::session_lock::{SessionLock, millis};
use self::statements::{HOLDER, LOCK, LOCK_NOT_AVAILABLE, SET_LOCK_TIMEOUT, START_LEASE, TRY_LOCK, UNLOCK_ALL};
use super::owner_names::OwnerNames;
use super::service::Service;
use crate::lock_backend::{Acquired, LockBackend, LockFuture, Notification, poll_later};
use crate::request::Request;
use crate::{Holder, Lease, LockError, Locks, Options, Resource};

const BACKEND: &str = "postgres-advisory";

/// The longest name of a session, in bytes; Postgres truncates longer ones.
const MAX_SESSION_NAME: usize = 63;

impl Locks {
    /// Session advisory locks of one Postgres database, 14 or later, **without tokens**.
    ///
    /// Each lock has a session of its own and lives no longer than that session. `valid_until` is the end of the
    /// lease by this machine's clock; the server ends a session that was idle for as long as the lease. Another end
    /// of the session (a restart, `pg_terminate_backend`) ends the lock early and is noticed only by the next
    /// extend or release. Needs sessions of its own: behind a transaction pooler every call fails with an error that says so.
    ///
    /// Connects at its first use; never fails because Postgres is down.
    pub fn postgres_advisory(database: AdvisoryDatabase, options: Options) -> Self {
        Self::new(Arc::new(PostgresAdvisory::new(database, &options)), &options)
    }
}

/// One client of a database.
#[derive(Debug)]
struct PostgresAdvisory {
    sessions: Sessions,
    owners: OwnerNames,
}

impl PostgresAdvisory {
    fn new(database: AdvisoryDatabase, options: &Options) -> Self {
        let service = Service::new(BACKEND, &database.name(), options.node_timeout());
        // The owner is also the session's name, whose unique part must not be truncated.
        let unique_part = uuid::fmt::Simple::LENGTH + "..18446744073709551615".len();
        let client_name: String = options.client_name().chars().take(MAX_SESSION_NAME - unique_part).collect();
        Self { sessions: Sessions::new(database, service), owners: OwnerNames::new(&client_name) }
    }

    async fn acquire_by_deadline(&self, request: &Request) -> Result<Option<Acquired>, LockError> {
        let mut session = self.sessions.get().await?;
        for (i, resource) in request.resources.iter().enumerate() {
            let mut locked = self.lock(&mut session, resource, request).await;
            if i == 0 && session.reused && matches!(&locked, Err(error) if has_ended(error)) {
                session = self.sessions.replace(session).await?;
                locked = self.lock(&mut session, resource, request).await;
            }
            if !locked.map_err(|error| self.sessions.failed(error))? {
                self.unlock_all(session).await;
                return Ok(None);
            }
        }
        let (owner, started) = (self.owners.next(), Instant::now());
        self.start_lease(&mut session, request.lease, &owner).await.map_err(|error| self.sessions.failed(error))?;
        let valid_until = started + request.lease.usable();
        if Instant::now() >= valid_until {
            return Err(LockError::Lapsed { lease: request.lease.get(), elapsed: started.elapsed() });
        }
        let lease_end = started + request.lease.get();
        let held = SessionLock::new(self.sessions.clone(), session, Arc::clone(&request.resources), lease_end);
        let tokens = vec![None; request.resources.len()];
        Ok(Some(Acquired { owner, tokens, valid_until, held: Box::new(held) }))
    }

    /// `false` is contention.
    async fn lock(&self, session: &mut Session, resource: &Resource, request: &Request) -> Result<bool, Error> {
        let timeout = self.sessions.service.timeout;
        let connection = &mut session.connection;
        // Not shorter than the time between two statements of one acquisition may be.
        let idle_limit = format!("{}ms", request.lease.get().max(2 * timeout).as_millis());
        let try_lock = query_scalar(TRY_LOCK).bind(resource.as_str()).bind(idle_limit).fetch_one(&mut *connection);
        if with_timeout(timeout, try_lock).await? {
            return Ok(true);
        }
        let remaining = request.deadline.saturating_duration_since(Instant::now());
        if !request.waits || remaining.is_zero() {
            return Ok(false);
        }
        // At least 1 ms: 0 would mean no limit.
        let limit = format!("{}ms", remaining.as_millis().max(1));
        with_timeout(timeout, query(SET_LOCK_TIMEOUT).bind(limit).execute(&mut *connection)).await?;
        let wait = query(LOCK).bind(resource.as_str()).execute(&mut *connection);
        match with_timeout(remaining + timeout, wait).await {
            Ok(_) => Ok(true),
            Err(Error::Database(error)) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn start_lease(&self, session: &mut Session, lease: Lease, owner: &str) -> Result<(), Error> {
        let start_lease = query(START_LEASE).bind(millis(lease)).bind(owner).execute(&mut session.connection);
        with_timeout(self.sessions.service.timeout, start_lease).await.map(|_| ())
    }

    /// Unlocks the part of a set that was locked already.
    async fn unlock_all(&self, mut session: Session) {
        let unlock = query(UNLOCK_ALL).execute(&mut session.connection);
        if with_timeout(self.sessions.service.timeout, unlock).await.is_ok() {
            self.sessions.put_back(session);
        }
    }

    /// The name of the session that holds the lock; there is no token.
    async fn holder(&self, resource: &Resource) -> Result<Option<Holder>, LockError> {
        let mut session = self.sessions.get().await?;
        let mut answer = self.query_holder(&mut session, resource).await;
        if session.reused && matches!(&answer, Err(error) if has_ended(error)) {
            session = self.sessions.replace(session).await?;
            answer = self.query_holder(&mut session, resource).await;
        }
        let found = answer.map_err(|error| self.sessions.failed(error))?;
        self.sessions.put_back(session);
        Ok(found.map(|(name,)| Holder { name, token: None }))
    }

    async fn query_holder(&self, session: &mut Session, resource: &Resource) -> Result<Option<(String,)>, Error> {
        let query = query_as(HOLDER).bind(resource.as_str()).fetch_optional(&mut session.connection);
        with_timeout(self.sessions.service.timeout, query).await
    }
}

impl LockBackend for PostgresAdvisory {
    fn name(&self) -> &'static str {
        BACKEND
    }

    fn acquire<'a>(&'a self, request: &'a Request) -> LockFuture<'a, Option<Acquired>> {
        self.acquire_by_deadline(request).boxed()
    }

    fn read_holder<'a>(&'a self, resource: &'a Resource) -> LockFuture<'a, (Option<Holder>, Notification)> {
        async move { Ok((self.holder(resource).await?, poll_later())) }.boxed()
    }

    fn ready(&self) -> LockFuture<'_, ()> {
        async move {
            let probe = Resource::new("ready").map_err(|error| self.sessions.service.wrong_answer(error))?;
            self.holder(&probe).await.map(|_| ())
        }
        .boxed()
    }
}
