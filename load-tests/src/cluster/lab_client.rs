//! The calls that the laboratory itself makes to a service: stock for a row, the pauses of the lab, which make a
//! replica stop itself in the middle of a write, and the delays of payments.
//!
//! Absence: no order, claim or reservation; `workload` places the orders. No replica is resumed here; `process` does
//! that.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
use contract::{ProblemCode, Strategy};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A write in which a replica of inventory stopped itself.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct PausedRequest {
    /// Counts from 0 in each replica.
    pub id: usize,
    /// The SKU whose write was armed.
    pub sku: String,
    /// The order whose write it is.
    pub order_id: Uuid,
    /// The token that it carried; absent for a strategy without tokens.
    pub fencing_token: Option<i64>,
    /// The time just before it was paused.
    #[serde(rename = "parked_at", with = "time::serde::rfc3339")]
    pub paused_at: OffsetDateTime,
    /// The time just after it went on; absent until then.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub resumed_at: Option<OffsetDateTime>,
    /// How it ended; absent until it was attempted.
    pub outcome: Option<WriteOutcome>,
}

/// A message that a replica sent, and the reply. Times are Unix microseconds.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Message {
    /// Address of the receiver.
    pub to: String,
    /// What was sent.
    pub request: String,
    /// What came back, if anything has.
    pub reply: Option<String>,
    /// When it was sent.
    pub sent_us: u64,
    /// When the reply came.
    pub replied_us: Option<u64>,
    /// The row of stock before a statement.
    pub before: Option<String>,
    /// The row after it.
    pub after: Option<String>,
}

/// How a paused write ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum WriteOutcome {
    /// The storage accepted it.
    Written,
    /// It was refused, or failed, with this problem.
    Refused(ProblemCode),
}

impl TryFrom<String> for WriteOutcome {
    type Error = strum::ParseError;

    fn try_from(text: String) -> Result<Self, strum::ParseError> {
        if text == "written" { Ok(Self::Written) } else { text.parse().map(Self::Refused) }
    }
}

/// As inventory sends it.
impl fmt::Display for WriteOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written => f.write_str("written"),
            Self::Refused(code) => f.write_str(code.as_str()),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Pauses {
    #[serde(rename = "parked")]
    paused: Vec<PausedRequest>,
}

/// A client of every replica of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LabClient {
    service: &'static str,
    http: Client,
    urls: Vec<String>,
    token: String,
}

