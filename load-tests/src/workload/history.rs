//! What was asked and what was answered, in order, on one monotonic clock; kept in memory for the audit and written
//! as JSON lines for anybody who doubts it, who can [`read`] them back.
//!
//! Invariant: an invocation is recorded before the request is sent, an answer after it was read.
//! Absence: no judgement.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::workload::outcome::Outcome;

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invocation {
    /// The `Idempotency-Key`, unique per attempt.
    pub key: String,
    /// Which SKU.
    pub sku: String,
    /// How many units.
    pub quantity: i64,
    /// Which replica was asked.
    pub to: String,
}

/// What came back; a `status` of `None` is silence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: Option<u16>,
    /// The problem's code.
    pub code: Option<String>,
    /// The order's id, of a 201.
    pub order_id: Option<Uuid>,
    /// From `Server-Timing`: how long the order waited for its lock.
    pub lock_ms: Option<f64>,
}

impl Answer {
    /// What it means.
    pub fn outcome(&self) -> Outcome {
        match self.status {
            Some(status) => Outcome::of(status, self.code.as_deref()),
            None => Outcome::Silence,
        }
    }
}

/// One attempt.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What was asked for.
    pub invocation: Invocation,
    /// When, since the row began.
    pub invoked: Duration,
    /// When the answer was there, and which; absent while it is waited for.
    pub answered: Option<(Duration, Answer)>,
}

/// How many attempts ended how, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All that were answered or given up.
    pub ended: u64,
    /// [`Outcome::Accepted`].
    pub accepted: u64,
    /// [`Outcome::SoldOut`].
    pub sold_out: u64,
    /// [`Outcome::LockTimeout`].
    pub lock_timeouts: u64,
    /// [`Outcome::QuorumUnavailable`] and [`Outcome::Unavailable`].
    pub unavailable: u64,
    /// [`Outcome::Unexplained`].
    pub unexplained: u64,
    /// [`Outcome::Silence`].
    pub silence: u64,
    /// Answers after which the customer tried again under the same key; none of them is counted above.
    pub tried_again: u64,
    /// Of these, 503 and 429.
    pub tried_again_unavailable: u64,
    /// Of these, silence.
    pub tried_again_silence: u64,
    /// Orders that were sent twice at the same moment, and answered twice.
    pub duplicates: u64,
}

impl Tally {
    /// How often a customer heard something.
    pub fn answers(&self) -> u64 {
        self.ended + self.tried_again - self.silences()
    }

    /// How often a customer heard nothing.
    pub fn silences(&self) -> u64 {
        self.silence + self.tried_again_silence
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.ended, other.ended),
            (&mut self.accepted, other.accepted),
            (&mut self.sold_out, other.sold_out),
            (&mut self.lock_timeouts, other.lock_timeouts),
            (&mut self.unavailable, other.unavailable),
            (&mut self.unexplained, other.unexplained),
            (&mut self.silence, other.silence),
            (&mut self.tried_again, other.tried_again),
            (&mut self.tried_again_unavailable, other.tried_again_unavailable),
            (&mut self.tried_again_silence, other.tried_again_silence),
            (&mut self.duplicates, other.duplicates),
        ];
        for (sum, count) in pairs {
            *sum += count;
        }
    }

    fn count_again(&mut self, outcome: Outcome) {
        self.tried_again += 1;
        match outcome {
            Outcome::LockTimeout | Outcome::QuorumUnavailable | Outcome::Unavailable => {
                self.tried_again_unavailable += 1;
            }
            Outcome::Silence => self.tried_again_silence += 1,
            Outcome::Accepted | Outcome::SoldOut | Outcome::Unexplained => {}
        }
    }

    fn count(&mut self, outcome: Outcome) {
        self.ended += 1;
        *match outcome {
            Outcome::Accepted => &mut self.accepted,
            Outcome::SoldOut => &mut self.sold_out,
            Outcome::LockTimeout => &mut self.lock_timeouts,
            Outcome::QuorumUnavailable | Outcome::Unavailable => &mut self.unavailable,
            Outcome::Unexplained => &mut self.unexplained,
            Outcome::Silence => &mut self.silence,
        } += 1;
    }
}

/// The history of one row, while it is being made.
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
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Invoked {
        op: usize,
        at_us: u64,
        #[serde(flatten)]
        what: Cow<'a, Invocation>,
    },
    /// Not the last word: the customer tried again.
    Again {
        op: usize,
        at_us: u64,
        outcome: Outcome,
        #[serde(flatten)]
        what: Cow<'a, Answer>,
    },
    Answered {
        op: usize,
        at_us: u64,
        outcome: Outcome,
        #[serde(flatten)]
        what: Cow<'a, Answer>,
    },
}

