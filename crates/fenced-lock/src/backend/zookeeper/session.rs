//! The session with the ensemble: made at its first use, shared by all locks of a client, made again when it
//! was lost. It records until when the ensemble keeps it for certain: after too long a pause of the process
//! this moment has passed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use zookeeper_client::{Client, Error, StateWatcher};

use super::ensemble::ZookeeperEnsemble;
use super::folders::belongs_to;
use crate::backend::service::Service;
use crate::cleanups::{Cleanup, Cleanups};
use crate::{FailureKind, LockError};

/// Without a sign of life for as long, a connection counts as silent, and the session goes on on another one. Where
/// two fifths of the session are less than this, they count instead.
const SILENT_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Sessions {
    ensemble: ZookeeperEnsemble,
    pub(super) service: Service,
    pub(super) cleanups: Cleanups,
    current: Mutex<Option<Arc<Session>>>,
}

/// Ends, with all its nodes, when its last user drops it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    service: Service,
    cleanups: Cleanups,
    /// Until when the ensemble keeps the session without a further request; in the past once it is lost.
    alive_until: watch::Receiver<Instant>,
    heartbeat: AbortHandle,
}

impl Sessions {
    pub(super) fn new(ensemble: ZookeeperEnsemble, timeout: Duration) -> Self {
        let service = Service::new("zookeeper", ensemble.servers(), timeout);
        Self { ensemble, service, cleanups: Cleanups::default(), current: Mutex::const_new(None) }
    }

    pub(super) async fn get(&self) -> Result<Arc<Session>, LockError> {
        self.service.with_timeout(self.current_or_new()).await
    }

    async fn current_or_new(&self) -> Result<Arc<Session>, LockError> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.as_ref().filter(|session| !session.client.state().is_terminated()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::open(&self.ensemble, &self.service, &self.cleanups).await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }
}

impl Session {
    async fn open(ensemble: &ZookeeperEnsemble, service: &Service, cleanups: &Cleanups) -> Result<Self, LockError> {
        let before = Instant::now();
        let connector = Client::connector()
            .with_session_timeout(ensemble.session())
            .with_connection_timeout(SILENT_AFTER.min(ensemble.session() * 2 / 5))
            .with_fail_eagerly();
        let client = connector.connect(ensemble.servers()).await.map_err(|error| failed(service, error))?;
        let timeout = client.session_timeout();
        if timeout != ensemble.session() {
            tracing::debug!(requested = ?ensemble.session(), granted = ?timeout, "ZooKeeper granted another session timeout than requested");
        }
        let (sender, alive_until) = watch::channel(before + guaranteed(timeout));
        let heartbeat = tokio::spawn(send_heartbeats(client.clone(), timeout, sender)).abort_handle();
        Ok(Self { client, service: service.clone(), cleanups: cleanups.clone(), alive_until, heartbeat })
    }

    /// How long the ensemble keeps the nodes of an unresponsive client.
    pub(super) fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    pub(super) fn alive_until(&self) -> Instant {
        *self.alive_until.borrow()
    }

