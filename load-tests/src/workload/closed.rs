//! The closed model: customers who wait for their answer before they order again. The only place that runs goose.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult};
use goose::{GooseAttack, trigger_killswitch};

use super::Attack;
use super::request::{Via, place};

pub(super) async fn run(attack: Arc<Attack>, users: u64, iterations: u64) -> anyhow::Result<()> {
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
        let order = async move { next(&attack, user).await };
        Box::pin(order) as Pin<Box<dyn Future<Output = TransactionResult> + Send + '_>>
    });
    let scenario = Scenario::new("customers").register_transaction(Transaction::new(order).set_name("order"));
    let goose = GooseAttack::initialize_with_config(configuration).context("goose could not be set up")?;
    let mut attacking = Box::pin(goose.register_scenario(scenario).execute());
    let attacked = tokio::select! {
        attacked = &mut attacking => attacked,
        by = interrupt.asked() => {
            trigger_killswitch(by);
            attacking.await
        }
    };
    attacked.map(drop).context("the attack could not run")
}

/// The customers of all workloads stand in one row: every workload has equally many.
async fn next(attack: &Attack, user: &mut GooseUser) -> TransactionResult {
    let workload = &attack.workloads[user.weighted_users_index % attack.workloads.len()];
    if attack.interrupt.by().is_none()
        && let Some(number) = workload.take_number()
    {
        place(attack, workload, number, None, &mut Via::Goose(user)).await;
    }
    Ok(())
}
