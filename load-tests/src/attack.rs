//! The attack: so many customers order so many times, over all replicas of order. The only place that names goose.
//!
//! Invariant: users × iterations attempts, exactly, each with a key of its own; none is ever repeated.
//! Absence: no number of the verdict is counted by goose; the history is its whole result.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use goose::config::GooseConfiguration;
use goose::goose::{
    GooseMethod, GooseRequest, GooseUser, Scenario, Transaction, TransactionFunction, TransactionResult,
};
use goose::{GooseAttack, trigger_killswitch};
use serde_json::{Value, json};

use crate::history::{Answer, History, Invocation};
use crate::interrupt::Interrupt;
use crate::plan::Load;
use crate::strategy::Strategy;

/// One row's attack.
#[derive(Debug)]
pub struct Attack {
    /// Every replica of order; asked in turn.
    pub orders: Vec<String>,
    /// Sent with every order.
    pub strategy: Strategy,
    /// The SKU of each attempt.
    pub demand: Vec<String>,
    /// Keys begin with it; unique to the row.
    pub prefix: String,
    /// How long an answer is waited for.
    pub answer_limit: Duration,
    /// Where everything is recorded.
    pub history: Arc<History>,
}

impl Attack {
    /// Runs it to its end, or until it is interrupted.
    ///
    /// # Errors
    /// Goose could not run. What went wrong with an order is in the history.
    pub async fn run(self, load: &Load, interrupt: &Interrupt) -> anyhow::Result<()> {
        let host = self.orders.first().cloned().context("there is no order service to attack")?;
        let (users, iterations) = (load.users.to_string(), load.iterations.to_string());
        let arguments = [
            "--host",
            &host,
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
        let customers = Arc::new(Customers { attack: self, next: AtomicUsize::new(0), interrupt: interrupt.clone() });
        let order: TransactionFunction = Arc::new(move |user: &mut GooseUser| {
            let customers = Arc::clone(&customers);
            let order = async move { customers.order(user).await };
            Box::pin(order) as Pin<Box<dyn Future<Output = TransactionResult> + Send + '_>>
        });
        let scenario = Scenario::new("customers").register_transaction(Transaction::new(order).set_name("order"));
        let attack = GooseAttack::initialize_with_config(configuration).context("goose could not be set up")?;
        let mut attacking = Box::pin(attack.register_scenario(scenario).execute());
        let attacked = tokio::select! {
            attacked = &mut attacking => attacked,
            by = interrupt.asked() => {
                trigger_killswitch(by);
                attacking.await
            }
        };
        attacked.map(drop).context("the attack could not run")
    }
}

struct Customers {
    attack: Attack,
    next: AtomicUsize,
    interrupt: Interrupt,
}

impl Customers {
    async fn order(&self, user: &mut GooseUser) -> TransactionResult {
        let attack = &self.attack;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(sku) = attack.demand.get(number).filter(|_| self.interrupt.by().is_none()) else {
            return Ok(());
        };
        let to = &attack.orders[number % attack.orders.len()];
        let key = format!("{}-{number}", attack.prefix);
        let body = json!({ "customer": format!("customer-{number}"), "lines": [{ "sku": sku, "quantity": 1 }] });
        let request = user
            .get_request_builder(&GooseMethod::Post, &format!("{to}/v1/orders"))?
            .header("idempotency-key", &key)
            .header("lock-strategy", attack.strategy.name())
            .timeout(attack.answer_limit)
            .json(&body);
        let request = GooseRequest::builder().method(GooseMethod::Post).name("order").set_request_builder(request);

        let invocation = Invocation { key, sku: sku.clone(), quantity: 1, to: to.clone() };
        let operation = attack.history.invoked(invocation);
        let mut goose = user.request(request.build()).await?;
        let answer = match goose.response {
            Ok(response) => {
                let (status, lock_ms) = (response.status().as_u16(), lock_ms(response.headers().get("server-timing")));
                // A body that breaks off is no answer, whatever its status line said.
                let body = response.json::<Value>().await.ok();
                understood(status, lock_ms, body.as_ref())
            }
            Err(_) => Answer { status: None, code: None, order_id: None, lock_ms: None },
        };
        let sold_out = answer.outcome() == crate::outcome::Outcome::SoldOut;
        attack.history.answered(operation, answer);
        if sold_out { user.set_success(&mut goose.request) } else { Ok(()) }
    }
}

fn understood(status: u16, lock_ms: Option<f64>, body: Option<&Value>) -> Answer {
    let text = |name: &str| body.and_then(|body| body[name].as_str());
    Answer {
        status: body.map(|_| status),
        code: text("code").map(str::to_owned),
        order_id: text("id").and_then(|id| id.parse().ok()),
        lock_ms,
    }
}

/// The `lock` of `Server-Timing: lock;dur=1.204, claim;dur=…`.
fn lock_ms(header: Option<&impl AsRef<[u8]>>) -> Option<f64> {
    let header = std::str::from_utf8(header?.as_ref()).ok()?;
    let lock = header.split(',').find_map(|entry| entry.trim().strip_prefix("lock;dur="))?;
    lock.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_the_lock_is_read_from_server_timing() {
        assert_eq!(lock_ms(Some(&"lock;dur=1.204, claim;dur=2.000")), Some(1.204));
        assert_eq!(lock_ms(Some(&"claim;dur=2.000")), None);
        assert_eq!(lock_ms(None::<&&str>), None);
    }

    #[test]
    fn an_answer_whose_body_broke_off_is_silence() {
        assert_eq!(understood(201, None, None).status, None);
        assert_eq!(
            understood(409, None, Some(&json!({ "code": "out_of_stock" }))).code.as_deref(),
            Some("out_of_stock")
        );
    }
}
