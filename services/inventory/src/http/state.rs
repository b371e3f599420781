//! The state that all handlers share, and the checks that several of them share.

use axum::http::HeaderMap;
use contract::Strategy;
use futures_util::future::Either;
use service_kit::auth::BearerToken;
use tokio_util::task::TaskTracker;

use crate::{
    domain::error::StockError,
    lab::{Lab, PendingWrite},
    maintenance::changes::ReservationChanges,
    store::StockDb,
};

/// The state that all handlers share.
#[derive(Debug)]
pub struct AppState {
    /// The service's own database.
    pub db: StockDb,
    /// What inventory changes by itself, under a lock.
    pub changes: ReservationChanges,
    /// `None` while the lab is off.
    pub lab: Option<Lab>,
    /// The token that callers must send.
    pub token: BearerToken,
    /// The most lines of one request.
    pub max_lines: usize,
    /// Writes that were started; the service waits for them when it stops.
    pub writes: TaskTracker,
}

impl AppState {
    /// Runs a write to its end, even if the caller disconnects: once sent it may be committed, and the fence
    /// decides whether it counts. It begins now, not at the first poll.
    ///
    /// # Errors
    /// Those of `write`; `WriteTaskFailed` if it panicked.
    pub fn run_write<W, T: Send + 'static>(&self, write: W) -> impl Future<Output = Result<T, StockError>> + use<W, T>
    where
        W: Future<Output = Result<T, StockError>> + Send + 'static,
    {
        let task = self.writes.spawn(service_kit::trace::in_current_trace(write));
        async { task.await.map_err(StockError::WriteTaskFailed)? }
    }

    /// As [`AppState::run_write`]; a pause that the lab has armed for the `pending` write stops the process first.
    ///
    /// # Errors
    /// Those of [`AppState::run_write`].
    pub fn run_reserve<W, T: Send + 'static>(
        &self,
        pending: Option<PendingWrite>,
        write: W,
    ) -> impl Future<Output = Result<T, StockError>> + use<W, T>
    where
        W: Future<Output = Result<T, StockError>> + Send + 'static,
    {
        match self.lab.clone().zip(pending) {
            None => Either::Left(self.run_write(write)),
            Some((lab, pending)) => {
                let write = Box::pin(write);
                Either::Right(self.run_write(async move { lab.send_write(pending, write).await }))
            }
        }
    }

    /// The strategy in `Lock-Strategy`; `redlock-fenced` without that header.
    ///
    /// # Errors
    /// `UnknownStrategy`; `StrategyNotAllowed` for an unsafe one while the lab is off.
    pub fn strategy(&self, headers: &HeaderMap) -> Result<Strategy, StockError> {
        let Some(header) = headers.get("lock-strategy") else { return Ok(Strategy::RedlockFenced) };
        let name = String::from_utf8_lossy(header.as_bytes());
        let strategy: Strategy = name.parse().map_err(|_| StockError::UnknownStrategy(name.into_owned()))?;
        let allowed = self.lab.is_some() || strategy.is_safe();
        if allowed { Ok(strategy) } else { Err(StockError::StrategyNotAllowed(strategy)) }
    }

    /// Refuses a body with more than [`AppState::max_lines`] lines.
    ///
    /// # Errors
    /// `InvalidField`, for `/lines`.
    pub fn check_line_count(&self, lines: usize) -> Result<(), StockError> {
        if lines <= self.max_lines {
            return Ok(());
        }
        Err(StockError::invalid_field("/lines", format!("{lines} lines; at most {} are allowed", self.max_lines)))
    }
}
