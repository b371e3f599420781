//! `/v1/lab/pauses`: arms, lists and removes the pauses of this replica, and lets held writes go on. Routed only where
//! the lab is on.

use std::{sync::Arc, time::Duration};

use axum::{Json as Body, extract::State, http::StatusCode};
use serde::Deserialize;
use service_kit::extract::Json;

use crate::{
    domain::{error::StockError, stock::SkuField},
    http::state::AppState,
    lab::{Pause, Pauses, WriteKind},
};

/// Pauses to arm.
#[derive(Debug, Deserialize, garde::Validate)]
pub struct ArmPauses {
    /// A write that includes this SKU stops the replica.
    #[garde(dive)]
    sku: SkuField,
    /// Or one that includes one of these; whichever comes first.
    #[serde(default)]
    #[garde(length(max = 100), dive)]
    or_skus: Vec<SkuField>,
    /// How many writes stop it; one if absent.
    #[serde(default = "one")]
    #[garde(range(min = 1, max = 1000))]
    count: usize,
    /// The kind of write; `reserve` if absent.
    #[serde(default)]
    #[garde(skip)]
    write: WriteKind,
    /// The write is held in this replica for at most this many milliseconds; if absent, the whole process is stopped until
    /// it is continued from outside.
    #[garde(range(min = 1, max = 60_000))]
    hold_ms: Option<u64>,
}

const fn one() -> usize {
    1
}

/// Arms pauses in this replica.
pub async fn arm(State(state): State<Arc<AppState>>, Json(arm): Json<ArmPauses>) -> Result<StatusCode, StockError> {
    if let Some(lab) = &state.lab {
        let mut skus = vec![arm.sku.parsed(|| "/sku".to_owned())?];
        for (index, sku) in arm.or_skus.into_iter().enumerate() {
            skus.push(sku.parsed(|| format!("/or_skus/{index}"))?);
        }
        lab.arm(Pause { kind: arm.write, skus, hold: arm.hold_ms.map(Duration::from_millis) }, arm.count);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// How many pauses are armed, and those that fired.
pub async fn pauses(State(state): State<Arc<AppState>>) -> Body<Pauses> {
    Body(state.lab.clone().unwrap_or_default().pauses())
}

/// Lets every held write go on.
pub async fn resume(State(state): State<Arc<AppState>>) -> StatusCode {
    if let Some(lab) = &state.lab {
        lab.resume();
    }
    StatusCode::NO_CONTENT
}

/// Removes the pauses that have not fired.
pub async fn disarm(State(state): State<Arc<AppState>>) -> StatusCode {
    if let Some(lab) = &state.lab {
        lab.disarm();
    }
    StatusCode::NO_CONTENT
}
