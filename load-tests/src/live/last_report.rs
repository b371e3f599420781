//! The report of the last run, shown inside the page.
//!
//! Invariant: only two files of one folder are served. Absence: no report is written or judged here.

use std::path::Path;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::fs;

use super::{Live, problem};

/// The page of a report brings its own style and no script; only this server may show it in a frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

/// When the run began and what its verdict is.
pub(super) async fn summary(State(live): State<Live>) -> Response {
    match read(&live.report).await {
        Some(report) => {
            let file = fs::try_exists(live.report.join("index.html")).await.unwrap_or(false);
            let summary = json!({ "started_at": report["started_at"], "verdict": report["verdict"], "file": file });
            axum::Json(summary).into_response()
        }
        // No error: a page asks before there is one.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// The page of the report.
pub(super) async fn page(State(live): State<Live>) -> Response {
    match fs::read_to_string(live.report.join("index.html")).await {
        Ok(page) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CACHE_CONTROL, "no-cache"),
            ];
            (headers, page).into_response()
        }
        Err(_missing) => problem(StatusCode::NOT_FOUND, "not_found", "no run has written a report yet", false),
    }
}

/// `None` without a report, or while one is being written.
async fn read(folder: &Path) -> Option<Value> {
    let text = fs::read(folder.join("report.json")).await.ok()?;
    serde_json::from_slice(&text).ok()
}
