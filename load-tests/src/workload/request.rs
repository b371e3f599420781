//! One order, from its first request to its last answer, as a customer would go about it who wants to know for certain:
//! whoever is told to come back, or is told nothing, tries again under the same key.
//!
//! Invariant: what is recorded as the answer is the most that the customer knows in the end.

use std::time::Duration;

use goose::goose::{GooseMethod, GooseRequest, GooseUser};
use rand::RngExt as _;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Attack, Workload};
use crate::workload::history::{Answer, Invocation};
use crate::workload::outcome::{Expected, Outcome, expected};

/// A limit on everything: by then the service has had a minute.
const MOST_TRIES: u32 = 30;
/// Twice as long after every try, half of it at random: a crowd that knocks as one keeps down what it waits for.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Who sends a request.
pub(super) enum Via<'a> {
    /// A user of goose.
    Goose(&'a mut GooseUser),
    /// The attack's own client.
    Client(&'a Client),
}

impl Via<'_> {
    async fn send(&mut self, request: RequestBuilder) -> Option<Response> {
        match self {
            Self::Goose(user) => {
                let request =
                    GooseRequest::builder().method(GooseMethod::Post).name("order").set_request_builder(request);
                user.request(request.build()).await.ok()?.response.ok()
            }
            Self::Client(_) => request.send().await.ok(),
        }
    }

    fn client(&self) -> &Client {
        match self {
            Self::Goose(user) => &user.client,
            Self::Client(client) => client,
        }
    }
}

/// Places order `number` of a workload. `meant` is when it should have been sent, since the row began, if not just now.
pub(super) async fn place(
    attack: &Attack,
    workload: &Workload,
    number: usize,
    meant: Option<Duration>,
    via: &mut Via<'_>,
) {
    let order = Order { attack, workload, number, key: format!("{}-{number}", workload.prefix) };
    let (sku, to) = (workload.demand[number].clone(), order.replica(0).to_owned());
    let invocation = Invocation { key: order.key.clone(), sku, quantity: 1, to };
    let meant = meant.unwrap_or_else(|| workload.history.now());
    let operation = workload.history.invoked_at(meant, invocation);
    let mut unsure = false;
    for attempt in 1..=MOST_TRIES {
        let answer = order.once(attempt as usize - 1, via).await;
        let uncertain = expected(answer.status, answer.code.as_deref()) == Expected::AtMostOne;
        if attempt == MOST_TRIES || attack.interrupt.by().is_some() || !worth_another_try(&answer) {
            // "Too much to do" says nothing about an earlier try that nobody heard of.
            let knows = !(unsure && answer.status == Some(429));
            return workload.history.answered(operation, if knows { answer } else { silence() });
        }
        unsure |= uncertain;
        workload.history.tried_again(operation, &answer);
        let pause = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(10)).min(LONGEST_PAUSE);
        let part = rand::rng().random_range(0.5..1.0);
        sleep(pause.mul_f64(part)).await;
    }
}

struct Order<'a> {
    attack: &'a Attack,
    workload: &'a Workload,
    number: usize,
    key: String,
}

impl Order<'_> {
    /// Every try asks the next replica.
    fn replica(&self, attempt: usize) -> &str {
        &self.attack.orders[(self.number + attempt) % self.attack.orders.len()]
    }

    async fn once(&self, attempt: usize, via: &mut Via<'_>) -> Answer {
        let request = self.request(via.client(), attempt);
        if !(attempt == 0 && self.attack.duplicates.sends_twice(self.number)) {
            return heard(via.send(request).await).await.0;
        }
        let second = async { heard(self.request(&self.attack.http, attempt + 1).send().await.ok()).await };
        let (first, second) = tokio::join!(async { heard(via.send(request).await).await }, second);
        if first.0.status.is_some() && second.0.status.is_some() {
            self.workload.history.answered_twice();
        }
        the_better_of(first, second)
    }

    fn request(&self, client: &Client, attempt: usize) -> RequestBuilder {
        let sku = &self.workload.demand[self.number];
        let customer = format!("customer-{}", self.number);
        let body = json!({ "customer": customer, "lines": [{ "sku": sku, "quantity": 1 }] });
        let request = client.post(format!("{}/v1/orders", self.replica(attempt)));
        let request =
            request.header("idempotency-key", &self.key).header("lock-strategy", self.workload.strategy.name());
        request.timeout(self.attack.answer_limit).json(&body)
    }
}

/// The service may do better the next time, or has not said what it did.
fn worth_another_try(answer: &Answer) -> bool {
    match answer.outcome() {
        Outcome::LockTimeout | Outcome::QuorumUnavailable | Outcome::Unavailable | Outcome::Silence => true,
        Outcome::Accepted | Outcome::SoldOut => false,
        Outcome::Unexplained => {
            let passing = matches!(answer.code.as_deref(), Some("idempotency_in_progress" | "stale_fencing_token"));
            passing || answer.status.is_some_and(|status| status >= 500)
        }
    }
}

/// Of two answers to the same order the one that says more. Two that disagree are told as an order that nobody has.
fn the_better_of(first: (Answer, String), second: (Answer, String)) -> Answer {
    let final_one = |answer: &Answer| matches!(answer.outcome(), Outcome::Accepted | Outcome::SoldOut);
    match (final_one(&first.0), final_one(&second.0)) {
        (true, true) if first.1 != second.1 => Answer { order_id: None, status: Some(201), ..first.0 },
        (false, true) => second.0,
        (false, false) if expected(second.0.status, second.0.code.as_deref()) == Expected::AtMostOne => second.0,
        (true, _) | (false, false) => first.0,
    }
}

/// What was answered, and its body as it came. A body that breaks off is no answer, whatever its status line said.
async fn heard(response: Option<Response>) -> (Answer, String) {
    let Some(response) = response else { return (silence(), String::new()) };
    let (status, lock_ms) = (response.status().as_u16(), lock_ms(response.headers().get("server-timing")));
    let text = response.text().await.unwrap_or_default();
    let body: Option<Value> = serde_json::from_str(&text).ok();
    (understood(status, lock_ms, body.as_ref()), text)
}

fn silence() -> Answer {
    Answer { status: None, code: None, order_id: None, lock_ms: None }
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

    fn answer(status: u16, code: &str) -> Answer {
        Answer { status: Some(status), code: Some(code.to_owned()), ..silence() }
    }

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

    #[test]
    fn whoever_was_told_no_does_not_ask_again_and_whoever_was_told_nothing_does() {
        assert!(!worth_another_try(&answer(409, "out_of_stock")));
        assert!(!worth_another_try(&answer(422, "idempotency_key_reused")));
        assert!(worth_another_try(&silence()));
        for (status, code) in [(503, "lock_timeout"), (409, "idempotency_in_progress"), (500, "internal")] {
            assert!(worth_another_try(&answer(status, code)), "{code}");
        }
    }

    #[test]
    fn two_answers_that_disagree_are_not_both_believed() {
        let yes = |id: u128| {
            let id = uuid::Uuid::from_u128(id);
            (Answer { status: Some(201), order_id: Some(id), ..silence() }, id.to_string())
        };
        let busy = (answer(409, "idempotency_in_progress"), String::new());
        assert_eq!(the_better_of(yes(1), yes(1)).order_id, yes(1).0.order_id);
        assert_eq!(the_better_of(busy, yes(1)).order_id, yes(1).0.order_id);
        assert_eq!(the_better_of(yes(1), yes(2)).order_id, None);
    }
}
