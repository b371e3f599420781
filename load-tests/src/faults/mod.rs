//! What can go wrong while orders are placed. Each fault is one file here, with its [`FaultSpec`]. To add one: that
//! file, its `mod`, a variant of [`Fault`] and a line in [`Fault::spec`]. `steps` is what several faults do.
//!
//! Invariant: an injection counts as fired only if its effect was observed, and what a fault stopped or broke works
//! again when it returns.
//! Absence: no fault decides whether a row is valid; `report` does.

pub mod context;
pub mod event;
pub mod injection;
pub mod spec;
mod steps;

mod duplicate_requests;
mod kill_inventory;
mod kill_order;
mod lost_replies;
mod network_silence;
mod node_full;
mod none;
mod partition_postgres;
mod partition_redis;
mod pause_inventory;
mod pause_order;
mod postgres_readonly;
mod postgres_restart;
mod redis_amnesia;
mod redis_early_expiry;
mod redis_majority_down;
mod redis_minority_down;
mod redis_slow;
mod slow_payment;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

pub use context::{FaultContext, FaultTarget, Pace};
pub use event::{EventOutcome, FaultEvent, PausePoint};
pub use injection::Injection;
pub use spec::{FaultSpec, Needs};
pub(crate) use steps::lock_probe::locks_of;

/// A fault, as `--faults` spells it. `--help` shows the first line of each.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Fault {
    /// Nothing goes wrong
    None,
    /// An inventory replica stops itself as it enters a write, until the lease has lapsed and another order has sold
    PauseInventory,
    /// An order replica that holds the lock is paused for longer than the lease, alternately at any moment and right
    /// before its write
    PauseOrder,
    /// An order replica is killed while orders are in flight, and restarted
    KillOrder,
    /// An inventory replica is killed while orders are in flight, and restarted
    KillInventory,
    /// A minority of the lock nodes is killed, and restarts empty after a lease
    RedisMinorityDown,
    /// A majority of the lock nodes is killed, and restarts empty after a lease
    RedisMajorityDown,
    /// A majority of the lock nodes is killed while a lock is held, and restarts empty at once
    RedisAmnesia,
    /// The clock of one lock node runs fast: a lock expires there while it is held
    RedisEarlyExpiry,
    /// Lock nodes answer later than any client waits
    RedisSlow,
    /// Lock nodes are out of memory: they answer reads and grant nothing
    NodeFull,
    /// Traffic between order and some lock nodes is held back: requests, replies, or both
    PartitionRedis,
    /// Traffic between one inventory replica and its database is held back: requests, replies, or both
    PartitionPostgres,
    /// Established connections fall silent while new ones work: in turn those to the lock nodes, to Postgres and to
    /// inventory
    NetworkSilence,
    /// Postgres refuses writes for a while, as after a fail-over to a standby
    PostgresReadonly,
    /// Postgres crashes, and recovers from its log
    PostgresRestart,
    /// The payment provider takes longer than a lease for one SKU, and its usual time for others
    SlowPayment,
    /// Customers send the same order twice at the same time
    DuplicateRequests,
    /// Orders are placed, and the connection breaks before the customer receives the answer
    LostReplies,
}

impl Fault {
    /// **The table.**
    pub const fn spec(self) -> &'static FaultSpec {
        match self {
            Self::None => &none::SPEC,
            Self::PauseInventory => &pause_inventory::SPEC,
            Self::PauseOrder => &pause_order::SPEC,
            Self::KillOrder => &kill_order::SPEC,
            Self::KillInventory => &kill_inventory::SPEC,
            Self::RedisMinorityDown => &redis_minority_down::SPEC,
            Self::RedisMajorityDown => &redis_majority_down::SPEC,
            Self::RedisAmnesia => &redis_amnesia::SPEC,
            Self::RedisEarlyExpiry => &redis_early_expiry::SPEC,
            Self::RedisSlow => &redis_slow::SPEC,
            Self::NodeFull => &node_full::SPEC,
            Self::PartitionRedis => &partition_redis::SPEC,
            Self::PartitionPostgres => &partition_postgres::SPEC,
            Self::NetworkSilence => &network_silence::SPEC,
            Self::PostgresReadonly => &postgres_readonly::SPEC,
            Self::PostgresRestart => &postgres_restart::SPEC,
            Self::SlowPayment => &slow_payment::SPEC,
            Self::DuplicateRequests => &duplicate_requests::SPEC,
            Self::LostReplies => &lost_replies::SPEC,
        }
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// It breaks connections, so the stack must have proxies on them.
    pub fn needs_proxies(self) -> bool {
        self.spec().needs == Needs::Proxies
    }

    /// Injects it, once for each injection of the context, until the sale is over.
    ///
    /// # Errors
    /// It could not be injected at all. An injection without effect is an event that did not fire.
    pub async fn inject(self, context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
        (self.spec().inject)(context).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_spells_a_fault_by_its_name() {
        for fault in Fault::VARIANTS {
            assert_eq!(Fault::from_str(fault.name(), false).as_ref(), Ok(fault));
        }
    }
}
