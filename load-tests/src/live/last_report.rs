//! The report of the last run, shown inside the page.
//!
//! Invariant: only two files of one folder are served. Absence: no report is written or judged here.

use std::path::Path;
use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::fs;

/// The page of a report brings its own style and no script; only this server may show it in a frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

/// The folder of the last report.
#[derive(Debug, Clone)]
pub(super) struct LastReport(pub(super) Arc<Path>);

impl LastReport {
    /// When the run began and what its verdict is; `None` without a report, or while one is being written.
    pub(super) async fn summary(&self) -> Option<Value> {
        let text = fs::read(self.0.join("report.json")).await.ok()?;
        let report: Value = serde_json::from_slice(&text).ok()?;
        let file = fs::try_exists(self.0.join("index.html")).await.unwrap_or(false);
        Some(json!({ "started_at": report["started_at"], "verdict": report["verdict"], "file": file }))
    }

    /// The page of the report.
    pub(super) async fn page(&self) -> Option<Response> {
        let page = fs::read_to_string(self.0.join("index.html")).await.ok()?;
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        Some((headers, page).into_response())
    }
}
