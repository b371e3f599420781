//! What one injection did: when, to which process, and how it ended.
//!
//! Absence: no control flow reads a text. What code compares is a variant; a text is for people.

use std::fmt;

use contract::Strategy;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::cluster::lab_client::WriteOutcome;

/// One injection, after the fact.
#[derive(Debug, Clone, Serialize)]
pub struct FaultEvent {
    /// The strategy whose sale was the target; absent if all were.
    pub strategy: Option<Strategy>,
    /// The process, or the connection between two processes.
    pub replica: String,
    /// The SKU whose sale was the target; empty if all were.
    pub sku: String,
    /// Its begin, in milliseconds since the row began.
    pub from_ms: u128,
    /// Its end, in milliseconds since the row began.
    pub to_ms: u128,
    /// The injection had the effect that the fault is there for; one without that effect is not counted.
    pub fired: bool,
    /// How it ended.
    pub outcome: EventOutcome,
    /// The order whose write was paused; absent where no write was.
    pub order_id: Option<Uuid>,
    /// The token that this write carried.
    pub fencing_token: Option<i64>,
}

/// How an injection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventOutcome {
    /// A write was paused as it began.
    PausedWrite {
        /// How the write ended; absent if it was never attempted.
        ended: Option<WriteOutcome>,
        /// The write was stale when it was resumed.
        stale: bool,
    },
    /// An order replica was paused while it worked on an order.
    PausedOrder {
        /// Where in its work it was paused.
        at: PausePoint,
        /// Another order sold the same SKU before it was resumed.
        others_sold: bool,
    },
    /// What was observed. For people: no code compares it.
    Observed(String),
}

/// Where in its work an order replica was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PausePoint {
    /// At any moment at which it held the lock.
    HoldingLock,
    /// After its last check of the lease, before it sent the write.
    BeforeWrite,
}

impl FaultEvent {
    /// It counts in the row of this strategy.
    pub fn concerns(&self, strategy: Strategy) -> bool {
        self.strategy.is_none_or(|target| target == strategy)
    }
}

impl fmt::Display for EventOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PausedWrite { ended, stale } => {
                match ended {
                    Some(ended) => write!(f, "{ended}")?,
                    None => f.write_str("not attempted")?,
                }
                f.write_str(if *stale { "" } else { ", but it was not stale yet" })
            }
            Self::PausedOrder { at, others_sold } => {
                let at = match at {
                    PausePoint::HoldingLock => "while it held the lock",
                    PausePoint::BeforeWrite => "before it sent its write",
                };
                let sold = if *others_sold { "another order sold meanwhile" } else { "no other order sold" };
                write!(f, "paused {at}; {sold}")
            }
            Self::Observed(text) => f.write_str(text),
        }
    }
}

/// As text.
impl Serialize for EventOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
