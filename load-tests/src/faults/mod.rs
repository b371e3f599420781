//! What can go wrong while orders are placed. A fault is one file here and one line in each match.
//!
//! Invariant: a fault counts as fired only if it was seen to strike, and whatever it stopped or broke works again when
//! it returns.
//! Absence: no fault decides whether a row is valid; `verdict` does.

mod context;
mod duplicate_requests;
mod kill_inventory;
mod kill_order;
mod lock_probe;
mod lost_replies;
mod partition_postgres;
mod partition_redis;
mod pause_inventory;
mod pause_order;
mod postgres_restart;
mod redis_amnesia;
mod redis_early_expiry;
mod redis_majority_down;
mod redis_minority_down;
mod redis_slow;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

pub use context::{FaultContext, FaultEvent, FaultTarget, Pace};

/// A fault, as `--faults` spells it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Fault {
    /// Nothing goes wrong
    None,
    /// An inventory replica stops as it enters a write, until the lease has lapsed and somebody else has sold
    PauseInventory,
    /// An order replica that holds the lock is stopped for longer than the lease, in turn at any moment and right before its write
    PauseOrder,
    /// An order replica is killed in the middle of orders, and started again
    KillOrder,
    /// An inventory replica is killed in the middle of orders, and started again
    KillInventory,
    /// A minority of the lock nodes is killed; they come back empty after a lease
    RedisMinorityDown,
    /// A majority of the lock nodes is killed; they come back empty after a lease
    RedisMajorityDown,
    /// A majority of the lock nodes is killed while a lock is held, and comes back empty at once
    RedisAmnesia,
    /// One lock node's clock runs ahead: it forgets a lock that is still held
    RedisEarlyExpiry,
    /// Lock nodes answer, later than anybody waits
    RedisSlow,
    /// Nothing gets through between order and some lock nodes: one way, the other, both
    PartitionRedis,
    /// Nothing gets through between one inventory replica and its database: one way, the other, both
    PartitionPostgres,
    /// Postgres crashes, and recovers from its log
    PostgresRestart,
    /// Customers send the same order twice at the same moment
    DuplicateRequests,
    /// Orders are placed, and the connection breaks before the customer hears of it
    LostReplies,
}

/// What a fault has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing but the addresses.
    Nothing,
    /// The process ids of the replicas, on this machine.
    Processes,
    /// LabClient or servers that this process started, or the proxies between them.
    OwnStack,
}

impl Fault {
    /// As in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What it has to reach.
    pub const fn needs(self) -> Needs {
        match self {
            Self::None | Self::DuplicateRequests => Needs::Nothing,
            Self::PauseInventory | Self::PauseOrder => Needs::Processes,
            Self::KillOrder
            | Self::KillInventory
            | Self::RedisMinorityDown
            | Self::RedisMajorityDown
            | Self::RedisAmnesia
            | Self::RedisEarlyExpiry
            | Self::RedisSlow
            | Self::PartitionRedis
            | Self::PartitionPostgres
            | Self::PostgresRestart
            | Self::LostReplies => Needs::OwnStack,
        }
    }

    /// It breaks connections, so there have to be proxies on them.
    pub const fn needs_proxies(self) -> bool {
        matches!(self, Self::PartitionRedis | Self::PartitionPostgres | Self::LostReplies)
    }

    /// A stale write must reach the storage, so a fenced strategy has something to refuse. A paused order replica looks
    /// at its lease right before the write and mostly does not send it.
    pub const fn makes_writes_stale(self) -> bool {
        matches!(self, Self::PauseInventory)
    }

    /// Strikes again and again until the sale is over.
    ///
    /// # Errors
    /// The fault could not be injected at all. That a single strike missed is told in the result.
    pub async fn inject(self, context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::PauseInventory => pause_inventory::inject(context).await,
            Self::PauseOrder => pause_order::inject(context).await,
            Self::KillOrder => kill_order::inject(context).await,
            Self::KillInventory => kill_inventory::inject(context).await,
            Self::RedisMinorityDown => redis_minority_down::inject(context).await,
            Self::RedisMajorityDown => redis_majority_down::inject(context).await,
            Self::RedisAmnesia => redis_amnesia::inject(context).await,
            Self::RedisEarlyExpiry => redis_early_expiry::inject(context).await,
            Self::RedisSlow => redis_slow::inject(context).await,
            Self::PartitionRedis => partition_redis::inject(context).await,
            Self::PartitionPostgres => partition_postgres::inject(context).await,
            Self::PostgresRestart => postgres_restart::inject(context).await,
            Self::DuplicateRequests => duplicate_requests::inject(context).await,
            Self::LostReplies => lost_replies::inject(context).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_typed_as_it_is_named() {
        for fault in Fault::VARIANTS {
            assert_eq!(Fault::from_str(fault.name(), false).as_ref(), Ok(fault));
        }
    }
}
