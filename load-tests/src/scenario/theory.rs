//! What is known beforehand about a strategy under a fault, so that a run can be held to it: where it must not oversell,
//! where it must be caught, and where nobody promised anything.
//!
//! Absence: no measurement.

use std::time::Duration;

use crate::faults::Fault;
use crate::scenario::strategy::Strategy;

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
        if strategy.promises_no_oversell(fault) {
            Self::Never
        } else if is_certain(strategy, fault, payment) {
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

fn is_certain(strategy: Strategy, fault: Fault, payment: Duration) -> bool {
    match strategy {
        Strategy::Off => true,
        // One node is the lock: what it forgets, nobody else remembers.
        Strategy::Redis => match fault {
            Fault::PauseInventory | Fault::PauseOrder => true,
            Fault::RedisAmnesia | Fault::RedisEarlyExpiry => payment >= LONG_PAYMENT,
            _ => false,
        },
        // A majority that forgets at once is as bad; a single node is outvoted.
        Strategy::Redlock => match fault {
            Fault::PauseInventory | Fault::PauseOrder => true,
            Fault::RedisAmnesia => payment >= LONG_PAYMENT,
            _ => false,
        },
        Strategy::RedlockWriteFence => fault == Fault::PauseInventory && payment >= LONG_PAYMENT,
        Strategy::PostgresAdvisory => fault == Fault::PauseInventory,
        Strategy::RedlockFenced
        | Strategy::EtcdFenced
        | Strategy::ZookeeperFenced
        | Strategy::Optimistic
        | Strategy::RowLock
        | Strategy::Atomic => false,
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
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn what_promises_is_never_expected_to_be_caught() {
        for &strategy in Strategy::value_variants() {
            for &fault in Fault::value_variants() {
                let promised = strategy.promises_no_oversell(fault);
                assert_eq!(Theory::of(strategy, fault, LONG_PAYMENT) == Theory::Never, promised, "{strategy} {fault}");
            }
        }
    }

    #[test]
    fn one_node_is_caught_where_five_are_not() {
        let of = |strategy| Theory::of(strategy, Fault::RedisEarlyExpiry, LONG_PAYMENT);
        assert_eq!((of(Strategy::Redis), of(Strategy::Redlock)), (Theory::Certain, Theory::Open));
    }

    #[test]
    fn the_hole_of_the_textbook_needs_a_long_payment() {
        let of = |payment| Theory::of(Strategy::RedlockWriteFence, Fault::PauseInventory, payment);
        assert_eq!((of(Duration::from_millis(2)), of(LONG_PAYMENT)), (Theory::Open, Theory::Certain));
    }
}
