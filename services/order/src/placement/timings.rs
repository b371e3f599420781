//! Where the time of one order went, summed over its passes through the
//! critical section: the `Server-Timing` header. Measures; decides nothing.

use std::{
    fmt::Write,
    future::Future,
    time::{Duration, Instant},
};

/// The steps of the critical section that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Until the lock was had, or not.
    Lock,
    /// Registering the token and reading.
    Claim,
    /// The decision, payment included.
    Decide,
    /// The write at inventory.
    Reserve,
}

const NAMES: [&str; 4] = ["lock", "claim", "decide", "reserve"];

/// Time spent in each step so far.
#[derive(Debug, Clone, Default)]
pub struct Timings([Duration; 4]);

impl Timings {
    /// Adds what this takes to the step.
    pub async fn measure<T>(&mut self, step: Step, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        self.0[step as usize] += began.elapsed();
        done
    }

    /// Adds what was measured elsewhere, for all who share it.
    pub fn add(&mut self, step: Step, spent: Duration) {
        self.0[step as usize] += spent;
    }

    /// Time spent in a step so far.
    pub fn of(&self, step: Step) -> Duration {
        self.0[step as usize]
    }

    /// `lock;dur=1.204, claim;dur=…`, in milliseconds.
    pub fn header(&self) -> String {
        let mut header = String::with_capacity(80);
        for (name, spent) in NAMES.iter().zip(self.0) {
            let separator = if header.is_empty() { "" } else { ", " };
            let ms = spent.as_secs_f64() * 1000.0;
            write!(header, "{separator}{name};dur={ms:.3}").expect("a String takes everything");
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_every_step_once_in_milliseconds() {
        let timings = Timings([Duration::from_micros(1500), Duration::ZERO, Duration::ZERO, Duration::from_secs(1)]);
        assert_eq!(timings.header(), "lock;dur=1.500, claim;dur=0.000, decide;dur=0.000, reserve;dur=1000.000");
    }
}
