//! `/v1/lab/pauses`: arms, lists and removes the pauses of this replica. Routed only where the lab is on.

use std::sync::Arc;

use axum::{Json as Body, extract::State, http::StatusCode};
use serde::Deserialize;
use service_kit::extract::Json;

use crate::{
    domain::{error::StockError, stock::SkuField},
    http::state::AppState,
    lab::{Pauses, WriteKind},
};

/// Pauses to arm.
#[derive(Debug, Deserialize, garde::Validate)]
pub struct ArmPauses {
    /// A write that includes this SKU stops the replica.
    #[garde(dive)]
    sku: SkuField,
    /// How many writes stop it; one if absent.
    #[serde(default = "one")]
    #[garde(range(min = 1, max = 1000))]
    count: usize,
    /// The kind of write; `reserve` if absent.
    #[serde(default)]
    #[garde(skip)]
    write: WriteKind,
}

const fn one() -> usize {
    1
}

/// Arms pauses in this replica.
pub async fn arm(State(state): State<Arc<AppState>>, Json(arm): Json<ArmPauses>) -> Result<StatusCode, StockError> {
    if let Some(lab) = &state.lab {
        lab.arm(arm.write, arm.sku.parsed(|| "/sku".to_owned())?, arm.count);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// How many pauses are armed, and those that fired.
pub async fn pauses(State(state): State<Arc<AppState>>) -> Body<Pauses> {
    Body(state.lab.clone().unwrap_or_default().pauses())
}

/// Removes the pauses that have not fired.
pub async fn disarm(State(state): State<Arc<AppState>>) -> StatusCode {
    if let Some(lab) = &state.lab {
        lab.disarm();
    }
    StatusCode::NO_CONTENT
}
