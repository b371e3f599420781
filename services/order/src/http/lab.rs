//! The laboratory's hook: stop this replica right after it looked at its lease and before it sends the write, in the
//! window that the look narrows and cannot close. Invariant: armed only from outside, only with the lab switched on, and
//! each pause fires once. Absence: nothing here decides whether a write is sent; it is sent late.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;

use crate::app::App;
use crate::domain::order::Sku;

/// Pauses that are armed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lab(Arc<Mutex<Vec<String>>>);

impl Lab {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<String>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops the whole process here if a write of one of these SKUs was armed; returns when somebody continued it.
    pub fn stop_before_write<'a>(&self, skus: impl IntoIterator<Item = &'a Sku>) {
        let fires = self.with(|armed| {
            let at = skus.into_iter().find_map(|sku| armed.iter().position(|armed| armed == sku.as_str()));
            at.map(|at| armed.swap_remove(at))
        });
        if fires.is_some() {
            service_kit::lab::stop_this_process();
        }
    }
}

/// Which write stops this replica.
#[derive(Debug, Deserialize, garde::Validate)]
pub struct Arm {
    #[garde(length(min = 1, max = 64))]
    sku: String,
}

/// `POST /v1/lab/pauses`: the next write of this SKU stops this replica.
pub async fn arm(
    State(app): State<App>,
    service_kit::extract::Json(arm): service_kit::extract::Json<Arm>,
) -> StatusCode {
    if let Some(lab) = &app.placement.section().lab {
        lab.with(|armed| armed.push(arm.sku));
    }
    StatusCode::NO_CONTENT
}

/// `DELETE /v1/lab/pauses`: what did not fire does not fire any more.
pub async fn disarm(State(app): State<App>) -> StatusCode {
    if let Some(lab) = &app.placement.section().lab {
        lab.with(Vec::clear);
    }
    StatusCode::NO_CONTENT
}
