//! What a soak runs, and on what. No I/O.

use std::time::Duration;

use contract::Strategy;

use super::protocol_mutation::ProtocolMutation;
use crate::cluster::config::StackConfig;

/// What a soak runs, and on what.
#[derive(Debug, Clone)]
pub struct SoakPlan {
    /// How long.
    pub minutes: u64,
    /// How stock is guarded.
    pub strategy: Strategy,
    /// Concurrent customers.
    pub users: u64,
    /// A condition that is removed from the database beforehand, to verify that the soak detects it.
    pub mutation: Option<ProtocolMutation>,
    /// Decides which faults are injected, when and where.
    pub seed: u64,
    /// The stack.
    pub stack_config: StackConfig,
}

/// The stack of a soak unless flags change it: a payment that leaves time between read and write, a short wait for locks,
/// and proxies on every connection.
pub fn stack_config(preset: &StackConfig) -> StackConfig {
    let ms = Duration::from_millis;
    StackConfig { payment: ms(10), wait: ms(3_000), proxied: true, ..preset.clone() }
}
