//! Pauses for the laboratory: right before a write is sent they stop this replica, as a garbage collector or a
//! hypervisor could, or hold that one write, as a slow network could.
//! Invariant: a pause is armed only by a request, only where the lab is on, and fires once; a write is held for a limited
//! time.
//! Absence: nothing here touches stock. A stopped replica is continued from outside, by SIGCONT.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contract::Sku;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

use crate::domain::error::StockError;

/// The pauses of this replica: armed, and fired. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lab(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Held writes go on.
    resume: Notify,
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Pause>,
    paused: Vec<PausedRequest>,
}

/// A pause that has not fired.
#[derive(Debug, Clone)]
pub struct Pause {
    /// The kind of write before which it fires.
    pub kind: WriteKind,
    /// A write that includes any of them meets it.
    pub skus: Vec<Sku>,
    /// The write is held for at most this long; `None` stops the process.
    pub hold: Option<Duration>,
}

/// The writes that can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteKind {
    /// Units are set aside.
    #[default]
    Reserve,
    /// Units are returned, by a cancellation or by the sweeper.
    Release,
}

/// A write that is about to be sent.
#[derive(Debug)]
pub struct PendingWrite {
    /// What is written.
    pub kind: WriteKind,
    /// The order; of a batch, the first order; of a release, the first reservation.
    pub order_id: Option<Uuid>,
    /// How the order guards stock; of a release, its reason.
    pub strategy: &'static str,
    /// Every SKU that is written, with its fencing token if it has one.
    pub tokens: Vec<(Sku, Option<i64>)>,
}

/// A write before which this replica was stopped, or that was held.
#[derive(Debug, Clone, Serialize)]
pub struct PausedRequest {
    /// Counts from 0 in each replica.
    pub id: usize,
    /// The SKU that the pause was armed for.
    pub sku: Sku,
    /// What was written.
    pub write: WriteKind,
    /// As in [`PendingWrite::order_id`].
    pub order_id: Option<Uuid>,
    /// As in [`PendingWrite::strategy`].
    pub strategy: &'static str,
    /// The token for `sku`; absent if the write carried none.
    pub fencing_token: Option<i64>,
    /// The time just before the process was stopped or the write was held.
    #[serde(rename = "parked_at", with = "time::serde::rfc3339")]
    pub paused_at: OffsetDateTime,
    /// The time just after it went on; absent until then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub resumed_at: Option<OffsetDateTime>,
    /// `written`, or the code of the refusal; absent until the write was answered.
    pub outcome: Option<&'static str>,
}

/// The pauses of a replica.
#[derive(Debug, Serialize)]
pub struct Pauses {
    /// How many have not fired.
    pub armed: usize,
    /// Those that fired, the oldest first.
    #[serde(rename = "parked")]
    pub paused: Vec<PausedRequest>,
}

impl Lab {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a write; if a pause is armed for one of its SKUs, the process is stopped first, or the write is held.
    ///
    /// # Errors
    /// Those of `write`.
    pub async fn send_write<T>(
        &self,
        pending: PendingWrite,
        write: impl Future<Output = Result<T, StockError>>,
    ) -> Result<T, StockError> {
        let id = self.pause(pending).await;
        let result = write.await;
        self.record_outcome(id, &result);
        result
    }

    /// Each of the next `count` writes that this pause is for meets it.
    pub fn arm(&self, pause: Pause, count: usize) {
        self.with(|state| state.armed.extend(std::iter::repeat_n(pause, count)));
    }

    /// Lets every held write go on.
    pub fn resume(&self) {
        self.0.resume.notify_waiters();
    }

    /// Removes the pauses that have not fired.
    pub fn disarm(&self) {
        self.with(|state| state.armed.clear());
    }

    /// How many pauses are armed, and those that fired.
    pub fn pauses(&self) -> Pauses {
        self.with(|state| Pauses { armed: state.armed.len(), paused: state.paused.clone() })
    }

    /// Stops the whole process here, or waits, if a pause was armed for this write; returns once it goes on.
    async fn pause(&self, write: PendingWrite) -> Option<usize> {
        // Before the pause can be seen from outside, so that no resumption is missed.
        let mut resumed = pin!(self.0.resume.notified());
        resumed.as_mut().enable();
        let (id, hold) = self.fire(write)?;
        match hold {
            None => service_kit::lab::stop_this_process(),
            Some(limit) => drop(timeout(limit, resumed).await),
        }
        self.with(|state| state.paused[id].resumed_at = Some(OffsetDateTime::now_utc()));
        Some(id)
    }

    fn fire(&self, write: PendingWrite) -> Option<(usize, Option<Duration>)> {
        self.with(|state| {
            let token_of = |sku: &Sku| write.tokens.iter().find(|(written, _)| written == sku).map(|(_, token)| *token);
            let mut armed = state.armed.iter().enumerate().filter(|(_, pause)| pause.kind == write.kind);
            let met = |pause: &Pause| pause.skus.iter().find_map(|sku| Some((sku.clone(), token_of(sku)?)));
            let (at, (sku, fencing_token)) = armed.find_map(|(at, pause)| Some((at, met(pause)?)))?;
            let (id, Pause { hold, .. }) = (state.paused.len(), state.armed.swap_remove(at));
            state.paused.push(PausedRequest {
                id,
                sku,
                write: write.kind,
                order_id: write.order_id,
                strategy: write.strategy,
                fencing_token,
                paused_at: OffsetDateTime::now_utc(),
                resumed_at: None,
                outcome: None,
            });
            Some((id, hold))
        })
    }

    fn record_outcome<T>(&self, id: Option<usize>, result: &Result<T, StockError>) {
        let Some(id) = id else { return };
        let outcome = result.as_ref().map_or_else(|error| error.code().as_str(), |_| "written");
        self.with(|state| state.paused[id].outcome = Some(outcome));
    }
}
