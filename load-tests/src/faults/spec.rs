//! What the file of a fault declares about it.

use std::time::Duration;

use contract::Strategy;
use futures_util::future::LocalBoxFuture;

use super::context::FaultContext;
use super::event::FaultEvent;

/// A payment of this length or longer leaves the next holder between its read and its write for long enough that an
/// injection meets it there.
pub const LONG_PAYMENT: Duration = Duration::from_millis(150);

/// A fault: what it needs, what theory expects under it, and how it is injected.
#[derive(Debug)]
pub struct FaultSpec {
    /// What the fault must be able to reach.
    pub needs: Needs,
    /// Stale writes reach the storage, so a fenced strategy must refuse some; a run in which it refused none is void.
    pub makes_writes_stale: bool,
    /// Whether a strategy that promises nothing under faults is certain to oversell under this one, with payments of
    /// this length.
    pub certain_to_oversell: fn(Strategy, Duration) -> bool,
    /// Why theory expects this, in one or two sentences; printed below the matrix.
    pub why: &'static str,
    /// Injects it, once for each planned injection, until the sale is over.
    pub inject: Inject,
}

/// See [`FaultSpec::inject`].
pub type Inject = for<'a> fn(&'a FaultContext<'_>) -> LocalBoxFuture<'a, anyhow::Result<Vec<FaultEvent>>>;

/// What a fault must be able to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Only the addresses of the services.
    Nothing,
    /// The process ids of the replicas, on this machine.
    Processes,
    /// Servers and replicas that this process started.
    OwnStack,
    /// The same, with proxies on its connections.
    Proxies,
}

/// No strategy is certain to oversell.
pub(super) fn no_strategy(_: Strategy, _: Duration) -> bool {
    false
}
