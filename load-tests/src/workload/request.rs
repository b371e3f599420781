//! One order, from its first request to its last answer, placed by a customer who retries under the same key whenever
//! the answer leaves the outcome unknown, or is marked as retryable.
//!
//! Invariant: the recorded answer is the most informative one that the customer received.

use std::time::Duration;

use contract::ProblemCode;
use goose::goose::{GooseMethod, GooseRequest, GooseUser};
use rand::RngExt as _;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::attack::{Attack, Workload};
use super::operation::{Answer, Invocation};
use super::outcome::{ExpectedReservations, Outcome, expected_reservations};

/// A limit on everything: after so many attempts the service has been retried for a minute.
const MOST_ATTEMPTS: u32 = 30;
/// The pause before the first retry. It doubles with every retry, and half of it is random: simultaneous retries keep
/// an overloaded service overloaded.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// After a 429 that does not tell.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What sends a request.
pub(super) enum Transport<'a> {
    /// A user of goose.
    Goose(&'a mut GooseUser),
    /// The attack's own client.
    Client(&'a Client),
}

impl Transport<'_> {
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

/// Places order `number` of a workload. `due` is when it should have been sent, since the row began; absent if now.
pub(super) async fn place(
    attack: &Attack,
    workload: &Workload,
    number: usize,
    due: Option<Duration>,
    transport: &mut Transport<'_>,
) {
    let order = Order { attack, workload, number, key: format!("{}-{number}", workload.prefix) };
    let (sku, to) = (workload.demand[number].clone(), order.replica(0).to_owned());
    let invocation = Invocation { key: order.key.clone(), sku, quantity: 1, to };
    let due = due.unwrap_or_else(|| workload.history.now());
    let operation = workload.history.invoked_at(due, invocation);
    let mut earlier_unknown = false;
    for attempt in 1..=MOST_ATTEMPTS {
        let answer = order.send(attempt as usize - 1, transport).await;
        let unknown = leaves_outcome_unknown(&answer);
        if attempt == MOST_ATTEMPTS || attack.interrupt.by().is_some() || !is_worth_a_retry(&answer) {
            // 429 decides nothing about an earlier attempt whose outcome is unknown.
            let known = !(earlier_unknown && answer.status == Some(429));
            return workload.history.answered(operation, if known { answer } else { Answer::silence() });
        }
        earlier_unknown |= unknown;
        workload.history.tried_again(operation, &answer);
        let pause = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(10)).min(LONGEST_PAUSE);
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(pause.mul_f64(jitter)).await;
    }
}

/// Sends order `number` once. Returns how long to wait if it was refused because of the load: once to twice as long as the
/// answer asks for, since customers who are refused together and come again together are refused again.
pub(super) async fn place_once(attack: &Attack, workload: &Workload, number: usize) -> Option<Duration> {
    let order = Order { attack, workload, number, key: format!("{}-{number}", workload.prefix) };
    let (sku, to) = (workload.demand[number].clone(), order.replica(0).to_owned());
    let invocation = Invocation { key: order.key.clone(), sku, quantity: 1, to };
    let operation = workload.history.invoked_at(workload.history.now(), invocation);
    let received = receive(order.request(&attack.http, 0).send().await.ok()).await;
    let refused = received.answer.status == Some(429);
    workload.history.answered(operation, received.answer);
    let asked = received.retry_after.unwrap_or(DEFAULT_RETRY_AFTER);
    refused.then(|| asked.mul_f64(rand::rng().random_range(1.0..2.0)))
}

struct Order<'a> {
    attack: &'a Attack,
    workload: &'a Workload,
    number: usize,
    key: String,
}

impl Order<'_> {
    /// The replica of an attempt, from 0: every retry goes to the next one.
    fn replica(&self, attempt: usize) -> &str {
        &self.attack.orders[(self.number + attempt) % self.attack.orders.len()]
    }

    /// One attempt. The first one is sent twice at the same time if duplicates are switched on.
    async fn send(&self, attempt: usize, transport: &mut Transport<'_>) -> Answer {
        let request = self.request(transport.client(), attempt);
        if !(attempt == 0 && self.attack.duplicates.applies_to(self.number)) {
            return receive(transport.send(request).await).await.answer;
        }
        let second = async { receive(self.request(&self.attack.http, attempt + 1).send().await.ok()).await };
        let (first, second) = tokio::join!(async { receive(transport.send(request).await).await }, second);
        if first.answer.status.is_some() && second.answer.status.is_some() {
            self.workload.history.answered_twice();
        }
        more_informative(first, second)
    }

    fn request(&self, client: &Client, attempt: usize) -> RequestBuilder {
        let customer = format!("customer-{}", self.number);
        let lines: Vec<_> = self.workload.skus(self.number).map(|sku| json!({ "sku": sku, "quantity": 1 })).collect();
        let body = json!({ "customer": customer, "lines": lines });
        let request = client.post(format!("{}/v1/orders", self.replica(attempt)));
        let request =
            request.header("idempotency-key", &self.key).header("lock-strategy", self.workload.strategy.name());
        request.timeout(self.attack.answer_limit).json(&body)
    }
}

/// The order may or may not have been placed.
fn leaves_outcome_unknown(answer: &Answer) -> bool {
    expected_reservations(answer.status, answer.code.as_deref()) == ExpectedReservations::AtMostOne
}

