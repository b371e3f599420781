//! What an error of Postgres means. The codes are those of `0002_protocol.sql`.

use serde::Deserialize;
use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;

use crate::domain::error::{ProtocolStep, StockError};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Facts {
    sku: String,
    token: Option<i64>,
    current: serde_json::Value,
    source: String,
    available: i64,
    on_hand: i64,
    held: i64,
}

/// Turns a refusal into its fact; anything else into "away" or "a defect".
pub(super) fn from_db_error(error: sqlx::Error, step: ProtocolStep) -> StockError {
    let Some(database) = error.as_database_error() else {
        return unavailable(error);
    };
    if database.constraint() == Some("reservations_one_per_order") {
        return StockError::OrderAlreadyReserved { order_id: Uuid::nil() };
    }
    if database.constraint() == Some("stock_available_within") {
        let why = "more was observed than there is";
        return StockError::Invalid("/lines".to_owned(), why.to_owned());
    }
    let detail = database.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail);
    let facts: Facts = detail.and_then(|d| serde_json::from_str(d).ok()).unwrap_or_default();
    let Facts { sku, token, current, source, available, on_hand, held } = facts;
    match database.code().as_deref() {
        Some("HF001") => {
            let (token, current) = (token.unwrap_or_default(), current.as_i64().unwrap_or_default());
            StockError::StaleToken { sku, token, current, step }
        }
        Some("HF002") => {
            let current = current.as_str().unwrap_or_default().to_owned();
            StockError::TokenSourceMismatch { sku, current, source_offered: source }
        }
        Some("HF003") => StockError::OutOfStock { sku, available },
        Some("HF004") => StockError::UnknownSku { sku },
        Some("HF006") => {
            let (observed, current) = (token.unwrap_or_default(), current.as_i64().unwrap_or_default());
            StockError::StaleVersion { sku, observed, current }
        }
        Some("HF005") => StockError::BelowHeld { sku, on_hand, held },
        _ => unavailable(error),
    }
}

/// Away, slow or shutting down: a retry may help. Anything else is ours to mend.
pub(super) fn unavailable(error: sqlx::Error) -> StockError {
    let away = match &error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        // Class 08 connection, 40 rolled back, 53 resources, 55P03 and 57014 time-outs, 57P shutting down.
        sqlx::Error::Database(e) => e.code().is_some_and(|code| {
            ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "55P03"
        }),
        _ => false,
    };
    if away { StockError::PostgresUnavailable(error) } else { StockError::UnexpectedPostgresError(error) }
}
