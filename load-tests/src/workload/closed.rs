//! The closed model: a customer waits for the answer before the next order. For a fixed number of orders by goose, for
//! a fixed time by the attack's own client. The only place that runs goose.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult};
use goose::{GooseAttack, trigger_killswitch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::attack::Attack;
use super::quiet_stdout::QuietStdout;
use super::request::{Transport, place, place_once};

impl Attack {
    /// `users` customers of each workload place `iterations` orders each, one after the other. By goose.
    ///
    /// # Errors
    /// Goose could not run. An order that failed is in its history.
    pub async fn closed(self, users: u64, iterations: u64) -> anyhow::Result<()> {
        run_goose(Arc::new(self), users, iterations).await
    }

    /// `users` customers, divided among the workloads, order again as soon as they are answered: until `until`, or
    /// until all of the demand was ordered.
    pub async fn closed_until(self, users: u64, until: Instant) {
        let attack = Arc::new(self);
        let mut customers = JoinSet::new();
        for user in 0..users {
            let attack = Arc::clone(&attack);
            customers.spawn(async move {
                let workloads = attack.workloads.len() as u64;
                let workload = &attack.workloads[usize::try_from(user % workloads).unwrap_or_default()];
                while Instant::now() < until && attack.interrupt.by().is_none() {
                    let Some(number) = workload.take_number() else { break };
                    place(&attack, workload, number, None, &mut Transport::Client(&attack.http)).await;
                }
            });
        }
        customers.join_all().await;
    }
}

impl Attack {
    /// As [`Attack::closed_until`], with a connection for each customer, who sends an order once and never again: after a
    /// 429 the next order follows when the answer asks for it.
    pub async fn closed_once_until(self, users: u64, until: Instant) {
        let attack = Arc::new(self);
        let mut customers = JoinSet::new();
        for _ in 0..users {
            let attack = Arc::clone(&attack);
            customers.spawn(async move {
                let workload = &attack.workloads[0];
                while Instant::now() < until && attack.interrupt.by().is_none() {
                    let Some(number) = workload.take_number() else { break };
                    if let Some(pause) = place_once(&attack, workload, number).await {
                        sleep_until(until.min(Instant::now() + pause)).await;
                    }
                }
            });
        }
        customers.join_all().await;
    }
}

async fn run_goose(attack: Arc<Attack>, users: u64, iterations: u64) -> anyhow::Result<()> {
    let interrupt = attack.interrupt.clone();
    let (users, iterations) = (users * attack.workloads.len() as u64, iterations.to_string());
    let users = users.to_string();
    let arguments = [
        "--host",
        &attack.orders[0],
        "--users",
        &users,
        "--increase-rate",
        &users,
        "--iterations",
        &iterations,
        "--no-metrics",
        "--no-telnet",
        "-q",
        "-q",
        "-q",
    ];
    let configuration = GooseConfiguration::parse_args_default(&arguments).context("goose refused its options")?;
    let order: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
        let attack = Arc::clone(&attack);
        let order = async move { place_next(&attack, user).await };
        Box::pin(order) as Pin<Box<dyn Future<Output = TransactionResult> + Send + '_>>
    });
    let scenario = Scenario::new("customers").register_transaction(Transaction::new(order).set_name("order"));
    let _quiet = QuietStdout::begin().context("standard output cannot be silenced")?;
    let goose = GooseAttack::initialize_with_config(configuration).context("goose could not be set up")?;
    let mut running = Box::pin(goose.register_scenario(scenario).execute());
    let ended = tokio::select! {
        ended = &mut running => ended,
        by = interrupt.asked() => {
            trigger_killswitch(by);
            running.await
        }
    };
    ended.map(drop).context("goose could not run the attack")
}

/// Goose numbers the customers of all workloads together; every workload has equally many.
async fn place_next(attack: &Attack, user: &mut GooseUser) -> TransactionResult {
    let workload = &attack.workloads[user.weighted_users_index % attack.workloads.len()];
    if attack.interrupt.by().is_none()
        && let Some(number) = workload.take_number()
    {
        place(attack, workload, number, None, &mut Transport::Goose(user)).await;
    }
    Ok(())
}