impl LabClient {
    /// Connects to nothing yet. `token` is inventory's bearer token; order needs none.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(service: &'static str, urls: &[String], token: &str) -> anyhow::Result<Self> {
        let http = Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build()?;
        Ok(Self { service, http, urls: urls.to_vec(), token: token.to_owned() })
    }

    /// The number of replicas.
    pub fn count(&self) -> usize {
        self.urls.len()
    }

    /// Arms a pause: the replica stops itself at its next write of `sku`, inventory as the write begins, order before
    /// it sends the write.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn arm(&self, replica: usize, sku: &str) -> anyhow::Result<()> {
        let request = self.http.post(self.url(replica, "lab/pauses")).json(&json!({ "sku": sku, "count": 1 }));
        self.accepted(request, "arming a pause").await.map(drop)
    }

    /// Arms one pause for the next write of any of `skus` at this replica of inventory. With `hold` that write is held for at
    /// most so long, up to a minute, while the replica runs on; without, the replica stops itself, perhaps before it answers
    /// this call.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn arm_any(&self, replica: usize, skus: &[String], hold: Option<Duration>) -> anyhow::Result<()> {
        let Some((sku, others)) = skus.split_first() else { return Ok(()) };
        let mut body = json!({ "sku": sku, "or_skus": others });
        if let Some(hold) = hold {
            body["hold_ms"] = json!(hold.as_millis());
        }
        let request = self.http.post(self.url(replica, "lab/pauses")).json(&body);
        self.accepted(request, "arming a pause").await.map(drop)
    }

    /// Lets the writes that this replica of inventory holds go on.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn resume_held(&self, replica: usize) -> anyhow::Result<()> {
        self.accepted(self.http.post(self.url(replica, "lab/pauses/resume")), "resuming a write").await.map(drop)
    }

    /// Has this replica record every message about `sku` from now on.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn record(&self, replica: usize, sku: &str) -> anyhow::Result<()> {
        let request = self.http.put(self.url(replica, &format!("lab/messages/{sku}")));
        self.accepted(request, "recording messages").await.map(drop)
    }

    /// The messages about `sku` that this replica has sent since it records them, oldest first.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer or records nothing about it.
    pub async fn messages(&self, replica: usize, sku: &str) -> anyhow::Result<Vec<Message>> {
        let request = self.http.get(self.url(replica, &format!("lab/messages/{sku}")));
        let response = self.accepted(request, "reading messages").await?;
        response.json().await.context("the recorded messages could not be decoded")
    }

    /// Ends a recording.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn end_recording(&self, replica: usize, sku: &str) -> anyhow::Result<()> {
        let request = self.http.delete(self.url(replica, &format!("lab/messages/{sku}")));
        self.accepted(request, "ending a recording").await.map(drop)
    }

    /// Cancels the pauses that were armed and have not happened.
    ///
    /// # Errors
    /// The replica did not answer; a stopped one never does.
    pub async fn disarm(&self, replica: usize) -> anyhow::Result<()> {
        self.accepted(self.http.delete(self.url(replica, "lab/pauses")), "disarming a pause").await.map(drop)
    }

    /// The writes in which this replica of inventory stopped itself, oldest first.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn paused_requests(&self, replica: usize) -> anyhow::Result<Vec<PausedRequest>> {
        let response = self.accepted(self.http.get(self.url(replica, "lab/pauses")), "reading the pauses").await?;
        let pauses: Pauses = response.json().await.context("the lab's list of pauses could not be decoded")?;
        Ok(pauses.paused)
    }

    /// Makes payments of `sku` take longer by `by` at this replica of order, until they are told to stop or `at_most` has
    /// passed. Both are milliseconds from 1 to an hour.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn slow_payments(
        &self,
        replica: usize,
        sku: &str,
        by: Duration,
        at_most: Duration,
    ) -> anyhow::Result<()> {
        let body = json!({ "sku": sku, "by_ms": by.as_millis(), "at_most_ms": at_most.as_millis() });
        let request = self.http.post(self.url(replica, "lab/slow-payments")).json(&body);
        self.accepted(request, "slowing payments down").await.map(drop)
    }

    /// Ends the delays of payments at this replica of order; payments that were slowed down end at once.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn stop_slow_payments(&self, replica: usize) -> anyhow::Result<()> {
        let request = self.http.delete(self.url(replica, "lab/slow-payments"));
        self.accepted(request, "ending the delays of payments").await.map(drop)
    }

    /// The strategies that this replica of order has the lock of.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn strategies(&self, replica: usize) -> anyhow::Result<Vec<Strategy>> {
        let answer =
            self.accepted(self.http.get(self.url(replica, "lab/strategies")), "reading the strategies").await?;
        answer.json().await.context("the lab's list of strategies could not be decoded")
    }

    /// Sets the stock of a SKU, at inventory.
    ///
    /// # Errors
    /// Inventory refused, or did not answer.
    pub async fn put_stock(&self, sku: &str, on_hand: u64) -> anyhow::Result<()> {
        let request = self.http.put(self.url(0, &format!("stock/{sku}"))).json(&json!({ "on_hand": on_hand }));
        self.accepted(request, "setting stock").await.map(drop)
    }

    fn url(&self, replica: usize, path: &str) -> String {
        format!("{}/v1/{path}", self.urls[replica])
    }

    async fn accepted(&self, request: RequestBuilder, doing: &str) -> anyhow::Result<Response> {
        let service = self.service;
        let answer = request.bearer_auth(&self.token).send().await;
        let response = answer.with_context(|| format!("{doing}: {service} did not answer"))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let hint = match status {
            StatusCode::NOT_FOUND => " (is its lab switched on?)",
            StatusCode::UNAUTHORIZED => " (is the inventory token the right one?)",
            _ => "",
        };
        let body = response.text().await.unwrap_or_default();
        bail!("{doing}: {service} answered {status}{hint}: {body}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_of_a_write_is_printed_as_inventory_sent_it() {
        let parsed = |text: &str| WriteOutcome::try_from(text.to_owned());
        assert_eq!(parsed("written"), Ok(WriteOutcome::Written));
        assert_eq!(parsed("stale_fencing_token"), Ok(WriteOutcome::Refused(ProblemCode::StaleFencingToken)));
        for text in ["written", "stale_fencing_token"] {
            assert_eq!(parsed(text).expect("an outcome").to_string(), text);
        }
        assert!(parsed("postgres did not answer").is_err(), "a text is no outcome");
    }
}
