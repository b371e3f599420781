//! The laboratory's hook: stop this replica in the middle of a write, as a garbage collector or a
//! hypervisor would. Invariant: armed only from outside, only with the lab switched on, and each pause
//! fires once. Absence: nothing here touches stock.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{domain::batch::Batch, domain::error::StockError, domain::stock::Wanted, maintenance::changes::Ending};

/// Pauses that are armed, and those that happened. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lab(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    armed: Vec<(Write, String)>,
    parked: Vec<Parked>,
}

/// Which writes can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Write {
    /// Units are set aside.
    #[default]
    Reserve,
    /// Units go back: a cancellation, or the sweeper.
    Release,
}

/// A write during which this replica was stopped.
#[derive(Debug, Clone, Serialize)]
pub struct Parked {
    /// Counts from 0.
    pub id: usize,
    /// What armed it.
    pub sku: String,
    /// What was being written.
    pub write: Write,
    /// Whose write; of a release, the first of its reservations.
    pub order_id: Uuid,
    /// How the order was guarded; of a release, why.
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

    /// The next `count` writes of this kind that touch `sku` stop this replica.
    pub fn arm(&self, write: Write, sku: &str, count: usize) {
        self.with(|state| state.armed.extend(std::iter::repeat_n((write, sku.to_owned()), count)));
    }

    /// What was armed and did not fire does not fire any more.
    pub fn disarm(&self) {
        self.with(|state| state.armed.clear());
    }

    /// Armed and happened.
    pub fn pauses(&self) -> Pauses {
        self.with(|state| Pauses { armed: state.armed.len(), parked: state.parked.clone() })
    }

    /// Stops the whole process here if a reserve was armed; returns when somebody continued it.
    pub fn park(&self, wanted: &Wanted) -> Option<usize> {
        let token_of = |sku: &str| wanted.lines.iter().find(|(s, _)| s.as_ref() == sku).map(|(_, line)| line.token);
        self.stop(Write::Reserve, wanted.order_id, wanted.strategy.name(), token_of)
    }

    /// As `park`, for a write of several orders; the first of them stands for all.
    pub fn park_batch(&self, batch: &Batch) -> Option<usize> {
        let first = batch.orders.first()?;
        let token_of = |sku: &str| batch.stock.iter().find(|(s, _)| s.as_ref() == sku).map(|(_, b)| Some(b.token));
        self.stop(Write::Reserve, first.order_id, batch.strategy.name(), token_of)
    }

    /// As `park`, for a release.
    pub fn park_release(&self, ending: &Ending, tokens: &[(String, i64)]) -> Option<usize> {
        let token_of = |sku: &str| {
            ending.skus.iter().any(|s| s == sku).then(|| tokens.iter().find(|(s, _)| s == sku).map(|(_, token)| *token))
        };
        self.stop(Write::Release, ending.ids.first().copied().unwrap_or_default(), ending.why.name(), token_of)
    }

    /// `token_of` says whether the write touches a SKU, and with which token.
    fn stop(
        &self,
        write: Write,
        order_id: Uuid,
        strategy: &'static str,
        token_of: impl Fn(&str) -> Option<Option<i64>>,
    ) -> Option<usize> {
        let id = self.with(|state| {
            let armed = state.armed.iter();
            let mut armed = armed.enumerate().filter(|(_, (kind, _))| *kind == write);
            let (at, fencing_token) = armed.find_map(|(at, (_, sku))| Some((at, token_of(sku)?)))?;
            let (id, (_, sku)) = (state.parked.len(), state.armed.swap_remove(at));
            state.parked.push(Parked {
                id,
                sku,
                write,
                order_id,
                strategy,
                fencing_token,
                parked_at: OffsetDateTime::now_utc(),
                resumed_at: None,
                outcome: None,
            });
            Some(id)
        })?;
        service_kit::lab::stop_this_process();
        self.with(|state| state.parked[id].resumed_at = Some(OffsetDateTime::now_utc()));
        Some(id)
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
