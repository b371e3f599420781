//! Sends a call to one of inventory's replicas: round robin, avoiding for a
//! short while a replica that failed.
//!
//! Invariant: a call goes on to another replica only while none has taken the
//! connection, so it reaches at most one.
//! Absence: no body is read here, and no status but 504 is interpreted.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use service_kit::deadline;
use tokio::time::Instant;
use url::Url;

/// A stopped host must not use up the lease before the next replica is tried.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const IDLE_CONNECTIONS: usize = 64;
/// Long enough that a stopped replica does not delay every order, short enough
/// that a restarted one soon carries load again.
const AVOIDED_FOR: Duration = Duration::from_secs(1);

/// Why there is no response.
#[derive(Debug)]
pub(super) enum SendError {
    /// No replica took the connection: certainly nothing was done.
    NotSent(reqwest::Error),
    /// The request may have been received, and no response came.
    NoResponse(Option<reqwest::Error>),
}

/// One replica of inventory.
#[derive(Debug)]
pub(super) struct Replica {
    base: Url,
    avoided_until: Mutex<Option<Instant>>,
}

impl Replica {
    /// The address of a call. `path` is a constant of this crate, so it always joins.
    pub(super) fn url(&self, path: &str) -> Url {
        self.base.join(path).unwrap_or_else(|_| self.base.clone())
    }

    /// The replica refused the connection or did not answer: others come first for a while.
    pub(super) fn mark_failed(&self) {
        *self.lock() = Some(Instant::now() + AVOIDED_FOR);
    }

    fn is_preferred(&self, now: Instant) -> bool {
        self.lock().is_none_or(|until| until <= now)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.avoided_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All replicas of inventory, at least one.
#[derive(Debug)]
pub(super) struct Balancer {
    http: Client,
    token: String,
    replicas: Vec<Arc<Replica>>,
    turn: AtomicUsize,
}

impl Balancer {
    /// Connects to nothing yet. `token` is sent with every call.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    ///
    /// # Panics
    /// Without any URL: the configuration requires one.
    pub(super) fn new(urls: Vec<Url>, token: String) -> Result<Self, reqwest::Error> {
        assert!(!urls.is_empty(), "the configuration requires at least one replica");
        let http = Client::builder()
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .retry(reqwest::retry::never())
            .build()?;
        let replica = |mut base: Url| {
            if !base.path().ends_with('/') {
                base.set_path(&format!("{}/", base.path()));
            }
            Arc::new(Replica { base, avoided_until: Mutex::new(None) })
        };
        Ok(Self { http, token, replicas: urls.into_iter().map(replica).collect(), turn: AtomicUsize::new(0) })
    }

    /// The next replica in turn that has not failed lately; if all have, the next in turn.
    pub(super) fn next(&self) -> Arc<Replica> {
        self.next_at(Instant::now())
    }

    fn next_at(&self, now: Instant) -> Arc<Replica> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut candidates =
            (0..self.replicas.len()).map(|step| &self.replicas[turn.wrapping_add(step) % self.replicas.len()]);
        let chosen = candidates.find(|replica| replica.is_preferred(now));
        Arc::clone(chosen.unwrap_or(&self.replicas[turn % self.replicas.len()]))
    }

    /// Sends the request that `make` builds to `first`, or to the next replica
    /// that takes the connection.
    ///
    /// With `by`, inventory is asked to give up before then. A write is sent
    /// without: it runs to its end.
    pub(super) async fn send(
        &self,
        first: Arc<Replica>,
        make: impl Fn(&Client, &Replica) -> RequestBuilder,
        traceparent: Option<String>,
        by: Option<Instant>,
    ) -> Result<Response, SendError> {
        let mut replica = first;
        let mut tried = 1;
        loop {
            let mut request = make(&self.http, &replica).bearer_auth(&self.token);
            if let Some(traceparent) = &traceparent {
                request = request.header("traceparent", traceparent);
            }
            if let Some(by) = by {
                let left = by.saturating_duration_since(Instant::now()).as_millis();
                request = request.header(deadline::HEADER, left.to_string());
            }
            match request.send().await {
                Ok(response) if response.status() == StatusCode::GATEWAY_TIMEOUT => {
                    replica.mark_failed();
                    return Err(SendError::NoResponse(None));
                }
                Ok(response) => return Ok(response),
                Err(error) => {
                    replica.mark_failed();
                    if !error.is_connect() {
                        return Err(SendError::NoResponse(Some(error)));
                    }
                    if tried == self.replicas.len() {
                        return Err(SendError::NotSent(error));
                    }
                }
            }
            replica = self.next();
            tried += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_replicas() -> Balancer {
        let urls = vec!["http://a".parse().expect("url"), "http://b".parse().expect("url")];
        Balancer::new(urls, String::new()).expect("a client")
    }

    #[test]
    fn replicas_take_turns() {
        let balancer = two_replicas();
        let hosts: Vec<_> = (0..3).map(|_| balancer.next().base.to_string()).collect();
        assert_eq!(hosts, ["http://a/", "http://b/", "http://a/"]);
    }

    #[test]
    fn a_replica_that_failed_is_avoided_for_a_while() {
        let balancer = two_replicas();
        balancer.next().mark_failed();
        assert!((0..4).all(|_| balancer.next().base.as_str() == "http://b/"));
        let later = Instant::now() + AVOIDED_FOR;
        assert!((0..2).any(|_| balancer.next_at(later).base.as_str() == "http://a/"));
    }

    #[test]
    fn replicas_take_turns_though_all_have_failed() {
        let balancer = two_replicas();
        balancer.next().mark_failed();
        balancer.next().mark_failed();
        let hosts: Vec<_> = (0..2).map(|_| balancer.next().base.to_string()).collect();
        assert_eq!(hosts, ["http://a/", "http://b/"]);
    }
}
