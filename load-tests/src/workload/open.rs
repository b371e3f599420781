//! The open model: orders arrive on schedule, whether or not earlier ones were answered.
//!
//! Invariant: no order is sent late because another one waits; latency counts from the moment at which an order was due.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::attack::Attack;
use super::request::{Transport, place};

impl Attack {
    /// Sends order `n` of every workload at `due[n]`, counted from `began`.
    pub async fn open(self, began: Instant, due: &[Duration]) {
        let attack = Arc::new(self);
        let mut customers = JoinSet::new();
        for at in due {
            tokio::select! {
                () = sleep_until(began + *at) => {}
                _ = attack.interrupt.asked() => break,
            }
            for workload in 0..attack.workloads.len() {
                let (attack, at) = (Arc::clone(&attack), *at);
                customers.spawn(async move {
                    let workload = &attack.workloads[workload];
                    if let Some(number) = workload.take_number() {
                        let due = workload.history.now().saturating_sub((began + at).elapsed());
                        place(&attack, workload, number, Some(due), &mut Transport::Client(&attack.http)).await;
                    }
                });
            }
        }
        customers.join_all().await;
    }
}