    /// Resolves when the session can no longer be relied upon.
    pub(super) async fn lost(&self) {
        let mut heartbeats = self.alive_until.clone();
        loop {
            let end = *heartbeats.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                changed = heartbeats.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Resolves when ZooKeeper's client reports that the session has ended.
    pub(super) async fn terminated(&self) {
        let mut states = self.client.state_watcher();
        terminated(&mut states).await;
    }

    pub(super) async fn with_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, LockError>>,
    ) -> Result<T, LockError> {
        self.service.with_timeout(call).await
    }

    /// Makes one call.
    pub(super) async fn call<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, LockError> {
        self.service.with_timeout(async { call.await.map_err(|error| self.failed(error)) }).await
    }

    /// Makes one call; `None` where the node does not exist.
    pub(super) async fn call_if_found<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, LockError> {
        let call = async {
            match call.await {
                Ok(answer) => Ok(Some(answer)),
                Err(Error::NoNode) => Ok(None),
                Err(error) => Err(self.failed(error)),
            }
        };
        self.service.with_timeout(call).await
    }

    pub(super) fn failed(&self, error: Error) -> LockError {
        failed(&self.service, error)
    }

    pub(super) fn unexpected(&self, what: &'static str) -> LockError {
        self.service.unexpected(what)
    }

    /// Counts clean-up that starts now.
    pub(super) fn start_cleanup(&self) -> Cleanup {
        self.cleanups.start()
    }

    /// Deletes every node of `owner` in these folders. Tries until the ensemble can be reached, as long as the
    /// session lives: until then no other process deletes them.
    pub(super) async fn delete_nodes(&self, cleanup: Cleanup, folders: &[String], owner: &str) {
        while !self.client.state().is_terminated() {
            let deletions = folders.iter().map(|folder| self.delete_in_folder(folder, owner));
            match try_join_all(deletions).await {
                Ok(_) => break,
                Err(error) if is_unanswered(&error) => tokio::time::sleep(self.service.timeout).await,
                Err(error) => {
                    tracing::warn!(%error, owner, "nodes of a released lock not deleted; they remain until the session ends");
                    return;
                }
            }
        }
        cleanup.complete();
    }

    async fn delete_in_folder(&self, folder: &str, owner: &str) -> Result<(), Error> {
        // After the sync the list contains every node that was created, also those whose answers were lost.
        match self.client.sync(folder).await {
            Ok(()) => {}
            Err(Error::NoNode) => return Ok(()),
            Err(error) => return Err(error),
        }
        let children = match self.client.list_children(folder).await {
            Ok(children) => children,
            Err(Error::NoNode) => return Ok(()),
            Err(error) => return Err(error),
        };
        for child in children.iter().filter(|child| belongs_to(child, owner)) {
            match self.client.delete(&format!("{folder}/{child}"), None).await {
                Ok(()) | Err(Error::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

/// The part of the timeout that can be relied upon; the allowance for clock drift is that of a lease.
fn guaranteed(timeout: Duration) -> Duration {
    timeout.saturating_sub(timeout / 100 + Duration::from_millis(2))
}

/// Every answered request restarts the session's timeout at the ensemble. The library's own pings do so as well,
/// but it does not report when.
async fn send_heartbeats(client: Client, timeout: Duration, alive_until: watch::Sender<Instant>) {
    let mut states = client.state_watcher();
    let heartbeats = async {
        loop {
            let before = Instant::now();
            // Waits while there is no connection, and fails when the connection breaks.
            if client.check_stat("/").await.is_ok() {
                alive_until.send_replace(before + guaranteed(timeout));
            }
            tokio::time::sleep(timeout / 4).await;
        }
    };
    tokio::select! {
        () = heartbeats => {}
        () = terminated(&mut states) => {}
    }
    alive_until.send_replace(Instant::now());
}

async fn terminated(states: &mut StateWatcher) {
    let mut state = states.peek_state();
    while !state.is_terminated() {
        state = states.changed().await;
    }
}

/// Whether the connection ended or fell silent before the answer: the request may have been executed, and the session
/// goes on on another connection. The library reports silence and errors of sockets as `Custom`.
pub(super) fn is_unanswered(error: &Error) -> bool {
    matches!(error, Error::ConnectionLoss | Error::Timeout | Error::Custom(_))
}

fn failed(service: &Service, error: Error) -> LockError {
    service.failed(kind_of(&error), error)
}

fn kind_of(error: &Error) -> FailureKind {
    match error {
        Error::NoHosts | Error::NoAuth | Error::AuthFailed => FailureKind::Unreachable,
        Error::SessionExpired | Error::SessionMoved | Error::ClientClosed | Error::ConnectionLoss => FailureKind::Gone,
        // The library reports silence and errors of sockets as `Custom`, and does not tell them apart.
        Error::Timeout | Error::Custom(_) => FailureKind::Silent,
        Error::Throttled | Error::QuotaExceeded => FailureKind::Refused,
        Error::NotReadOnly => FailureKind::ReadOnly,
        _ => FailureKind::WrongAnswer,
    }
}
