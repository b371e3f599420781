//! The file of a history: one JSON line for each request and each answer, in the order in which they happened.
//!
//! Invariant: what was written is read back; a file that breaks off or was tampered with is an error.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::operation::{Answer, Invocation, Operation};
use super::outcome::Outcome;

/// One line. `op` counts the requests of the file from 0, `at_us` is in microseconds since the row began.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Invoked {
        op: usize,
        at_us: u64,
        #[serde(flatten)]
        invocation: Cow<'a, Invocation>,
    },
    /// An answer after which the customer retried.
    Again {
        op: usize,
        at_us: u64,
        outcome: Outcome,
        #[serde(flatten)]
        answer: Cow<'a, Answer>,
    },
    /// The last answer.
    Answered {
        op: usize,
        at_us: u64,
        outcome: Outcome,
        #[serde(flatten)]
        answer: Cow<'a, Answer>,
    },
}

/// Writes the file of a history. The first error is kept and returned by [`finish`](Self::finish).
#[derive(Debug)]
pub(super) struct HistoryWriter {
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

impl HistoryWriter {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(File::create(path)?), failed: None })
    }

    pub(super) fn invoked(&mut self, op: usize, at: Duration, invocation: &Invocation) {
        self.write(&Line::Invoked { op, at_us: micros(at), invocation: Cow::Borrowed(invocation) });
    }

    pub(super) fn tried_again(&mut self, op: usize, at: Duration, answer: &Answer) {
        let outcome = answer.outcome();
        self.write(&Line::Again { op, at_us: micros(at), outcome, answer: Cow::Borrowed(answer) });
    }

    pub(super) fn answered(&mut self, op: usize, at: Duration, answer: &Answer) {
        let outcome = answer.outcome();
        self.write(&Line::Answered { op, at_us: micros(at), outcome, answer: Cow::Borrowed(answer) });
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }

    fn write(&mut self, line: &Line<'_>) {
        let written = serde_json::to_writer(&mut self.file, line).map_err(io::Error::from);
        if let Err(error) = written.and_then(|()| self.file.write_all(b"\n")) {
            self.failed.get_or_insert(error);
        }
    }
}

fn micros(since: Duration) -> u64 {
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Reads a file that a history wrote.
///
/// # Errors
/// The file cannot be read, or a line is not one that this program writes; the error names the line. A last line that
/// breaks off is such an error.
pub fn read(path: &Path) -> io::Result<Vec<Operation>> {
    let mut operations: Vec<Operation> = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(File::open(path)?).lines()) {
        let invalid = |reason: &dyn fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {number} is no line of a history: {reason}"))
        };
        match serde_json::from_str(&line?).map_err(|error| invalid(&error))? {
            Line::Invoked { op, at_us, invocation } if op == operations.len() => operations.push(Operation {
                invocation: invocation.into_owned(),
                invoked: Duration::from_micros(at_us),
                answered: None,
            }),
            Line::Invoked { op, .. } => return Err(invalid(&format!("request {op} is not the next"))),
            Line::Again { op, .. } if op < operations.len() => {}
            Line::Again { op, .. } => return Err(invalid(&format!("request {op} was never sent"))),
            Line::Answered { op, at_us, answer, .. } => match operations.get_mut(op) {
                Some(operation) if operation.answered.is_none() => {
                    operation.answered = Some((Duration::from_micros(at_us), answer.into_owned()));
                }
                Some(_) => return Err(invalid(&format!("request {op} was answered before"))),
                None => return Err(invalid(&format!("request {op} was never sent"))),
            },
        }
    }
    Ok(operations)
}
