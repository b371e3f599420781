//! The calls to inventory. Tells apart what was never sent, what was refused
//! and what nobody answered: everything the order path does about a failure
//! depends on that difference. Never decides, never retries a write that may
//! have been received.

use std::{sync::Arc, time::Duration};

use reqwest::{RequestBuilder, StatusCode};
use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use service_kit::deadline;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use url::Url;
use uuid::Uuid;

pub use super::wire::{BatchOrder, BatchStock, ClaimLine, Refusal, Reserve, ReserveBatch, ReserveLine};
use super::wire::{BatchOutcome, BatchResponse, ClaimResponse};
use crate::domain::allocation::StockSnapshot;
use crate::domain::order::{OrderLine, Reservation};
use crate::inventory::balancer::{Balancer, Replica};
use crate::strategy::Strategy;

/// A stopped host must not eat the lease before the next replica is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const IDLE_CONNECTIONS: usize = 64;

/// Why a call did not bring what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No replica took the connection: certainly nothing was done.
    #[error("no replica of inventory could be reached")]
    NotSent(#[source] reqwest::Error),
    /// It was sent, or may have been, and no answer came, or none in time.
    #[error("inventory did not answer")]
    NoAnswer(#[source] Option<reqwest::Error>),
    /// It could not do it: a 5xx, or something that is no answer of inventory.
    #[error("inventory answered {status}")]
    Failed {
        /// As it came.
        status: StatusCode,
    },
    /// It would not do it: a 4xx. Certainly nothing was done.
    #[error("inventory refused: {} {}", .0.status, .0.code)]
    Refused(Refusal),
}

/// What can be done to a held reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The customer has it.
    Confirm,
    /// The units go back.
    Cancel,
}

/// Inventory, all its replicas. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InventoryClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    replicas: Balancer,
    token: String,
    /// How long a read or a claim may take before another replica is asked.
    call_timeout: Duration,
    writes: TaskTracker,
}

