//! Sends a call to one of inventory's replicas: round robin, avoiding for a
//! short while a replica that failed.
//!
//! Invariants: a call goes on to another replica only while none has taken the
//! connection, so it reaches at most one. A connection that was made before an
//! overdue call was noticed is not used for a later call.
//! Absence: no body is interpreted here, and no status but 504; the lab records bodies as they are.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Body, Client, Request, RequestBuilder, StatusCode};
use service_kit::{deadline, messages};
use tokio::{
    pin,
    time::{Instant, timeout_at},
};
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

/// When a call's answer is overdue, and when it is given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// From here on the connection counts as silent: later calls use new connections.
    pub(super) overdue: Instant,
    /// The connection is closed. Not before `overdue`.
    pub(super) give_up: Instant,
}

/// Status and body of a response.
pub(super) type Answer = (StatusCode, Vec<u8>);

/// One replica of inventory.
#[derive(Debug)]
pub(super) struct Replica {
    base: Url,
    connections: Mutex<Connections>,
}

/// The connections that may be used for a call, and whether the replica is avoided.
#[derive(Debug)]
struct Connections {
    http: Client,
    /// Grows whenever `http` is replaced.
    generation: u64,
    avoided_until: Option<Instant>,
}

impl Replica {
    /// The address of a call. `path` is a constant of this crate, so it always joins.
    pub(super) fn url(&self, path: &str) -> Url {
        self.base.join(path).unwrap_or_else(|_| self.base.clone())
    }

    /// The replica refused the connection or did not answer: others come first for a while.
    fn mark_failed(&self) {
        self.lock().avoided_until = Some(Instant::now() + AVOIDED_FOR);
    }

    /// A call that was sent on connections of this generation is overdue. What silenced its connection may have
    /// silenced every other one as well, so none of them is tried again: idle ones are closed, and those in use are
    /// closed when their call ends.
    fn mark_silent(&self, generation: u64) {
        self.mark_failed();
        let mut connections = self.lock();
        if connections.generation == generation {
            match new_client() {
                Ok(http) => (connections.http, connections.generation) = (http, generation + 1),
                Err(error) => tracing::warn!(%error, "connections to inventory in doubt are kept: no new HTTP client"),
            }
        }
    }

    fn client(&self) -> (Client, u64) {
        let connections = self.lock();
        (connections.http.clone(), connections.generation)
    }

    fn is_preferred(&self, now: Instant) -> bool {
        self.lock().avoided_until.is_none_or(|until| until <= now)
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An HTTP client without connections.
fn new_client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .retry(reqwest::retry::never())
        .build()
}

/// All replicas of inventory, at least one.
#[derive(Debug)]
pub(super) struct Balancer {
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
        let replica = |mut base: Url| {
            if !base.path().ends_with('/') {
                base.set_path(&format!("{}/", base.path()));
            }
            let connections = Connections { http: new_client()?, generation: 0, avoided_until: None };
            Ok(Arc::new(Replica { base, connections: Mutex::new(connections) }))
        };
        let replicas = urls.into_iter().map(replica).collect::<Result<_, reqwest::Error>>()?;
        Ok(Self { token, replicas, turn: AtomicUsize::new(0) })
    }

    /// The next replica in turn that has not failed lately; if all have, the next in turn.
    fn next(&self) -> Arc<Replica> {
        self.next_at(Instant::now())
    }

    fn next_at(&self, now: Instant) -> Arc<Replica> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut candidates =
            (0..self.replicas.len()).map(|step| &self.replicas[turn.wrapping_add(step) % self.replicas.len()]);
        let chosen = candidates.find(|replica| replica.is_preferred(now));
        Arc::clone(chosen.unwrap_or(&self.replicas[turn % self.replicas.len()]))
    }

    /// Sends the request that `make` builds to the next replica in turn that takes
    /// the connection, and reads the whole response.
    ///
    /// With `told`, inventory is asked to give up before the call is given up. A
    /// write is sent without: it runs to its end.
    pub(super) async fn send(
        &self,
        make: impl Fn(&Client, &Replica) -> RequestBuilder,
        traceparent: Option<String>,
        deadlines: Deadlines,
        told: bool,
    ) -> Result<Answer, SendError> {
        let mut tried = 0;
        loop {
            let replica = self.next();
            tried += 1;
            let (http, generation) = replica.client();
            let mut request = make(&http, &replica).bearer_auth(&self.token);
            if let Some(traceparent) = &traceparent {
                request = request.header("traceparent", traceparent);
            }
            if told {
                let left = deadlines.give_up.saturating_duration_since(Instant::now()).as_millis();
                request = request.header(deadline::HEADER, left.to_string());
            }
            let answer = answer(request);
            pin!(answer);
            let mut answered = timeout_at(deadlines.overdue, &mut answer).await;
            if answered.is_err() {
                replica.mark_silent(generation);
                answered = timeout_at(deadlines.give_up, &mut answer).await;
            }
            match answered {
                Err(_elapsed) => return Err(SendError::NoResponse(None)),
                Ok(Ok((StatusCode::GATEWAY_TIMEOUT, _))) => {
                    replica.mark_failed();
                    return Err(SendError::NoResponse(None));
                }
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    replica.mark_failed();
                    if !error.is_connect() {
                        return Err(SendError::NoResponse(Some(error)));
                    }
                    if tried == self.replicas.len() {
                        return Err(SendError::NotSent(error));
                    }
                }
            }
        }
    }
}

async fn answer(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let (http, request) = request.build_split();
    let request = request?;
    let recorded = messages::sent(|| origin(request.url()), || shown(&request));
    let response = http.execute(request).await?;
    let answer: Answer = (response.status(), response.bytes().await?.into());
    if let Some(recorded) = recorded {
        recorded.replied(format!("{}\n{}", answer.0, String::from_utf8_lossy(&answer.1)));
    }
    Ok(answer)
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Method, path and body, for the lab's record.
fn shown(request: &Request) -> String {
    let body = request.body().and_then(Body::as_bytes).unwrap_or_default();
    let query = request.url().query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{} {}{query}\n{}", request.method(), request.url().path(), String::from_utf8_lossy(body))
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
