//! The laboratory's calls. They exist only while the lab is switched on.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;

use crate::{
    app::App,
    domain::error::StockError,
    lab::{Pauses, WriteKind},
};

/// Which writes stop this replica.
#[derive(Debug, Deserialize, garde::Validate)]
pub struct ArmPauses {
    /// A write that touches this SKU.
    #[garde(length(min = 1, max = 64))]
    sku: String,
    /// How many of them.
    #[serde(default = "once")]
    #[garde(range(min = 1, max = 1000))]
    count: usize,
    /// Of which kind; those that set units aside, if it is not said.
    #[serde(default)]
    #[garde(skip)]
    write: WriteKind,
}

const fn once() -> usize {
    1
}

/// Arms pauses in this replica.
pub async fn arm(
    State(app): State<App>,
    service_kit::extract::Json(arm): service_kit::extract::Json<ArmPauses>,
) -> StatusCode {
    if let Some(lab) = &app.lab {
        lab.arm(arm.write, &arm.sku, arm.count);
    }
    StatusCode::NO_CONTENT
}

/// What is armed and what happened.
pub async fn pauses(State(app): State<App>) -> Result<Json<Pauses>, StockError> {
    Ok(Json(app.lab.unwrap_or_default().pauses()))
}

/// Disarms what did not fire.
pub async fn disarm(State(app): State<App>) -> StatusCode {
    if let Some(lab) = &app.lab {
        lab.disarm();
    }
    StatusCode::NO_CONTENT
}
