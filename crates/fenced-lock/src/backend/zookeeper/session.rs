//! The session with the ensemble: made when first needed, shared by all locks of a client, made anew
//! when it was lost. It knows until when the ensemble keeps it for certain: a process that was paused
//! finds that moment passed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use zookeeper_client::{Client, Error, StateWatcher};

use super::ZookeeperEnsemble;
use crate::LockError;
use crate::backend::service::Service;

#[derive(Debug)]
pub(super) struct Sessions {
    ensemble: ZookeeperEnsemble,
    pub(super) service: Service,
    current: Mutex<Option<Arc<Session>>>,
}

/// Ends, with all its nodes, when nobody needs it any more.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) client: Client,
    service: Service,
    /// Until when the ensemble keeps it even if it hears nothing more; past once it is lost.
    alive_until: watch::Receiver<Instant>,
    heartbeat: AbortHandle,
}

impl Sessions {
    pub(super) fn new(ensemble: ZookeeperEnsemble, timeout: Duration) -> Self {
        let service = Service::new("zookeeper", ensemble.servers(), timeout);
        Self { ensemble, service, current: Mutex::const_new(None) }
    }

    pub(super) async fn get(&self) -> Result<Arc<Session>, LockError> {
        self.service.with_timeout(self.current_or_new()).await
    }

    async fn current_or_new(&self) -> Result<Arc<Session>, LockError> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.as_ref().filter(|session| !session.client.state().is_terminated()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::open(&self.ensemble, &self.service).await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }
}

impl Session {
    async fn open(ensemble: &ZookeeperEnsemble, service: &Service) -> Result<Self, LockError> {
        let before = Instant::now();
        let connector = Client::connector().with_session_timeout(ensemble.session()).with_fail_eagerly();
        let client = connector.connect(ensemble.servers()).await.map_err(|error| failed(service, error))?;
        let timeout = client.session_timeout();
        if timeout != ensemble.session() {
            tracing::debug!(asked = ?ensemble.session(), granted = ?timeout, "ZooKeeper keeps sessions in a range of its own");
        }
        let (sender, alive_until) = watch::channel(before + guaranteed(timeout));
        let heartbeat = tokio::spawn(send_heartbeats(client.clone(), timeout, sender)).abort_handle();
        Ok(Self { client, service: service.clone(), alive_until, heartbeat })
    }

    /// How long the ensemble keeps the nodes of a client that fell silent.
    pub(super) fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    pub(super) fn alive_until(&self) -> Instant {
        *self.alive_until.borrow()
    }

    /// Resolves when the session cannot be relied upon any more.
    pub(super) async fn lost(&self) {
        let mut beats = self.alive_until.clone();
        loop {
            let end = *beats.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                changed = beats.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Resolves when the session has ended, as far as is known here.
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

    /// One answer, within its time.
    pub(super) async fn call<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, LockError> {
        self.service.with_timeout(async { call.await.map_err(|error| self.failed(error)) }).await
    }

    /// As `ask`, `None` where the node is not there.
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

    /// Deletes whatever `owner` has in these folders, as soon as the ensemble can be reached and as
    /// long as the session lives: nothing else would.
    pub(super) async fn sweep(&self, folders: &[String], owner: &str) {
        while !self.client.state().is_terminated() {
            let sweeps = folders.iter().map(|folder| self.sweep_folder(folder, owner));
            match try_join_all(sweeps).await {
                Ok(_) => return,
                Err(Error::ConnectionLoss) => tokio::time::sleep(self.service.timeout()).await,
                Err(error) => {
                    tracing::warn!(%error, owner, "nodes of a lock may be left until the session ends");
                    return;
                }
            }
        }
    }

    async fn sweep_folder(&self, folder: &str, owner: &str) -> Result<(), Error> {
        // A create whose answer was lost is in the list after this, or never will be.
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

/// Nodes are called `{owner}-{sequence}`.
pub(super) fn belongs_to(node: &str, owner: &str) -> bool {
    node.strip_prefix(owner).is_some_and(|rest| rest.starts_with('-'))
}

/// Clocks differ as they do for a lease.
fn guaranteed(timeout: Duration) -> Duration {
    timeout.saturating_sub(timeout / 100 + Duration::from_millis(2))
}

/// Anything that is answered restarts the session's time at the ensemble; the library's own pings do
/// so as well, but it does not tell when.
async fn send_heartbeats(client: Client, timeout: Duration, alive_until: watch::Sender<Instant>) {
    let mut states = client.state_watcher();
    let beating = async {
        loop {
            let before = Instant::now();
            // Waits while there is no connection, and fails when one is lost.
            if client.check_stat("/").await.is_ok() {
                alive_until.send_replace(before + guaranteed(timeout));
            }
            tokio::time::sleep(timeout / 4).await;
        }
    };
    tokio::select! {
        () = beating => {}
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

fn failed(service: &Service, error: Error) -> LockError {
    match error {
        Error::NoHosts | Error::NoAuth | Error::AuthFailed => service.refused(error),
        Error::ConnectionLoss
        | Error::SessionExpired
        | Error::SessionMoved
        | Error::Timeout
        | Error::ClientClosed
        | Error::Throttled => service.no_answer(error),
        error => service.wrong(error),
    }
}
