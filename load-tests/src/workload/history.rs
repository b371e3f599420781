//! Every request and every answer of a row, in order, on one monotonic clock: in memory for the audit, and as a file that
//! [`read`](super::history_file::read) reads back.
//!
//! Invariant: a request is recorded before it is sent, an answer after it was read.
//! Absence: nothing is judged here.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::history_file::HistoryWriter;
use super::operation::{Answer, Invocation, Operation};
use super::tally::Tally;

/// The history of one row, while it runs.
#[derive(Debug)]
pub struct History {
    began: Instant,
    inner: Mutex<Inner>,
    tally: watch::Sender<Tally>,
    invocations: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    operations: Vec<Operation>,
    file: HistoryWriter,
}

impl History {
    /// Begins now; the file at `path` is overwritten.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let inner = Inner { operations: Vec::new(), file: HistoryWriter::create(path)? };
        let (tally, invocations) = (watch::channel(Tally::default()).0, watch::channel(0).0);
        Ok(Self { began: Instant::now(), inner: Mutex::new(inner), tally, invocations })
    }

    /// The time since the row began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The counts so far; changes with every answer.
    pub fn tally(&self) -> watch::Receiver<Tally> {
        self.tally.subscribe()
    }

    /// The number of requests so far; changes with every request.
    pub fn invocations(&self) -> watch::Receiver<u64> {
        self.invocations.subscribe()
    }

    /// Records a request that is about to be sent. Returns its number, under which its answer is recorded.
    pub fn invoked(&self, invocation: Invocation) -> usize {
        self.invoked_at(self.now(), invocation)
    }

    /// As [`invoked`](Self::invoked), for a request that was due at `invoked`: its customer has waited since.
    pub fn invoked_at(&self, invoked: Duration, invocation: Invocation) -> usize {
        let mut inner = self.lock();
        let op = inner.operations.len();
        inner.file.invoked(op, invoked, &invocation);
        inner.operations.push(Operation { invocation, invoked, answered: None });
        drop(inner);
        self.invocations.send_modify(|count| *count += 1);
        op
    }

    /// Records an answer to request `op` after which the customer retries.
    pub fn tried_again(&self, op: usize, answer: &Answer) {
        let at = self.now();
        self.lock().file.tried_again(op, at, answer);
        self.tally.send_modify(|tally| tally.count_retry(answer.outcome()));
    }

    /// Counts an order that was sent twice and answered twice.
    pub fn answered_twice(&self) {
        self.tally.send_modify(|tally| tally.duplicates += 1);
    }

    /// Records the last answer to request `op`.
    pub fn answered(&self, op: usize, answer: Answer) {
        let (at, outcome) = (self.now(), answer.outcome());
        let mut inner = self.lock();
        inner.file.answered(op, at, &answer);
        if let Some(operation) = inner.operations.get_mut(op) {
            operation.answered = Some((at, answer));
        }
        drop(inner);
        self.tally.send_modify(|tally| tally.count_ended(outcome));
    }

    /// The number of orders whose customers wait.
    pub fn in_flight(&self) -> usize {
        self.lock().operations.iter().filter(|operation| operation.answered.is_none()).count()
    }

    /// The idempotency keys of the orders whose customers wait.
    pub fn keys_in_flight(&self) -> Vec<String> {
        let inner = self.lock();
        let waiting = inner.operations.iter().filter(|operation| operation.answered.is_none());
        waiting.map(|operation| operation.invocation.key.clone()).collect()
    }

    /// Everything that was recorded; the file is complete when this returns.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn finish(&self) -> io::Result<Vec<Operation>> {
        let mut inner = self.lock();
        inner.file.finish()?;
        Ok(inner.operations.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::workload::history_file::read;

    fn invocation(key: &str) -> Invocation {
        Invocation { key: key.into(), sku: "a".into(), quantity: 1, to: "http://x".into() }
    }

    #[test]
    fn every_request_and_every_answer_is_a_line_and_so_is_silence() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.jsonl");
        let history = History::begin(&path).expect("a file");
        let (first, second) = (history.invoked(invocation("k1")), history.invoked(invocation("k2")));
        history.answered(second, Answer::silence());
        history.answered(
            first,
            Answer { status: Some(201), order_id: Some(Uuid::nil()), lock_ms: Some(0.5), ..Answer::silence() },
        );

        let operations = history.finish().expect("written");
        assert!(operations[0].invoked <= operations[1].invoked);
        assert_eq!(*history.tally().borrow(), Tally { ended: 2, accepted: 1, silence: 1, ..Tally::default() });
        let text = std::fs::read_to_string(path).expect("the file");
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        let events: Vec<_> = lines.iter().map(|line| (line["event"].as_str(), line["op"].as_u64())).collect();
        assert_eq!(
            events,
            [
                (Some("invoked"), Some(0)),
                (Some("invoked"), Some(1)),
                (Some("answered"), Some(1)),
                (Some("answered"), Some(0))
            ]
        );
        assert_eq!(lines[2]["outcome"], "silence");
    }

    #[test]
    fn a_history_is_read_back_to_the_microsecond() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.jsonl");
        let history = History::begin(&path).expect("a file");
        let (first, _never) = (history.invoked(invocation("k1")), history.invoked(invocation("k2")));
        let code = Some("out_of_stock".to_owned());
        history.answered(first, Answer { status: Some(409), code, order_id: None, lock_ms: Some(0.25) });
        let kept = history.finish().expect("written");
        let read = read(&path).expect("a history");
        let comparable = |operations: &[Operation]| -> Vec<_> {
            let micros = |at: Duration| at.as_micros();
            let one = |operation: &Operation| {
                let answer = operation.answered.as_ref();
                let answer = answer.map(|(at, answer)| (micros(*at), answer.outcome(), answer.lock_ms));
                (operation.invocation.key.clone(), micros(operation.invoked), answer)
            };
            operations.iter().map(one).collect()
        };
        assert_eq!(comparable(&read), comparable(&kept));
    }

    #[test]
    fn a_file_that_is_no_history_is_refused_with_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.jsonl");
        let invoked = r#"{"event":"invoked","op":0,"at_us":1,"key":"k","sku":"a","quantity":1,"to":"x"}"#;
        let answered = r#"{"event":"answered","op":0,"at_us":2,"outcome":"silence","status":null,"code":null,"order_id":null,"lock_ms":null}"#;
        let invalid = [
            ("{}".to_owned(), "line 1"),
            (format!("{invoked}\n{invoked}"), "line 2 is no line of a history: request 0 is not the next"),
            (
                format!("{invoked}\n{answered}\n{answered}"),
                "line 3 is no line of a history: request 0 was answered before",
            ),
            (answered.to_owned(), "line 1 is no line of a history: request 0 was never sent"),
            (format!("{invoked}\n{}", &answered[..40]), "line 2"),
        ];
        for (text, expected) in invalid {
            std::fs::write(&path, &text).expect("a file");
            let error = read(&path).expect_err("no history").to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
