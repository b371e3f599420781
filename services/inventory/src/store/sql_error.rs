//! What an error of Postgres means. Recognised by SQLSTATE (the `HF…` codes of `0002_protocol.sql`), by the name of
//! a constraint, and by the JSON in a refusal's `detail`; never by a message.

use std::sync::Arc;

use contract::Sku;
use failure_kind::FailureKind;
use postgres_pool::SharedError;
use serde::{Deserialize, de::DeserializeOwned};
use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

use crate::domain::error::{ProtocolStep, StockError};

#[derive(Deserialize)]
struct StaleToken {
    sku: Sku,
    token: i64,
    current: i64,
}

#[derive(Deserialize)]
struct SourceMismatch {
    sku: Sku,
    source: String,
    current: String,
}

#[derive(Deserialize)]
struct OutOfStock {
    sku: Sku,
    available: i64,
}

#[derive(Deserialize)]
struct UnknownSku {
    sku: String,
}

#[derive(Deserialize)]
struct BelowHeld {
    sku: Sku,
    on_hand: i64,
    held: i64,
}

#[derive(Deserialize)]
struct StaleVersion {
    sku: Sku,
    observed: i64,
    current: i64,
}

/// An order of the write already has a reservation; Postgres does not say which order.
pub(super) fn is_duplicate_order(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.constraint() == Some("reservations_one_per_order"))
}

/// The meaning of an error of one of the SQL functions; `step` is the step of the protocol that called it.
pub(super) fn from_db_error(error: sqlx::Error, step: ProtocolStep) -> StockError {
    let Some(database) = error.as_database_error() else { return from_read_error(error) };
    if database.constraint() == Some("stock_available_within") {
        return StockError::invalid_field("/lines", "more units were observed than are on hand");
    }
    refusal(database, step).unwrap_or_else(|| from_read_error(error))
}

/// The refusal of a function of the protocol; `None` if it is no refusal.
fn refusal(database: &dyn DatabaseError, step: ProtocolStep) -> Option<StockError> {
    Some(match database.code()?.as_ref() {
        "HF001" => {
            let StaleToken { sku, token, current } = detail(database)?;
            StockError::StaleToken { sku, token, current, step }
        }
        "HF002" => {
            let SourceMismatch { sku, source, current } = detail(database)?;
            StockError::TokenSourceMismatch { sku, current, offered: source }
        }
        "HF003" => {
            let OutOfStock { sku, available } = detail(database)?;
            StockError::OutOfStock { sku, available }
        }
        "HF004" => {
            let UnknownSku { sku } = detail(database)?;
            StockError::UnknownSku { sku }
        }
        "HF005" => {
            let BelowHeld { sku, on_hand, held } = detail(database)?;
            StockError::BelowHeld { sku, on_hand, held }
        }
        "HF006" => {
            let StaleVersion { sku, observed, current } = detail(database)?;
            StockError::StaleVersion { sku, observed, current }
        }
        _ => return None,
    })
}

fn detail<T: DeserializeOwned>(database: &dyn DatabaseError) -> Option<T> {
    let detail = database.try_downcast_ref::<PgDatabaseError>()?.detail()?;
    serde_json::from_str(detail).ok()
}

/// What a shared statement did with a request; `None` also if it was refused together with others. Then it is made alone,
/// and that tells why.
pub(super) fn served_together<T>(result: Result<Option<T>, SharedError>) -> Result<Option<T>, StockError> {
    match result {
        Ok(served) => Ok(served),
        Err(SharedError::Refused(_)) => Ok(None),
        Err(SharedError::Failed(error)) => Err(from_read_error(error)),
        Err(SharedError::Overloaded) => Err(StockError::Overloaded),
        Err(SharedError::Ended) => Err(StockError::Defect("a shared statement ended without a result")),
    }
}

/// The meaning of an error of a statement that no rule can refuse: an outage, where a retry may help; anything else is
/// a defect.
pub(super) fn from_read_error(error: impl Into<Arc<sqlx::Error>>) -> StockError {
    let error = error.into();
    if FailureKind::of_postgres(&error).is_outage() {
        StockError::PostgresUnavailable(error)
    } else {
        StockError::UnexpectedPostgresError(error)
    }
}
