//! How many attempts ended how, so far.

use super::outcome::Outcome;

/// How many attempts ended how, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All attempts that ended, with or without an answer.
    pub ended: u64,
    /// [`Outcome::Accepted`].
    pub accepted: u64,
    /// [`Outcome::SoldOut`].
    pub sold_out: u64,
    /// [`Outcome::LockTimeout`].
    pub lock_timeouts: u64,
    /// [`Outcome::QuorumUnavailable`] and [`Outcome::Unavailable`].
    pub unavailable: u64,
    /// [`Outcome::Overloaded`].
    pub overloaded: u64,
    /// [`Outcome::Unexplained`].
    pub unexplained: u64,
    /// [`Outcome::Silence`].
    pub silence: u64,
    /// Answers, and silences, after which the customer retried under the same key; none of them is counted above.
    pub tried_again: u64,
    /// Of the retries, those after a 503.
    pub tried_again_unavailable: u64,
    /// Of the retries, those after a 429.
    pub tried_again_overloaded: u64,
    /// Of the retries, those after silence.
    pub tried_again_silence: u64,
    /// Orders that were sent twice at the same time, with both copies answered.
    pub duplicates: u64,
}

impl Tally {
    /// Requests that were answered.
    pub fn answers(&self) -> u64 {
        self.ended + self.tried_again - self.silences()
    }

    /// Requests that were not answered.
    pub fn silences(&self) -> u64 {
        self.silence + self.tried_again_silence
    }

    /// Adds the counts of another tally.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.ended, other.ended),
            (&mut self.accepted, other.accepted),
            (&mut self.sold_out, other.sold_out),
            (&mut self.lock_timeouts, other.lock_timeouts),
            (&mut self.unavailable, other.unavailable),
            (&mut self.overloaded, other.overloaded),
            (&mut self.unexplained, other.unexplained),
            (&mut self.silence, other.silence),
            (&mut self.tried_again, other.tried_again),
            (&mut self.tried_again_unavailable, other.tried_again_unavailable),
            (&mut self.tried_again_overloaded, other.tried_again_overloaded),
            (&mut self.tried_again_silence, other.tried_again_silence),
            (&mut self.duplicates, other.duplicates),
        ];
        for (sum, count) in pairs {
            *sum += count;
        }
    }

    /// Counts an answer after which the customer retries.
    pub(super) fn count_retry(&mut self, outcome: Outcome) {
        self.tried_again += 1;
        match outcome {
            Outcome::LockTimeout | Outcome::QuorumUnavailable | Outcome::Unavailable => {
                self.tried_again_unavailable += 1;
            }
            Outcome::Overloaded => self.tried_again_overloaded += 1,
            Outcome::Silence => self.tried_again_silence += 1,
            Outcome::Accepted | Outcome::SoldOut | Outcome::Unexplained => {}
        }
    }

    /// Counts the last answer of an attempt.
    pub(super) fn count_ended(&mut self, outcome: Outcome) {
        self.ended += 1;
        *match outcome {
            Outcome::Accepted => &mut self.accepted,
            Outcome::SoldOut => &mut self.sold_out,
            Outcome::LockTimeout => &mut self.lock_timeouts,
            Outcome::QuorumUnavailable | Outcome::Unavailable => &mut self.unavailable,
            Outcome::Overloaded => &mut self.overloaded,
            Outcome::Unexplained => &mut self.unexplained,
            Outcome::Silence => &mut self.silence,
        } += 1;
    }
}