/// The failure may be temporary, or the outcome is unknown.
fn is_worth_a_retry(answer: &Answer) -> bool {
    match answer.outcome() {
        Outcome::LockTimeout
        | Outcome::QuorumUnavailable
        | Outcome::Unavailable
        | Outcome::Overloaded
        | Outcome::Silence => true,
        Outcome::Accepted | Outcome::SoldOut => false,
        Outcome::Unexplained => {
            let code = answer.code.as_deref().and_then(|code| code.parse().ok());
            let temporary = matches!(code, Some(ProblemCode::IdempotencyInProgress | ProblemCode::StaleFencingToken));
            temporary || answer.status.is_some_and(|status| status >= 500)
        }
    }
}

/// An answer, and its body as received.
struct Received {
    answer: Answer,
    retry_after: Option<Duration>,
    body: String,
}

/// The more informative of two answers to the same order. Two successes with different bodies become a success
/// without an order id, which the audit reports. A sold-out answer need not be stored: another one may differ from it, and
/// the order may be accepted as well.
fn more_informative(first: Received, second: Received) -> Answer {
    let differ = first.body != second.body;
    let (first, second) = (first.answer, second.answer);
    match (first.outcome(), second.outcome()) {
        (Outcome::Accepted, Outcome::Accepted) if differ => Answer { order_id: None, ..first },
        (Outcome::Accepted, _) => first,
        (_, Outcome::Accepted) => second,
        (Outcome::SoldOut, _) => first,
        (_, Outcome::SoldOut) => second,
        _ if leaves_outcome_unknown(&second) => second,
        _ => first,
    }
}

/// Reads a response. A body that breaks off is silence, whatever the status line was.
async fn receive(response: Option<Response>) -> Received {
    let Some(response) = response else {
        return Received { answer: Answer::silence(), retry_after: None, body: String::new() };
    };
    let seconds = response.headers().get("retry-after").and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let (status, lock_ms) = (response.status().as_u16(), lock_ms(response.headers().get("server-timing")));
    let body = response.text().await.unwrap_or_default();
    let json: Option<Value> = serde_json::from_str(&body).ok();
    Received { answer: decode(status, lock_ms, json.as_ref()), retry_after, body }
}

fn decode(status: u16, lock_ms: Option<f64>, body: Option<&Value>) -> Answer {
    let text = |name: &str| body.and_then(|body| body[name].as_str());
    Answer {
        status: body.map(|_| status),
        code: text("code").map(str::to_owned),
        order_id: text("id").and_then(|id| id.parse().ok()),
        lock_ms,
    }
}

/// The `lock` of `Server-Timing: lock;dur=1.204, claim;dur=…`, in milliseconds.
fn lock_ms(header: Option<&impl AsRef<[u8]>>) -> Option<f64> {
    let header = std::str::from_utf8(header?.as_ref()).ok()?;
    let lock = header.split(',').find_map(|entry| entry.trim().strip_prefix("lock;dur="))?;
    lock.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Answer {
        Answer { status: Some(status), code: Some(code.to_owned()), ..Answer::silence() }
    }

    #[test]
    fn the_wait_for_the_lock_is_read_from_server_timing() {
        assert_eq!(lock_ms(Some(&"lock;dur=1.204, claim;dur=2.000")), Some(1.204));
        assert_eq!(lock_ms(Some(&"claim;dur=2.000")), None);
        assert_eq!(lock_ms(None::<&&str>), None);
    }

    #[test]
    fn an_answer_whose_body_breaks_off_is_silence() {
        assert_eq!(decode(201, None, None).status, None);
        assert_eq!(decode(409, None, Some(&json!({ "code": "out_of_stock" }))).code.as_deref(), Some("out_of_stock"));
    }

    #[test]
    fn a_definite_refusal_is_not_retried_and_an_unknown_outcome_is() {
        assert!(!is_worth_a_retry(&answer(409, "out_of_stock")));
        assert!(!is_worth_a_retry(&answer(422, "idempotency_key_reused")));
        assert!(is_worth_a_retry(&Answer::silence()));
        for (status, code) in [(503, "lock_timeout"), (409, "idempotency_in_progress"), (500, "internal")] {
            assert!(is_worth_a_retry(&answer(status, code)), "{code}");
        }
    }

    #[test]
    fn two_successes_that_differ_become_one_without_an_order_id() {
        let yes = |id: u128| {
            let id = uuid::Uuid::from_u128(id);
            let answer = Answer { status: Some(201), order_id: Some(id), ..Answer::silence() };
            Received { answer, retry_after: None, body: id.to_string() }
        };
        let busy = Received { answer: answer(409, "idempotency_in_progress"), retry_after: None, body: String::new() };
        assert_eq!(more_informative(yes(1), yes(1)).order_id, yes(1).answer.order_id);
        assert_eq!(more_informative(busy, yes(1)).order_id, yes(1).answer.order_id);
        assert_eq!(more_informative(yes(1), yes(2)).order_id, None);
        let no =
            |body: &str| Received { answer: answer(409, "out_of_stock"), retry_after: None, body: body.to_owned() };
        assert_eq!(more_informative(no("one"), yes(1)).order_id, yes(1).answer.order_id);
        assert_eq!(more_informative(no("one"), no("another")).outcome(), Outcome::SoldOut);
    }
}
