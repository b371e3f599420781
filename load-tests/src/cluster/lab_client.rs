//! The few calls that the experiment makes to a service itself: stock for a row, and the lab's pauses, which make a
//! replica stop itself in the middle of a write.
//!
//! Absence: no order, claim or reservation: customers order, and what follows is the order service's business. Nobody is
//! continued here; `control` does that.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A write during which a replica of inventory was stopped.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct PausedRequest {
    /// Counts from 0 in each replica.
    pub id: usize,
    /// What armed it.
    pub sku: String,
    /// Whose write.
    pub order_id: Uuid,
    /// What it carried.
    pub fencing_token: Option<i64>,
    /// `written`, or the code of the refusal; absent until it was attempted.
    pub outcome: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Pauses {
    parked: Vec<PausedRequest>,
}

/// Every replica of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LabClient {
    service: &'static str,
    http: Client,
    urls: Vec<String>,
    token: String,
}

impl LabClient {
    /// Connects to nothing yet. Order asks for no token.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(service: &'static str, urls: &[String], token: &str) -> anyhow::Result<Self> {
        let http = Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        Ok(Self { service, http, urls: urls.to_vec(), token: token.to_owned() })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.urls.len()
    }

    /// The next write of `sku` in this replica stops it: at inventory as it begins, at order before it is sent.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn arm(&self, replica: usize, sku: &str) -> anyhow::Result<()> {
        let request = self.http.post(self.url(replica, "lab/pauses")).json(&json!({ "sku": sku, "count": 1 }));
        self.accepted(request, "arming a pause").await.map(drop)
    }

    /// What was armed and did not fire, does not fire any more.
    ///
    /// # Errors
    /// The replica did not answer; it does not while it is stopped.
    pub async fn disarm(&self, replica: usize) -> anyhow::Result<()> {
        self.accepted(self.http.delete(self.url(replica, "lab/pauses")), "disarming a pause").await.map(drop)
    }

    /// The writes that stopped this replica of inventory, oldest first.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn parked(&self, replica: usize) -> anyhow::Result<Vec<PausedRequest>> {
        let response = self.accepted(self.http.get(self.url(replica, "lab/pauses")), "asking for pauses").await?;
        let pauses: Pauses = response.json().await.context("the pauses were not understood")?;
        Ok(pauses.parked)
    }

    /// Sets what there is of a SKU, at inventory.
    ///
    /// # Errors
    /// Inventory refused, or did not answer.
    pub async fn put_stock(&self, sku: &str, on_hand: u64) -> anyhow::Result<()> {
        let request = self.http.put(self.url(0, &format!("stock/{sku}"))).json(&json!({ "on_hand": on_hand }));
        self.accepted(request, "putting stock").await.map(drop)
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
