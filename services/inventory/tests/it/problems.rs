//! The problem that each `StockError` becomes, as a snapshot: status, `Retry-After` and body.

use std::time::Duration;

use axum::{body::to_bytes, response::IntoResponse as _};
use contract::{ReservationStatus, Strategy};
use fenced_lock::LockError;
use inventory::domain::error::{ProtocolStep, StockError};
use reqwest::header;
use serde_json::Value;
use strum::VariantNames as _;
use uuid::Uuid;

/// One error of each variant, in the order of the enum.
async fn one_of_each() -> Vec<StockError> {
    let sku = || "chair".parse().expect("a SKU");
    let panicked = tokio::spawn(async { panic!("a write that panics") }).await.expect_err("it panicked");
    vec![
        StockError::UnknownSku { sku: "chair".to_owned() },
        StockError::UnknownReservation,
        StockError::PastRetention,
        StockError::OutOfStock { sku: sku(), available: 2 },
        StockError::StaleToken { sku: sku(), token: 33, current: 34, step: ProtocolStep::Write },
        StockError::StaleVersion { sku: sku(), observed: 7, current: 8 },
        StockError::TokenSourceMismatch { sku: sku(), current: "etcd".to_owned(), offered: "redlock".to_owned() },
        StockError::BelowHeld { sku: sku(), on_hand: 1, held: 3 },
        StockError::OrderAlreadyReserved { order_id: Uuid::from_u128(1) },
        StockError::BatchOverlaps,
        StockError::InvalidState { status: ReservationStatus::Cancelled },
        StockError::HoldExpired,
        StockError::invalid_field("/lines/0/sku", "must be 1 to 64 letters, digits, '_' or '-'"),
        StockError::UnknownStrategy("hope".to_owned()),
        StockError::StrategyNotAllowed(Strategy::Redlock),
        StockError::LockTimeout { waited: Duration::from_secs(3) },
        StockError::LeaseLapsed,
        StockError::LockQuorumUnavailable(LockError::NoTokens { backend: "off" }),
        StockError::Overloaded,
        StockError::SkuBusy { sku: sku(), waited: Duration::from_secs(1) },
        StockError::PostgresUnavailable(sqlx::Error::PoolTimedOut.into()),
        StockError::UnexpectedLockError(LockError::NoTokens { backend: "off" }),
        StockError::UnexpectedPostgresError(sqlx::Error::RowNotFound.into()),
        StockError::WriteTaskFailed(panicked),
        StockError::Defect("a defect"),
    ]
}

#[tokio::test]
async fn every_error_becomes_the_problem_of_its_code() {
    let errors = one_of_each().await;
    let names: Vec<&str> = errors.iter().map(Into::into).collect();
    assert_eq!(names, StockError::VARIANTS, "one example of each variant");

    let mut problems = String::new();
    for (name, error) in names.into_iter().zip(errors) {
        let code = error.code();
        let response = error.into_response();
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).map(|seconds| seconds.to_str().expect("text"));
        let retry_after = retry_after.map(|seconds| format!(", Retry-After: {seconds}")).unwrap_or_default();
        let heading = format!("## {name}: {}{retry_after}\n", status.as_u16());
        let body = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
        let mut body: Value = serde_json::from_slice(&body).expect("JSON");
        // The order of the keys depends on what else is built.
        body.sort_all_objects();
        assert_eq!(body["code"], code.as_str(), "{name}");
        problems += &format!("{heading}{body:#}\n\n");
    }
    insta::assert_snapshot!(problems);
}
