//! The lab's handlers: arm and disarm the pauses of this replica. Served only
//! where the lab is switched on.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use service_kit::extract::Json;

use crate::placement::pauses::WritePauses;

/// The pause to arm.
#[derive(Debug, Deserialize, garde::Validate)]
pub struct ArmPause {
    /// The SKU whose next write stops this replica.
    #[garde(length(min = 1, max = 64))]
    sku: String,
}

/// `POST /v1/lab/pauses`: the next write of this SKU stops this replica.
pub async fn arm_pause(State(pauses): State<WritePauses>, Json(pause): Json<ArmPause>) -> StatusCode {
    pauses.arm(pause.sku);
    StatusCode::NO_CONTENT
}

/// `DELETE /v1/lab/pauses`: pauses that have not fired are disarmed.
pub async fn disarm_pauses(State(pauses): State<WritePauses>) -> StatusCode {
    pauses.disarm_all();
    StatusCode::NO_CONTENT
}
