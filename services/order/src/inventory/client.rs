//! The calls to inventory, and what they send and receive. Why a call failed is in `call_error`.
//!
//! Absence: nothing is decided here, and a write that may have been received is
//! never sent again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use contract::{Sku, Strategy};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use url::Url;
use uuid::Uuid;

use crate::{
    domain::{
        allocation::StockSnapshot,
        order::{OrderLine, Reservation},
    },
    inventory::{
        balancer::{Answer, Balancer, CONNECT_TIMEOUT, Deadlines, Replica, SendError},
        call_error::{CallError, Refusal},
        shared_reads::{ReadStock, SharedReads},
    },
};

/// One SKU of a claim or a write, with what the storage compares. A member that
/// does not apply is not sent.
#[derive(Debug, Clone, Serialize)]
pub struct GuardedLine {
    /// The SKU.
    pub sku: Sku,
    /// Units to reserve; absent in a claim and in the stock of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// The token of the lock, under strategies with tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<u64>,
    /// Units that were read; absent where nothing was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_available: Option<i64>,
    /// The version that was read, under `optimistic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_version: Option<i64>,
}

/// The write of one order.
#[derive(Debug, Clone, Serialize)]
pub struct Reserve {
    /// Inventory accepts one reservation for each order.
    pub order_id: Uuid,
    /// Sorted by SKU.
    pub lines: Vec<GuardedLine>,
    /// How long the hold lasts, in seconds.
    pub hold_seconds: u64,
}

/// The write of several orders that share a grant.
#[derive(Debug, Clone, Serialize)]
pub struct ReserveBatch {
    /// The tokens and the stock that was read, a SKU each.
    pub stock: Vec<GuardedLine>,
    /// In the order in which units are allocated.
    pub orders: Vec<BatchOrder>,
    /// How long the holds last, in seconds.
    pub hold_seconds: u64,
}

/// One order of a [`ReserveBatch`].
#[derive(Debug, Clone, Serialize)]
pub struct BatchOrder {
    /// Inventory accepts one reservation for each order.
    pub order_id: Uuid,
    /// Sorted by SKU.
    pub lines: Vec<OrderLine>,
}

/// The result of each order of a batch, by order id.
pub type BatchResults = HashMap<Uuid, Result<Reservation, CallError>>;

#[derive(Deserialize)]
struct ClaimResponse {
    snapshots: Vec<StockSnapshot>,
}

/// One outcome for each order, in the order of the request.
#[derive(Deserialize)]
struct BatchResponse {
    outcomes: Vec<BatchOutcome>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum BatchOutcome {
    Reservation(Reservation),
    Problem(Value),
}

/// A final transition of a held reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Transition {
    /// The units become the customer's.
    Confirm,
    /// The units return to stock.
    Cancel,
}

/// Inventory, with all its replicas. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InventoryClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    balancer: Arc<Balancer>,
    reads: SharedReads<StockReader>,
    /// How long a read or a claim may take before it is given up.
    read_timeout: Duration,
    writes: TaskTracker,
}

