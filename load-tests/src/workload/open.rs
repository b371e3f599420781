//! The open model: orders come when they come. And a crowd that orders for as long as it is let, for the soak.
//!
//! Invariant: nobody is late because somebody else had to wait; latency counts from when an order was meant to be sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Attack;
use super::request::{Via, place};

/// Order `n` of every workload is due at `due[n]`.
pub(super) async fn arrive(attack: &Arc<Attack>, began: Instant, due: &[Duration]) {
    let mut customers = JoinSet::new();
    for at in due {
        tokio::select! {
            () = sleep_until(began + *at) => {}
            _ = attack.interrupt.asked() => break,
        }
        for workload in 0..attack.workloads.len() {
            let (attack, at) = (Arc::clone(attack), *at);
            customers.spawn(async move {
                let workload = &attack.workloads[workload];
                if let Some(number) = workload.take_number() {
                    let meant = workload.history.now().saturating_sub((began + at).elapsed());
                    place(&attack, workload, number, Some(meant), &mut Via::Client(&attack.http)).await;
                }
            });
        }
    }
    customers.join_all().await;
}

/// Customers who order again as soon as they were answered, until the time is over or there is nothing left to ask for.
pub(super) async fn crowd(attack: &Arc<Attack>, users: u64, until: Instant) {
    let mut customers = JoinSet::new();
    for user in 0..users {
        let attack = Arc::clone(attack);
        customers.spawn(async move {
            let workloads = attack.workloads.len() as u64;
            let workload = &attack.workloads[usize::try_from(user % workloads).unwrap_or_default()];
            while Instant::now() < until && attack.interrupt.by().is_none() {
                let Some(number) = workload.take_number() else { break };
                place(&attack, workload, number, None, &mut Via::Client(&attack.http)).await;
            }
        });
    }
    customers.join_all().await;
}
