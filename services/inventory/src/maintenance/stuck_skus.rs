//! The SKUs whose holds the sweeper cannot expire at present. They are left out of its batches for a while, longer after
//! each failure, so that the holds of other SKUs do not wait for them.
//! Invariant: bounded, in number and in time. Absence: nothing here reads a clock, or touches a lock or the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use contract::Sku;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Once the cause has gone, the holds expire after at most this time and one sweep.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// As many as this are remembered. Where more are stuck at once, the cause is not the SKU.
const MOST: usize = 10_000;

/// The SKUs, with their pauses.
#[derive(Debug, Clone, Default)]
pub struct StuckSkus(BTreeMap<Sku, Pause>);

#[derive(Debug, Clone)]
struct Pause {
    length: Duration,
    until: Instant,
}

impl StuckSkus {
    /// Begins a pause for a SKU, twice as long as its last one. False if too many are known already.
    pub fn pause(&mut self, sku: &Sku, now: Instant) -> bool {
        let room = self.0.len() < MOST;
        match self.0.get_mut(sku) {
            Some(pause) => {
                pause.length = (pause.length * 2).min(LONGEST_PAUSE);
                pause.until = now + pause.length;
            }
            None if room => drop(self.0.insert(sku.clone(), Pause { length: FIRST_PAUSE, until: now + FIRST_PAUSE })),
            None => return false,
        }
        true
    }

    /// The SKUs whose pause has ended and which have not been tried since.
    pub fn due(&self, now: Instant) -> BTreeSet<Sku> {
        self.0.iter().filter(|(_, pause)| pause.until <= now).map(|(sku, _)| sku.clone()).collect()
    }

    /// Ends the pauses of SKUs, and forgets how long they were.
    pub fn forget<'a>(&mut self, skus: impl IntoIterator<Item = &'a Sku>) {
        for sku in skus {
            self.0.remove(sku);
        }
    }

    /// Whether any SKU is stuck.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The SKUs to leave out.
    pub fn paused(&self, now: Instant) -> Vec<&str> {
        self.0.iter().filter(|(_, pause)| pause.until > now).map(|(sku, _)| sku.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let (mut stuck, now) = (StuckSkus::default(), Instant::now());
        let sku: Sku = "a".parse().expect("a SKU");
        for millis in [500, 1_000, 2_000, 4_000, 8_000, 8_000] {
            assert!(stuck.pause(&sku, now));
            let length = Duration::from_millis(millis);
            assert_eq!(stuck.paused(now + length - Duration::from_millis(1)), ["a"]);
            assert!(stuck.paused(now + length).is_empty() && stuck.due(now + length).contains(&sku));
        }
        stuck.forget([&sku]);
        assert!(stuck.is_empty());
    }

    #[test]
    fn the_number_of_paused_skus_is_bounded() {
        let (mut stuck, now) = (StuckSkus::default(), Instant::now());
        let sku = |n: usize| -> Sku { format!("s{n}").parse().expect("a SKU") };
        assert!((0..MOST).all(|n| stuck.pause(&sku(n), now)));
        assert!(!stuck.pause(&sku(MOST), now) && stuck.pause(&sku(0), now));
    }
}
