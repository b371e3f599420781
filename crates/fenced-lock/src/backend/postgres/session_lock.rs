//! A granted lock and the session that it lives in: extending it and releasing it.

use std::sync::{Arc, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use sqlx::{Error, query_as, query_scalar};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::session::{Session, Sessions, has_ended, with_timeout};
use super::statements::{EXTEND_LEASE, RELEASE};
use crate::lock_backend::{HeldLock, LockFuture};
use crate::{Lease, LockError, ReleaseOutcome, Resource};

#[derive(Debug)]
pub(super) struct SessionLock {
    sessions: Sessions,
    /// `None` once the lock was released or was found to be lost.
    session: Mutex<Option<Session>>,
    resources: Arc<[Resource]>,
    /// When the server ends the session at the latest, by this machine's clock.
    lease_end: std::sync::Mutex<Instant>,
}

impl SessionLock {
    pub(super) fn new(sessions: Sessions, session: Session, resources: Arc<[Resource]>, lease_end: Instant) -> Self {
        let (session, lease_end) = (Mutex::new(Some(session)), std::sync::Mutex::new(lease_end));
        Self { sessions, session, resources, lease_end }
    }

    async fn extend_session(&self, lease: Lease) -> Result<Instant, LockError> {
        let service = &self.sessions.service;
        let mut slot = self.session.lock().await;
        let lost = || LockError::Lost { resource: self.resources[0].clone() };
        let session = slot.as_mut().ok_or_else(lost)?;
        let started = Instant::now();
        let extend = query_scalar::<_, String>(EXTEND_LEASE).bind(millis(lease)).fetch_one(&mut session.connection);
        match with_timeout(service.timeout, extend).await {
            Ok(_) => {
                *self.lease_end() = started + lease.get();
                Ok(started + lease.usable())
            }
            Err(error) if has_ended(&error) => {
                slot.take();
                Err(lost())
            }
            Err(error) => Err(self.sessions.failed(error)),
        }
    }

    async fn unlock(&self) -> Result<ReleaseOutcome, LockError> {
        let service = &self.sessions.service;
        let mut slot = self.session.lock().await;
        let Some(session) = slot.as_mut() else {
            return Ok(ReleaseOutcome::NotHeld);
        };
        let names: Vec<_> = self.resources.iter().map(|resource| resource.as_str().to_owned()).collect();
        let unlock = query_as::<_, (bool, String, String)>(RELEASE).bind(names).fetch_one(&mut session.connection);
        match with_timeout(service.timeout, unlock).await {
            Ok((held, _, _)) => {
                if let Some(session) = slot.take() {
                    self.sessions.put_back(session);
                }
                Ok(if held { ReleaseOutcome::Released } else { ReleaseOutcome::NotHeld })
            }
            Err(error) => {
                // Closes the socket, so that the session ends at the server too.
                slot.take();
                let ended_by_server = matches!(&error, Error::Database(_)) && has_ended(&error);
                if ended_by_server || Instant::now() >= *self.lease_end() {
                    Ok(ReleaseOutcome::NotHeld)
                } else {
                    Err(self.sessions.failed(error))
                }
            }
        }
    }

    fn lease_end(&self) -> MutexGuard<'_, Instant> {
        self.lease_end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldLock for SessionLock {
    fn extend(&self, lease: Lease) -> LockFuture<'_, Instant> {
        self.extend_session(lease).boxed()
    }

    fn release(&self) -> LockFuture<'_, ReleaseOutcome> {
        self.unlock().boxed()
    }

    /// Closes the session.
    fn release_detached(self: Box<Self>, _runtime: &Handle) {}

    /// Keeps the session open until the server ends it.
    fn abandon(self: Box<Self>, runtime: &Handle) {
        let lease_end = *self.lease_end();
        runtime.spawn(async move {
            tokio::time::sleep_until(lease_end).await;
            drop(self);
        });
    }
}

/// The lease as Postgres reads it.
pub(super) fn millis(lease: Lease) -> String {
    format!("{}ms", lease.get().as_millis())
}
