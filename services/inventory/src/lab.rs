//! The laboratory's hook: stop this replica in the middle of a write, as a garbage collector or a
//! hypervisor would. Invariant: armed only from outside, only with the lab switched on, and each pause
//! fires once. Absence: nothing here touches stock.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::batch::Batch, domain::error::StockError, domain::stock::ReserveRequest,
    maintenance::changes::ReleaseRequest,
};

/// Pauses that are armed, and those that happened. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lab(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    armed: Vec<(WriteKind, String)>,
    parked: Vec<PausedRequest>,
}

/// Which writes can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteKind {
    /// Units are set aside.
    #[default]
    Reserve,
    /// Units go back: a cancellation, or the sweeper.
    Release,
}

/// A write during which this replica was stopped.
#[derive(Debug, Clone, Serialize)]
pub struct PausedRequest {
    /// Counts from 0.
    pub id: usize,
    /// What armed it.
    pub sku: String,
    /// What was being written.
    pub write: WriteKind,
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
    pub parked: Vec<PausedRequest>,
}

impl Lab {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next `count` writes of this kind that touch `sku` stop this replica.
    pub fn arm(&self, write: WriteKind, sku: &str, count: usize) {
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
    pub fn pause(&self, request: &ReserveRequest) -> Option<usize> {
        let token_of = |sku: &str| request.lines.iter().find(|(s, _)| s.as_ref() == sku).map(|(_, line)| line.token);
        self.stop(WriteKind::Reserve, request.order_id, request.strategy.name(), token_of)
    }

    /// As `park`, for a write of several orders; the first of them stands for all.
    pub fn pause_batch(&self, batch: &Batch) -> Option<usize> {
        let first = batch.orders.first()?;
        let token_of = |sku: &str| batch.stock.iter().find(|(s, _)| s.as_ref() == sku).map(|(_, b)| Some(b.token));
        self.stop(WriteKind::Reserve, first.order_id, batch.strategy.name(), token_of)
    }

    /// As `park`, for a release.
    pub fn pause_release(&self, request: &ReleaseRequest, tokens: &[(String, i64)]) -> Option<usize> {
        let token_of = |sku: &str| {
            request
                .skus
                .iter()
                .any(|s| s == sku)
                .then(|| tokens.iter().find(|(s, _)| s == sku).map(|(_, token)| *token))
        };
        self.stop(WriteKind::Release, request.ids.first().copied().unwrap_or_default(), request.reason.name(), token_of)
    }

    /// `token_of` says whether the write touches a SKU, and with which token.
    fn stop(
        &self,
        write: WriteKind,
        order_id: Uuid,
        strategy: &'static str,
        token_of: impl Fn(&str) -> Option<Option<i64>>,
    ) -> Option<usize> {
        let id = self.with(|state| {
            let armed = state.armed.iter();
            let mut armed = armed.enumerate().filter(|(_, (kind, _))| *kind == write);
            let (at, fencing_token) = armed.find_map(|(at, (_, sku))| Some((at, token_of(sku)?)))?;
            let (id, (_, sku)) = (state.parked.len(), state.armed.swap_remove(at));
            state.parked.push(PausedRequest {
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