impl InventoryClient {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(urls: Vec<Url>, token: String, call_timeout: Duration) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .retry(reqwest::retry::never())
            .build()?;
        let (replicas, writes) = (Balancer::new(urls), TaskTracker::new());
        Ok(Self(Arc::new(Inner { http, replicas, token, call_timeout, writes })))
    }

    /// Registers the tokens, all or none, and reads what they protect.
    ///
    /// # Errors
    /// After `NoAnswer` the tokens may or may not be registered: only a new
    /// grant can claim again.
    pub async fn claim(
        &self,
        lines: &[ClaimLine],
        strategy: Strategy,
        by: Instant,
    ) -> Result<Vec<StockSnapshot>, CallError> {
        let body = serde_json::json!({ "lines": lines });
        let make = |http: &reqwest::Client, replica: &Replica| {
            http.post(replica.url("v1/claims")).header("lock-strategy", strategy.name()).json(&body)
        };
        let answer: ClaimResponse = self.ask(make, self.soon(by)).await?;
        Ok(answer.snapshots)
    }

    /// Reads stock without claiming anything.
    ///
    /// # Errors
    /// As of any read.
    pub async fn observe(&self, lines: &[OrderLine], by: Instant) -> Result<Vec<StockSnapshot>, CallError> {
        let reads = lines.iter().map(|line| async move {
            let path = format!("v1/stock/{}", line.sku);
            self.ask(|http, replica| http.get(replica.url(&path)), self.soon(by)).await
        });
        futures_util::future::try_join_all(reads).await
    }

    /// The order's reservation, if there is one.
    ///
    /// # Errors
    /// As of any read.
    pub async fn find_reservation(&self, order: Uuid, by: Instant) -> Result<Option<Reservation>, CallError> {
        let path = format!("v1/reservations?order_id={order}");
        match self.ask(|http, replica| http.get(replica.url(&path)), self.soon(by)).await {
            Ok(found) => Ok(Some(found)),
            Err(CallError::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Can one of the replicas work?
    ///
    /// # Errors
    /// As of any read.
    pub async fn ready(&self) -> Result<(), CallError> {
        let asked =
            self.ask(|http, replica| http.get(replica.url("readyz")), self.soon(Instant::now() + CONNECT_TIMEOUT));
        asked.await.map(|_status: IgnoredAny| ())
    }

    /// Confirms or cancels a reservation.
    ///
    /// # Errors
    /// After `NoAnswer` and `Failed` it may have happened: look it up.
    pub async fn transition(
        &self,
        reservation: Uuid,
        transition: Transition,
        by: Instant,
    ) -> Result<Reservation, CallError> {
        let verb = match transition {
            Transition::Confirm => "confirm",
            Transition::Cancel => "cancel",
        };
        let path = format!("v1/reservations/{reservation}/{verb}");
        self.ask(|http, replica| http.post(replica.url(&path)), by).await
    }

    /// Sends the write once and waits for its answer until `by`. The connection
    /// stays open for `keep_open` whoever stops waiting: a write once sent runs
    /// to its end, late if need be. That is what the fence is for.
    ///
    /// # Errors
    /// `NotSent` and `Refused` wrote nothing. After `NoAnswer` and `Failed`
    /// nobody knows.
    ///
    /// # Cancel safety
    /// The write goes on.
    pub async fn reserve(
        &self,
        reserve: Reserve,
        strategy: Strategy,
        by: Instant,
        keep_open: Duration,
    ) -> Result<Reservation, CallError> {
        self.write("v1/reservations", reserve, strategy, by, keep_open).await
    }

    /// One write for all these orders, as `reserve`; how each of them ended, in order.
    ///
    /// # Errors
    /// As `reserve`, about all of them; one that was refused by itself is an
    /// error among the answers.
    ///
    /// # Cancel safety
    /// The write goes on.
    pub async fn reserve_batch(
        &self,
        batch: ReserveBatch,
        strategy: Strategy,
        by: Instant,
        keep_open: Duration,
    ) -> Result<Vec<Result<Reservation, CallError>>, CallError> {
        let asked = batch.orders.len();
        let answer: BatchResponse = self.write("v1/reservations/batch", batch, strategy, by, keep_open).await?;
        if answer.outcomes.len() != asked {
            return Err(CallError::NoAnswer(None)); // to some of them
        }
        let each = |outcome| match outcome {
            BatchOutcome::Reservation(held) => Ok(held),
            BatchOutcome::Problem(problem) => Err(CallError::Refused(Refusal::read(StatusCode::CONFLICT, &problem))),
        };
        Ok(answer.outcomes.into_iter().map(each).collect())
    }

    async fn write<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &'static str,
        body: impl Serialize + Send + Sync + 'static,
        strategy: Strategy,
        by: Instant,
        keep_open: Duration,
    ) -> Result<T, CallError> {
        let (client, traceparent) = (self.clone(), service_kit::trace::current_traceparent());
        let first = self.0.replicas.next();
        let name = first.clone();
        let write = self.0.writes.spawn(async move {
            let make = |http: &reqwest::Client, replica: &Replica| {
                http.post(replica.url(path)).header("lock-strategy", strategy.name()).json(&body)
            };
            let written = timeout(keep_open, client.send(first, make, traceparent, None)).await;
            written.unwrap_or(Err(CallError::NoAnswer(None)))
        });
        match timeout_at(by, write).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panicked)) => Err(CallError::NoAnswer(None)),
            Err(_elapsed) => {
                name.mark_failed();
                Err(CallError::NoAnswer(None))
            }
        }
    }

    /// Resolves when no write is on its way any more, answered or not.
    pub async fn writes_ended(&self) {
        self.0.writes.close();
        self.0.writes.wait().await;
    }

    fn soon(&self, by: Instant) -> Instant {
        by.min(Instant::now() + self.0.call_timeout)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        make: impl Fn(&reqwest::Client, &Replica) -> RequestBuilder,
        by: Instant,
    ) -> Result<T, CallError> {
        let first = self.0.replicas.next();
        let name = first.clone();
        let call = self.send(first, make, service_kit::trace::current_traceparent(), Some(by));
        timeout_at(by, call).await.unwrap_or_else(|_elapsed| {
            name.mark_failed();
            Err(CallError::NoAnswer(None))
        })
    }

    /// Goes on to another replica only while the one before took no connection.
    /// Inventory is told how long its answer is waited for, and gives up before;
    /// never so with a write, which runs to its end.
    async fn send<T: DeserializeOwned>(
        &self,
        first: Arc<Replica>,
        make: impl Fn(&reqwest::Client, &Replica) -> RequestBuilder,
        traceparent: Option<String>,
        by: Option<Instant>,
    ) -> Result<T, CallError> {
        let mut replica = first;
        let mut tried = 1;
        loop {
            let mut request = make(&self.0.http, &replica).bearer_auth(&self.0.token);
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
                    return Err(CallError::NoAnswer(None));
                }
                Ok(response) => return read(response).await,
                Err(error) => {
                    replica.mark_failed();
                    if !error.is_connect() {
                        return Err(CallError::NoAnswer(Some(error)));
                    }
                    if tried == self.0.replicas.len() {
                        return Err(CallError::NotSent(error));
                    }
                }
            }
            replica = self.0.replicas.next();
            tried += 1;
        }
    }
}

async fn read<T: DeserializeOwned>(response: reqwest::Response) -> Result<T, CallError> {
    let status = response.status();
    let body = response.bytes().await;
    let body = body.map_err(|error| CallError::NoAnswer(Some(error)))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| CallError::Failed { status });
    }
    if !status.is_client_error() {
        return Err(CallError::Failed { status });
    }
    let problem = serde_json::from_slice(&body).unwrap_or_default();
    Err(CallError::Refused(Refusal::read(status, &problem)))
}