fn micros(since: Duration) -> u64 {
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Reads back what a [`History`] wrote. A last line that breaks off is an error, not silence.
///
/// # Errors
/// The file cannot be read, or a line is not what this program writes; the error tells which.
pub fn read(path: &Path) -> io::Result<Vec<Operation>> {
    let mut operations: Vec<Operation> = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(File::open(path)?).lines()) {
        let wrong = |what: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {number} is not of a history: {what}"))
        };
        match serde_json::from_str(&line?).map_err(|error| wrong(&error))? {
            Line::Invoked { op, at_us, what } if op == operations.len() => operations.push(Operation {
                invocation: what.into_owned(),
                invoked: Duration::from_micros(at_us),
                answered: None,
            }),
            Line::Invoked { op, .. } => return Err(wrong(&format!("request {op} is not the next"))),
            Line::Again { op, .. } if op < operations.len() => {}
            Line::Again { op, .. } => return Err(wrong(&format!("request {op} was never made"))),
            Line::Answered { op, at_us, what, .. } => match operations.get_mut(op) {
                Some(operation) if operation.answered.is_none() => {
                    operation.answered = Some((Duration::from_micros(at_us), what.into_owned()));
                }
                Some(_) => return Err(wrong(&format!("request {op} was answered before"))),
                None => return Err(wrong(&format!("request {op} was never made"))),
            },
        }
    }
    Ok(operations)
}

impl History {
    /// Begins now; `path` is overwritten.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let inner = Inner { operations: Vec::new(), file: BufWriter::new(File::create(path)?), failed: None };
        let (tally, invocations) = (watch::channel(Tally::default()).0, watch::channel(0).0);
        Ok(Self { began: Instant::now(), inner: Mutex::new(inner), tally, invocations })
    }

    /// Since the row began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Changes with every answer.
    pub fn tally(&self) -> watch::Receiver<Tally> {
        self.tally.subscribe()
    }

    /// Records a request that is about to be sent; the number names it when its answer comes.
    pub fn invoked(&self, invocation: Invocation) -> usize {
        self.invoked_at(self.now(), invocation)
    }

    /// As [`invoked`](Self::invoked), for an order that was meant to be sent a moment ago: its customer has waited since.
    pub fn invoked_at(&self, invoked: Duration, invocation: Invocation) -> usize {
        let mut inner = self.lock();
        let op = inner.operations.len();
        inner.write(&Line::Invoked { op, at_us: micros(invoked), what: Cow::Borrowed(&invocation) });
        inner.operations.push(Operation { invocation, invoked, answered: None });
        drop(inner);
        self.invocations.send_modify(|count| *count += 1);
        op
    }

    /// Records an answer to request `op` that is not the last word: the customer tries again.
    pub fn tried_again(&self, op: usize, answer: &Answer) {
        let (at, outcome) = (self.now(), answer.outcome());
        self.lock().write(&Line::Again { op, at_us: micros(at), outcome, what: Cow::Borrowed(answer) });
        self.tally.send_modify(|tally| tally.count_again(outcome));
    }

    /// An order was sent twice, and both copies were answered.
    pub fn answered_twice(&self) {
        self.tally.send_modify(|tally| tally.duplicates += 1);
    }

    /// Changes with every request.
    pub fn invocations(&self) -> watch::Receiver<u64> {
        self.invocations.subscribe()
    }

    /// Orders whose customers wait.
    pub fn in_flight(&self) -> usize {
        self.lock().operations.iter().filter(|operation| operation.answered.is_none()).count()
    }

    /// Their keys.
    pub fn keys_in_flight(&self) -> Vec<String> {
        let inner = self.lock();
        let waiting = inner.operations.iter().filter(|operation| operation.answered.is_none());
        waiting.map(|operation| operation.invocation.key.clone()).collect()
    }

    /// Records the answer to request `op`.
    pub fn answered(&self, op: usize, answer: Answer) {
        let (at, outcome) = (self.now(), answer.outcome());
        let mut inner = self.lock();
        inner.write(&Line::Answered { op, at_us: micros(at), outcome, what: Cow::Borrowed(&answer) });
        if let Some(operation) = inner.operations.get_mut(op) {
            operation.answered = Some((at, answer));
        }
        drop(inner);
        self.tally.send_modify(|tally| tally.count(outcome));
    }

    /// Everything that was recorded; the file is complete when this returns.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn finish(&self) -> io::Result<Vec<Operation>> {
        let mut inner = self.lock();
        if let Some(error) = inner.failed.take() {
            return Err(error);
        }
        inner.file.flush()?;
        Ok(inner.operations.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, line: &Line<'_>) {
        let written = serde_json::to_writer(&mut self.file, line).map_err(io::Error::from);
        if let Err(error) = written.and_then(|()| self.file.write_all(b"\n")) {
            self.failed.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests;
