//! The lab's handlers: arm and disarm the pauses of this replica, slow its payments down, and name its strategies.
//! Served only where the lab is switched on.

use std::{sync::Arc, time::Duration};

use axum::{Json as Body, extract::State, http::StatusCode};
use contract::{Sku, Strategy};
use serde::Deserialize;
use service_kit::extract::Json;

use crate::{placement::pauses::WritePauses, store::slow_payments::SlowPayments};

/// What the lab may do to this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lab {
    /// The pauses before a write.
    pub pauses: WritePauses,
    /// The delays of payments.
    pub slow_payments: SlowPayments,
    /// The strategies whose lock is configured.
    pub strategies: Arc<[Strategy]>,
}

/// The pause to arm.
#[derive(Debug, Deserialize, garde::Validate)]
pub struct ArmPause {
    /// The SKU whose next write stops this replica.
    #[garde(length(min = 1, max = 64))]
    sku: String,
}

/// How payments are slowed down.
#[derive(Debug, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct SlowDown {
    /// Orders with this SKU; without it, all.
    #[garde(skip)]
    sku: Option<Sku>,
    /// How much longer an authorisation takes, in milliseconds.
    #[garde(range(min = 1, max = 3_600_000))]
    by_ms: u64,
    /// When the delay ends unless it is switched off before, in milliseconds from now.
    #[garde(range(min = 1, max = 3_600_000))]
    at_most_ms: u64,
}

/// `POST /v1/lab/pauses`: the next write of this SKU stops this replica.
pub async fn arm_pause(State(lab): State<Lab>, Json(pause): Json<ArmPause>) -> StatusCode {
    lab.pauses.arm(pause.sku);
    StatusCode::NO_CONTENT
}

/// `DELETE /v1/lab/pauses`: pauses that have not fired are disarmed.
pub async fn disarm_pauses(State(lab): State<Lab>) -> StatusCode {
    lab.pauses.disarm_all();
    StatusCode::NO_CONTENT
}

/// `GET /v1/lab/strategies`: what an order may ask for here.
pub async fn strategies(State(lab): State<Lab>) -> Body<Arc<[Strategy]>> {
    Body(lab.strategies)
}

/// `POST /v1/lab/slow-payments`: authorisations take longer from now on.
pub async fn slow_payments(State(lab): State<Lab>, Json(slow): Json<SlowDown>) -> StatusCode {
    let (by, at_most) = (Duration::from_millis(slow.by_ms), Duration::from_millis(slow.at_most_ms));
    lab.slow_payments.slow_down(slow.sku, by, at_most);
    StatusCode::NO_CONTENT
}

/// `DELETE /v1/lab/slow-payments`: authorisations take their usual time; those that were slowed down end.
pub async fn stop_slow_payments(State(lab): State<Lab>) -> StatusCode {
    lab.slow_payments.stop();
    StatusCode::NO_CONTENT
}