impl InventoryClient {
    /// Connects to nothing yet. `read_timeout` limits reads and claims, not writes.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(urls: Vec<Url>, token: String, read_timeout: Duration) -> Result<Self, reqwest::Error> {
        let balancer = Arc::new(Balancer::new(urls, token)?);
        let reads = SharedReads::new(StockReader { balancer: Arc::clone(&balancer), timeout: read_timeout });
        Ok(Self(Arc::new(Inner { balancer, reads, read_timeout, writes: TaskTracker::new() })))
    }

    /// Registers the tokens, all or none, and reads the stock that they guard.
    ///
    /// # Errors
    /// After `NoAnswer` the tokens may be registered: only a new grant can claim again.
    pub async fn claim(
        &self,
        lines: &[GuardedLine],
        strategy: Strategy,
        by: Instant,
    ) -> Result<Vec<StockSnapshot>, CallError> {
        let body = serde_json::json!({ "lines": lines });
        let make = |http: &Client, replica: &Replica| {
            http.post(replica.url("v1/claims")).header("lock-strategy", strategy.name()).json(&body)
        };
        let response: ClaimResponse = self.call(make, self.read_deadline(by)).await?;
        Ok(response.snapshots)
    }

    /// Reads stock without registering a token.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn read_stock(
        &self,
        skus: impl IntoIterator<Item = &Sku>,
        by: Instant,
    ) -> Result<Vec<StockSnapshot>, CallError> {
        let reads = skus.into_iter().map(|sku| async move {
            let path = format!("v1/stock/{sku}");
            self.call(|http, replica| http.get(replica.url(&path)), self.read_deadline(by)).await
        });
        futures_util::future::try_join_all(reads).await
    }

    /// The units available of each of these SKUs that exists, at one moment during this call. The read is shared with
    /// other callers.
    ///
    /// # Errors
    /// Nothing was read in time.
    pub async fn available(&self, skus: Vec<Sku>, by: Instant) -> Result<HashMap<Sku, i64>, Arc<CallError>> {
        let none = || Arc::new(CallError::NoAnswer(None));
        let read = timeout_at(self.read_deadline(by), self.0.reads.available(skus)).await;
        read.map_err(|_elapsed| none())?.map_err(|error| error.unwrap_or_else(none))
    }

    /// The order's reservation, if inventory has one.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn find_reservation(&self, order: Uuid, by: Instant) -> Result<Option<Reservation>, CallError> {
        let path = format!("v1/reservations?order_id={order}");
        match self.call(|http, replica| http.get(replica.url(&path)), self.read_deadline(by)).await {
            Ok(reservation) => Ok(Some(reservation)),
            Err(CallError::Refused(Refusal { status: StatusCode::NOT_FOUND, .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a replica can serve.
    ///
    /// # Errors
    /// None of those tried can.
    pub async fn ready(&self) -> Result<(), CallError> {
        let by = self.read_deadline(Instant::now() + CONNECT_TIMEOUT);
        let ready = self.call(|http, replica| http.get(replica.url("readyz")), by);
        ready.await.map(|_status: IgnoredAny| ())
    }

    /// Confirms or cancels a reservation.
    ///
    /// # Errors
    /// After `NoAnswer` and `Failed` it may have happened: query the reservation.
    pub async fn transition(
        &self,
        reservation: Uuid,
        transition: Transition,
        by: Instant,
    ) -> Result<Reservation, CallError> {
        let verb: &str = transition.into();
        let path = format!("v1/reservations/{reservation}/{verb}");
        self.call(|http, replica| http.post(replica.url(&path)), by).await
    }

    /// Sends the write once and waits until `by` for its answer. The connection
    /// stays open for `keep_open` in any case: a write that was sent runs to its
    /// end, late if need be, and the fence decides whether it counts.
    ///
    /// # Errors
    /// After `NotSent` and `Refused` nothing was written; after any other the
    /// outcome is unknown.
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

    /// Sends one write for several orders, as [`reserve`](Self::reserve) does for one.
    ///
    /// # Errors
    /// As `reserve`, for all orders at once. An order that was refused by itself
    /// is an error among the results.
    ///
    /// # Cancel safety
    /// The write goes on.
    pub async fn reserve_batch(
        &self,
        batch: ReserveBatch,
        strategy: Strategy,
        by: Instant,
        keep_open: Duration,
    ) -> Result<BatchResults, CallError> {
        let orders: Vec<_> = batch.orders.iter().map(|order| order.order_id).collect();
        let response: BatchResponse = self.write("v1/reservations/batch", batch, strategy, by, keep_open).await?;
        if response.outcomes.len() != orders.len() {
            return Err(CallError::NoAnswer(None)); // for some of the orders
        }
        let result = |outcome| match outcome {
            BatchOutcome::Reservation(reservation) => Ok(reservation),
            BatchOutcome::Problem(problem) => Err(CallError::Refused(Refusal::decode(StatusCode::CONFLICT, &problem))),
        };
        Ok(orders.into_iter().zip(response.outcomes.into_iter().map(result)).collect())
    }

    /// Resolves when no write is in progress any more, answered or not.
    pub async fn writes_ended(&self) {
        self.0.writes.close();
        self.0.writes.wait().await;
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
        let deadlines = Deadlines { overdue: by, give_up: by.max(Instant::now() + keep_open) };
        let write = self.0.writes.spawn(async move {
            let make = |http: &Client, replica: &Replica| {
                http.post(replica.url(path)).header("lock-strategy", strategy.name()).json(&body)
            };
            decode(client.0.balancer.send(make, traceparent, deadlines, false).await?)
        });
        match timeout_at(by, write).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panicked)) => Err(CallError::TaskPanicked),
            Err(_elapsed) => Err(CallError::NoAnswer(None)),
        }
    }

    fn read_deadline(&self, by: Instant) -> Instant {
        by.min(Instant::now() + self.0.read_timeout)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        make: impl Fn(&Client, &Replica) -> RequestBuilder,
        by: Instant,
    ) -> Result<T, CallError> {
        read(&self.0.balancer, make, by).await
    }
}

