//! The laboratory's hook: stop this replica in the middle of a write, as a garbage collector or a
//! hypervisor would. Invariant: armed only from outside, only with the lab switched on, and each pause
//! fires once. Absence: nothing here touches stock.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    batch::{Basis, Batch},
    stock::{Asked, Wanted},
    stock_error::StockError,
};

/// Pauses that are armed, and those that happened. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lab(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    armed: Vec<String>,
    parked: Vec<Parked>,
}

/// A write during which this replica was stopped.
#[derive(Debug, Clone, Serialize)]
pub struct Parked {
    /// Counts from 0.
    pub id: usize,
    /// What armed it.
    pub sku: String,
    /// Whose write.
    pub order_id: uuid::Uuid,
    /// How the order was guarded.
    pub strategy: &'static str,
    /// What the write carried.
    pub fencing_token: Option<i64>,
    /// Just before the stop.
    #[serde(with = "time::serde::rfc3339")]
    pub parked_at: OffsetDateTime,
    /// Just after somebody continued it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub resumed_at: Option<OffsetDateTime>,
    /// `written`, or the code of the refusal; absent until the write was attempted.
    pub outcome: Option<String>,
}

/// What the lab shows.
#[derive(Debug, Serialize)]
pub struct Pauses {
    /// How many are waiting for a write.
    pub armed: usize,
    /// Those that happened.
    pub parked: Vec<Parked>,
}

impl Lab {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next `count` writes that touch `sku` stop this replica.
    pub fn arm(&self, sku: &str, count: usize) {
        self.with(|state| state.armed.extend(std::iter::repeat_n(sku.to_owned(), count)));
    }

    /// What was armed and did not fire does not fire any more.
    pub fn disarm(&self) {
        self.with(|state| state.armed.clear());
    }

    /// Armed and happened.
    pub fn pauses(&self) -> Pauses {
        self.with(|state| Pauses { armed: state.armed.len(), parked: state.parked.clone() })
    }

    /// Stops the whole process here if that was armed; returns when somebody continued it.
    pub fn park(&self, wanted: &Wanted) -> Option<usize> {
        let id = self.with(|state| {
            let at = state.armed.iter().position(|sku| wanted.lines.keys().any(|s| s.as_ref() == sku))?;
            let (id, sku) = (state.parked.len(), state.armed.swap_remove(at));
            let line = wanted.lines.iter().find(|(s, _)| s.as_ref() == sku);
            state.parked.push(Parked {
                id,
                sku: sku.clone(),
                order_id: wanted.order_id,
                strategy: wanted.strategy.name(),
                fencing_token: line.and_then(|(_, line)| line.token),
                parked_at: OffsetDateTime::now_utc(),
                resumed_at: None,
                outcome: None,
            });
            Some(id)
        })?;
        // To this thread, so that it goes no further; the kernel stops the others with it.
        if let Err(error) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP) {
            tracing::error!(%error, "the lab could not stop this process");
        }
        self.with(|state| state.parked[id].resumed_at = Some(OffsetDateTime::now_utc()));
        Some(id)
    }

    /// As `park`, for a write of several orders; the first of them stands for all.
    pub fn park_batch(&self, batch: &Batch) -> Option<usize> {
        let first = batch.orders.first()?;
        let asked = |basis: &Basis| Asked { quantity: 0, token: Some(basis.token), observed: basis.observed };
        self.park(&Wanted {
            order_id: first.order_id,
            strategy: batch.strategy,
            lines: batch.stock.iter().map(|(sku, basis)| (sku.clone(), asked(basis))).collect(),
            hold_seconds: batch.hold_seconds,
        })
    }

    /// Notes how a parked write ended.
    pub fn ended<T>(&self, id: Option<usize>, result: &Result<T, StockError>) {
        let Some(id) = id else { return };
        let outcome = match result {
            Ok(_) => "written".to_owned(),
            Err(StockError::StaleToken { .. }) => "stale_fencing_token".to_owned(),
            Err(error) => error.to_string(),
        };
        self.with(|state| state.parked[id].outcome = Some(outcome));
    }
}
