//! What is known beforehand about a strategy under a fault, so that a run can be held to it: where it must not oversell,
//! where it must be caught, and where nobody promised anything.
//!
//! Absence: no measurement.

use std::time::Duration;

use contract::{LockKind, Promise, Proof, Strategy};

use crate::faults::Fault;

/// A payment of this length leaves the next holder between read and write for long enough to be met there.
pub const LONG_PAYMENT: Duration = Duration::from_millis(150);

/// What is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theory {
    /// It must not oversell.
    Never,
    /// It promises nothing, and need not be caught.
    Open,
    /// It oversells, or the fault was too mild.
    Certain,
}

impl Theory {
    /// Of a strategy under a fault, with payments of this length.
    pub fn of(strategy: Strategy, fault: Fault, payment: Duration) -> Self {
        if promises_no_oversell(strategy, fault) {
            Self::Never
        } else if must_oversell(strategy, fault, payment) {
            Self::Certain
        } else {
            Self::Open
        }
    }

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Open => "may",
            Self::Certain => "must",
        }
    }
}

/// The strategy must not oversell under this fault.
pub const fn promises_no_oversell(strategy: Strategy, fault: Fault) -> bool {
    match strategy.promise() {
        Promise::Nothing => false,
        Promise::WithoutFaults => matches!(fault, Fault::None),
        Promise::UnderEveryFault => true,
    }
}

fn must_oversell(strategy: Strategy, fault: Fault, payment: Duration) -> bool {
    match strategy.promise() {
        Promise::Nothing => return true,
        Promise::UnderEveryFault => return false,
        Promise::WithoutFaults => {}
    }
    let (lock, long) = (strategy.lock(), payment >= LONG_PAYMENT);
    let unchecked = strategy.proof() == Proof::Nothing;
    match fault {
        // A token that was not claimed is refused only if a newer one has written.
        Fault::PauseInventory => unchecked || long && strategy.proof() == Proof::Token && !strategy.claims(),
        // Only a lease ends while its holder is stopped.
        Fault::PauseOrder => lock.is_redis() && unchecked,
        Fault::RedisAmnesia => lock.is_redis() && unchecked && long,
        // Of Redlock's nodes, one is outvoted.
        Fault::RedisEarlyExpiry => lock == LockKind::OneRedis && unchecked && long,
        Fault::None
        | Fault::KillOrder
        | Fault::KillInventory
        | Fault::RedisMinorityDown
        | Fault::RedisMajorityDown
        | Fault::RedisSlow
        | Fault::PartitionRedis
        | Fault::PartitionPostgres
        | Fault::PostgresRestart
        | Fault::DuplicateRequests
        | Fault::LostReplies => false,
    }
}

/// Why, in one sentence, for whoever reads the table.
pub const fn why(fault: Fault) -> &'static str {
    match fault {
        Fault::None => "Nothing goes wrong, so every lock keeps people apart; without one they overwrite each other.",
        Fault::PauseInventory => {
            "A write is stopped until its lease has lapsed and then lands: only the storage can refuse it. The textbook's \
             check sees no newer write yet if the next holder has only read; an advisory lock is gone with its session."
        }
        Fault::PauseOrder => {
            "A holder that was stopped looks at its lease before the write and mostly gives up. Stopped between that look \
             and the write, it sends what it had in hand: a narrow window, not a closed one."
        }
        Fault::KillOrder => "A dead holder writes nothing more; what it had sent ends within its lease.",
        Fault::KillInventory => {
            "A write is undone or committed as a whole; nobody else is let in before the lease ends."
        }
        Fault::RedisMinorityDown => {
            "A quorum is left. A single node that comes back after a lease forgot nothing alive."
        }
        Fault::RedisMajorityDown => "Nobody is granted the lock: order fails closed.",
        Fault::RedisAmnesia => {
            "The majority forgets locks that are held, so a second holder is let in: with one node and with five. Tokens \
             start again from 1, so a claim is refused until the counter is raised."
        }
        Fault::RedisEarlyExpiry => {
            "One node lets go too early: all there is for `redis`, one vote of five for Redlock."
        }
        Fault::RedisSlow => "A slow minority is not waited for; a slow majority is a lost quorum.",
        Fault::PartitionRedis => "As slow nodes; what was asked is done late, by when nobody relies on it.",
        Fault::PartitionPostgres => {
            "A write that was held back arrives late, like the paused holder's, if it began in time."
        }
        Fault::PostgresRestart => "What was in flight is undone; session locks are gone with their sessions.",
        Fault::DuplicateRequests => "One key is one order, and one order has one reservation.",
        Fault::LostReplies => "Whoever asks again under the same key is told what happened.",
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    /// The theory of every strategy, in the order of the strategies' table: `n`ever, `m`ust, must with `l`ong payments
    /// only, `.` open.
    const OTHERWISE: &str = "m...nnn.nnn";
    const EXPECTED: [(Fault, &str); 5] = [
        (Fault::None, "mnnnnnnnnnn"),
        (Fault::PauseInventory, "mmmlnnnmnnn"),
        (Fault::PauseOrder, "mmm.nnn.nnn"),
        (Fault::RedisAmnesia, "mll.nnn.nnn"),
        (Fault::RedisEarlyExpiry, "ml..nnn.nnn"),
    ];

    #[test]
    fn theory_is_known_for_every_strategy_under_every_fault() {
        let short = Duration::from_millis(149);
        for &fault in Fault::VARIANTS {
            let row = EXPECTED.iter().find(|(named, _)| *named == fault).map_or(OTHERWISE, |(_, row)| row);
            let of = |&strategy: &Strategy| match (
                Theory::of(strategy, fault, short),
                Theory::of(strategy, fault, LONG_PAYMENT),
            ) {
                (Theory::Never, Theory::Never) => 'n',
                (Theory::Certain, Theory::Certain) => 'm',
                (Theory::Open, Theory::Certain) => 'l',
                (Theory::Open, Theory::Open) => '.',
                mixed => panic!("{strategy} under {fault}: {mixed:?}"),
            };
            let derived: String = Strategy::VARIANTS.iter().map(of).collect();
            assert_eq!(derived, row, "{fault}");
        }
    }
}
