//! Estimates how long it takes to serve those who were told to come again, so that `Retry-After` asks them to wait about
//! that long. With a constant, the refusals of a rush grow with the number of customers, and what they cost is missing for
//! the orders that are served.
//!
//! Invariant: from one second to [`LONGEST`]; one second again once nothing was refused for a second.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What the last second shows is known for so long.
const WINDOW: Duration = Duration::from_secs(1);
/// The longest wait that is asked for, in seconds: units may be back by then, or a replica.
const LONGEST: u32 = 5;

/// Counts who is served and who is refused.
#[derive(Debug, Default)]
pub(crate) struct Backlog(Mutex<Option<Window>>);

#[derive(Debug)]
struct Window {
    began: Instant,
    served: u32,
    refused: u32,
    /// What those who are refused are asked to wait, in seconds.
    wait: u32,
}

impl Backlog {
    /// Somebody was served.
    pub(crate) fn served(&self, now: Instant) {
        Window::at(&mut self.lock(), now).served += 1;
    }

    /// Somebody is refused: how many seconds to ask for.
    pub(crate) fn refused(&self, now: Instant) -> u32 {
        let mut window = self.lock();
        let window = Window::at(&mut window, now);
        window.refused += 1;
        window.wait
    }

    fn lock(&self) -> MutexGuard<'_, Option<Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// The window at `now`, a new one if the last has ended.
    fn at(current: &mut Option<Self>, now: Instant) -> &mut Self {
        let next = match current {
            Some(window) if now.saturating_duration_since(window.began) < WINDOW => None,
            Some(window) if now.saturating_duration_since(window.began) < 2 * WINDOW => Some(window.next_wait()),
            _ => Some(1),
        };
        if let Some(wait) = next {
            *current = None;
            return current.insert(Self { began: now, served: 0, refused: 0, wait });
        }
        current.get_or_insert(Self { began: now, served: 0, refused: 0, wait: 1 })
    }

    /// Each of those who wait comes once in `wait` seconds, so `refused × wait` of them wait for what serves `served` in a
    /// second.
    fn next_wait(&self) -> u32 {
        self.refused.saturating_mul(self.wait).div_ceil(self.served.max(1)).clamp(1, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One second in which so many were served and refused; what the next one who is refused is asked to wait.
    fn second(backlog: &Backlog, at: &mut Instant, served: u32, refused: u32) -> u32 {
        (0..served).for_each(|_| backlog.served(*at));
        (0..refused).for_each(|_| {
            backlog.refused(*at);
        });
        *at += WINDOW;
        backlog.refused(*at)
    }

    #[test]
    fn the_wait_is_as_long_as_the_backlog_lasts_and_a_second_without_one() {
        let (backlog, mut at) = (Backlog::default(), Instant::now());
        assert_eq!(backlog.refused(at), 1, "nothing is known yet");
        assert_eq!(second(&backlog, &mut at, 1_000, 10), 1);
        // 3,000 customers come again every second, and 1,000 are served: three seconds' work.
        assert_eq!(second(&backlog, &mut at, 1_000, 2_999), 3);
        // The same 3,000 customers come every three seconds now.
        assert_eq!(second(&backlog, &mut at, 1_000, 999), 3, "the same backlog, the same wait");
        assert_eq!(second(&backlog, &mut at, 1, 5_000), LONGEST);
        assert_eq!(second(&backlog, &mut at, 0, 5_000), LONGEST, "nobody was served");
        assert_eq!(second(&backlog, &mut at, 1_000, 0), 1);
        assert_eq!(second(&backlog, &mut at, 100, 400), 5);
        at += 2 * WINDOW;
        assert_eq!(backlog.refused(at), 1, "nobody came for a while");
    }
}