/// Reads the stock of several SKUs, for whoever waits for it.
#[derive(Debug, Clone)]
struct StockReader {
    balancer: Arc<Balancer>,
    timeout: Duration,
}

#[derive(Deserialize)]
struct StockResponse {
    stock: Vec<StockSnapshot>,
}

impl ReadStock for StockReader {
    type Error = CallError;

    async fn read(&self, skus: BTreeSet<&Sku>) -> Result<HashMap<Sku, i64>, CallError> {
        let skus = skus.into_iter().map(Sku::as_str).collect::<Vec<_>>().join(",");
        let path = format!("v1/stock?skus={skus}");
        let make = |http: &Client, replica: &Replica| http.get(replica.url(&path));
        let response: StockResponse = read(&self.balancer, make, Instant::now() + self.timeout).await?;
        Ok(response.stock.into_iter().map(|found| (found.sku, found.available)).collect())
    }
}

/// Makes a call that may be made again, and waits until `by` for its answer.
async fn read<T: DeserializeOwned>(
    balancer: &Balancer,
    make: impl Fn(&Client, &Replica) -> RequestBuilder,
    by: Instant,
) -> Result<T, CallError> {
    let deadlines = Deadlines { overdue: by, give_up: by };
    decode(balancer.send(make, service_kit::trace::current_traceparent(), deadlines, true).await?)
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent(error) => Self::NotSent(error),
            SendError::NoResponse(error) => Self::NoAnswer(error),
        }
    }
}

fn decode<T: DeserializeOwned>((status, body): Answer) -> Result<T, CallError> {
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| CallError::Failed { status });
    }
    if !status.is_client_error() {
        return Err(CallError::Failed { status });
    }
    let problem = serde_json::from_slice(&body).unwrap_or_default();
    Err(CallError::Refused(Refusal::decode(status, &problem)))
}

#[cfg(test)]
mod tests {
    use failure_kind::FailureKind;

    use super::*;

    #[tokio::test]
    async fn an_address_where_nothing_listens_is_unreachable_and_a_closed_connection_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let client =
            InventoryClient::new(vec![url.parse().expect("a URL")], "token".to_owned(), Duration::from_secs(9));
        let client = client.expect("a client");
        let find = || client.find_reservation(Uuid::nil(), Instant::now() + Duration::from_secs(9));
        // Not one of a pool that could be tried again on another connection.
        let close_all = async {
            loop {
                drop(listener.accept().await.expect("a connection"));
            }
        };
        let closed = tokio::select! { found = find() => found, () = close_all => unreachable!("it accepts for ever") };
        assert_eq!(closed.expect_err("no answer").kind(), FailureKind::Gone);
        drop(listener);
        assert_eq!(find().await.expect_err("nothing listens").kind(), FailureKind::Unreachable);
    }
}
