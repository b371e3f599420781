//! The few calls that the experiment makes to inventory: stock for a row, and the lab's pauses.
//!
//! Absence: no claim, no reservation. Those are the order service's business.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A write during which a replica was stopped.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct Parked {
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
    parked: Vec<Parked>,
}

/// Every replica of inventory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inventory {
    http: Client,
    replicas: Vec<String>,
    token: String,
}

impl Inventory {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(replicas: &[String], token: &str) -> anyhow::Result<Self> {
        let http = Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        Ok(Self { http, replicas: replicas.to_vec(), token: token.to_owned() })
    }

    /// How many replicas there are.
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// Sets what there is of a SKU.
    ///
    /// # Errors
    /// Inventory refused, or did not answer.
    pub async fn put_stock(&self, sku: &str, on_hand: u64) -> anyhow::Result<()> {
        let url = format!("{}/v1/stock/{sku}", self.replicas[0]);
        let request = self.http.put(url).bearer_auth(&self.token).json(&json!({ "on_hand": on_hand }));
        accepted(request.send().await, "putting stock").await.map(drop)
    }

    /// The next write of `sku` in this replica stops it.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn arm(&self, replica: usize, sku: &str) -> anyhow::Result<()> {
        let request = self.http.post(self.pauses_url(replica)).bearer_auth(&self.token);
        let request = request.json(&json!({ "sku": sku, "count": 1 }));
        accepted(request.send().await, "arming a pause").await.map(drop)
    }

    /// What was armed and did not fire, does not fire any more.
    ///
    /// # Errors
    /// The replica did not answer; it does not while it is stopped.
    pub async fn disarm(&self, replica: usize) -> anyhow::Result<()> {
        let request = self.http.delete(self.pauses_url(replica)).bearer_auth(&self.token);
        accepted(request.send().await, "disarming a pause").await.map(drop)
    }

    /// The writes that stopped this replica, oldest first.
    ///
    /// # Errors
    /// The lab is off, or the replica did not answer.
    pub async fn parked(&self, replica: usize) -> anyhow::Result<Vec<Parked>> {
        let request = self.http.get(self.pauses_url(replica)).bearer_auth(&self.token);
        let response = accepted(request.send().await, "asking for pauses").await?;
        let pauses: Pauses = response.json().await.context("inventory's pauses were not understood")?;
        Ok(pauses.parked)
    }

    fn pauses_url(&self, replica: usize) -> String {
        format!("{}/v1/lab/pauses", self.replicas[replica])
    }
}

async fn accepted(answer: reqwest::Result<Response>, doing: &str) -> anyhow::Result<Response> {
    let response = answer.with_context(|| format!("{doing}: inventory did not answer"))?;
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
    bail!("{doing}: inventory answered {status}{hint}: {body}")
}
