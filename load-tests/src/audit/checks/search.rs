//! The general checker: does a sequence of these operations on one SKU exist that explains every answer?
//!
//! The linearizability search of Wing and Gong with Lowe's cache of visited states: place any operation that no unplaced
//! one has to precede, and backtrack where nothing fits. Two shortcuts lose no sequence: a "too few" that is true at present
//! is placed at once, since it changes nothing; and of several operations with the same effect the one with the earliest
//! deadline is placed first, since they are interchangeable.
//!
//! Invariant: it returns yes or no only if that is proven. Exceeding the limit of time or states is neither.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// One operation on the units of a SKU.
#[derive(Debug, Clone, Copy)]
pub(super) struct Op {
    /// It took effect after this time.
    pub(super) from: Duration,
    /// It took effect before this time; absent: at any later time, or never.
    pub(super) until: Option<Duration>,
    pub(super) effect: Effect,
}

/// What an operation does, and what has to hold when it takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// At least so many units were available, and were taken.
    Take(i64),
    /// Fewer than so many units were available.
    Lack(i64),
    /// So many units were added.
    Give(i64),
}

impl Effect {
    fn on(self, units: i64) -> Option<i64> {
        match self {
            Self::Take(wanted) => (units >= wanted).then(|| units - wanted),
            Self::Lack(wanted) => (units < wanted).then_some(units),
            Self::Give(more) => Some(units + more),
        }
    }
}

/// When the search gives up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) time: Duration,
    /// How many states are cached.
    pub(super) states: usize,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// Such a sequence exists.
    Explained,
    /// No such sequence exists.
    Unexplained,
    /// The limit was exceeded: neither is proven.
    GaveUp,
}

/// Searches for a sequence that starts with so many units.
pub(super) fn explains(units: i64, mut ops: Vec<Op>, limit: Limit) -> Search {
    ops.sort_by_key(|op| op.from);
    let open = ops.iter().filter(|op| op.until.is_some()).count();
    let placed = vec![0_u64; ops.len().div_ceil(64)];
    State { ops, placed, units, open, first: 0 }.search(limit)
}

/// The operations placed so far. The units follow from them, so the cache holds only the set of placed operations.
struct State {
    /// Sorted by `from`.
    ops: Vec<Op>,
    placed: Vec<u64>,
    units: i64,
    /// How many operations still have to be placed.
    open: usize,
    /// All operations before this index are placed.
    first: usize,
}

/// One step of the search: what it placed, and which operations are untried after it.
struct SearchStep {
    placed: Vec<usize>,
    untried: Vec<usize>,
}

impl State {
    fn search(mut self, limit: Limit) -> Search {
        let began = Instant::now();
        let mut seen: HashSet<Vec<u64>> = HashSet::new();
        let mut path = vec![self.step(Vec::new())];
        while let Some(step) = path.last_mut() {
            if self.open == 0 {
                return Search::Explained;
            }
            let Some(next) = step.untried.pop() else {
                let placed = std::mem::take(&mut step.placed);
                placed.into_iter().rev().for_each(|op| self.take_back(op));
                path.pop();
                continue;
            };
            if began.elapsed() >= limit.time || seen.len() >= limit.states {
                return Search::GaveUp;
            }
            self.place(next);
            let step = self.step(vec![next]);
            if seen.insert(self.placed.clone()) {
                path.push(step);
            } else {
                step.placed.into_iter().rev().for_each(|op| self.take_back(op));
            }
        }
        Search::Unexplained
    }

    /// Places every "too few" that is true at present, and returns what can be tried next, the earliest deadline last.
    fn step(&mut self, mut placed: Vec<usize>) -> SearchStep {
        loop {
            let possible = self.possible();
            let lacks = |op: &&usize| matches!(self.ops[**op].effect, Effect::Lack(_));
            let Some(&holds_now) = possible.iter().find(lacks) else {
                return SearchStep { placed, untried: possible };
            };
            self.place(holds_now);
            placed.push(holds_now);
        }
    }

    /// Unplaced operations that may come next and fit, one per effect.
    fn possible(&self) -> Vec<usize> {
        let (mut found, mut before): (Vec<usize>, Option<Duration>) = (Vec::new(), None);
        for (at, op) in self.ops.iter().enumerate().skip(self.first).filter(|(at, _)| !self.is_placed(*at)) {
            if before.is_some_and(|before| op.from > before) {
                break;
            }
            before = earlier(before, op.until);
            let same = found.iter_mut().find(|other| self.ops[**other].effect == op.effect);
            match same {
                Some(other) if is_sooner(op.until, self.ops[*other].until) => *other = at,
                Some(_) => {}
                None => found.push(at),
            }
        }
        found.retain(|at| self.ops[*at].effect.on(self.units).is_some());
        found.sort_by(|one, two| match (self.ops[*one].until, self.ops[*two].until) {
            (Some(one), Some(two)) => two.cmp(&one),
            (one, two) => one.is_some().cmp(&two.is_some()),
        });
        found
    }

    fn place(&mut self, at: usize) {
        let op = self.ops[at];
        self.units = op.effect.on(self.units).unwrap_or(self.units);
        self.placed[at / 64] |= 1 << (at % 64);
        self.open -= usize::from(op.until.is_some());
        while self.first < self.ops.len() && self.is_placed(self.first) {
            self.first += 1;
        }
    }

    fn take_back(&mut self, at: usize) {
        let op = self.ops[at];
        match op.effect {
            Effect::Take(units) => self.units += units,
            Effect::Lack(_) => {}
            Effect::Give(units) => self.units -= units,
        }
        self.placed[at / 64] &= !(1 << (at % 64));
        self.open += usize::from(op.until.is_some());
        self.first = self.first.min(at);
    }

    fn is_placed(&self, at: usize) -> bool {
        self.placed[at / 64] & (1 << (at % 64)) != 0
    }
}

/// Absent means never.
fn earlier(one: Option<Duration>, two: Option<Duration>) -> Option<Duration> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    }
}

fn is_sooner(one: Option<Duration>, two: Option<Duration>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => one < two,
        (one, _) => one.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    const AMPLE: Limit = Limit { time: Duration::from_mins(10), states: 1_000_000 };

    fn op(from: u64, until: Option<u64>, effect: Effect) -> Op {
        Op { from: Duration::from_micros(from), until: until.map(Duration::from_micros), effect }
    }

    /// Tries every sequence; the search must agree with it.
    fn by_trying_all(units: i64, ops: &[Op]) -> bool {
        let Some(before) = ops.iter().filter_map(|op| op.until).min() else { return true };
        ops.iter().enumerate().filter(|(_, op)| op.from <= before).any(|(at, op)| {
            let mut rest = ops.to_vec();
            rest.remove(at);
            op.effect.on(units).is_some_and(|units| by_trying_all(units, &rest))
        })
    }

    fn random(random: &mut StdRng) -> (i64, Vec<Op>) {
        let ops = (0..random.random_range(1..=6)).map(|_| {
            let (from, lasts) = (random.random_range(0..8), random.random_range(0..5));
            let units = random.random_range(1..=3);
            match random.random_range(0..10) {
                0..4 => op(from, Some(from + lasts), Effect::Take(units)),
                4..6 => op(from, None, Effect::Take(units)),
                6..9 => op(from, Some(from + lasts), Effect::Lack(units)),
                _ => op(from, None, Effect::Give(units)),
            }
        });
        let ops = ops.collect();
        (random.random_range(0..=4), ops)
    }

    #[test]
    fn the_search_finds_a_sequence_if_and_only_if_one_exists() {
        let mut seeded = StdRng::seed_from_u64(9);
        let mut counted = (0, 0);
        for case in 0..20_000 {
            let (units, ops) = random(&mut seeded);
            let exists = by_trying_all(units, &ops);
            *(if exists { &mut counted.0 } else { &mut counted.1 }) += 1;
            let found = explains(units, ops.clone(), AMPLE);
            let correct = if exists { Search::Explained } else { Search::Unexplained };
            assert_eq!(found, correct, "case {case}: {units} units, {ops:?}");
        }
        assert!(counted.0 > 2_000 && counted.1 > 2_000, "both are common: {counted:?}");
    }

    #[test]
    fn units_returned_in_between_explain_a_sale_after_sold_out() {
        let sale = |from| op(from, Some(from + 1), Effect::Take(1));
        let sold_out = op(20, Some(21), Effect::Lack(1));
        let without = vec![sale(10), sold_out, sale(30)];
        assert_eq!(explains(1, without.clone(), AMPLE), Search::Unexplained);
        let with = [without, vec![op(10, None, Effect::Give(1))]].concat();
        assert_eq!(explains(1, with, AMPLE), Search::Explained);
    }

    #[test]
    fn a_large_order_may_be_refused_where_a_small_one_is_accepted() {
        let ops =
            vec![op(1, Some(2), Effect::Lack(3)), op(3, Some(4), Effect::Take(2)), op(5, Some(6), Effect::Lack(1))];
        assert_eq!(explains(2, ops.clone(), AMPLE), Search::Explained);
        assert_eq!(explains(3, ops, AMPLE), Search::Unexplained);
    }

    #[test]
    fn exceeding_the_limit_proves_nothing() {
        let ops = vec![op(1, Some(2), Effect::Take(1)), op(3, Some(4), Effect::Lack(1))];
        assert_eq!(explains(1, ops.clone(), Limit { time: Duration::ZERO, ..AMPLE }), Search::GaveUp);
        assert_eq!(explains(1, ops, Limit { states: 0, ..AMPLE }), Search::GaveUp);
    }

    #[test]
    fn thousands_of_overlapping_orders_stay_within_the_limit() {
        let sales = (0..3_000).map(|n| op(n, Some(n + 40), Effect::Take(1)));
        let refusals = (0..3_000).map(|n| op(3_000 + n, Some(3_040 + n), Effect::Lack(1)));
        let back = (0..10).map(|n| op(n, None, Effect::Give(1)));
        let ops: Vec<_> = sales.chain(refusals).chain(back).collect();
        assert_eq!(explains(3_000, ops.clone(), AMPLE), Search::Explained);
        assert_eq!(explains(2_990, ops, AMPLE), Search::Explained, "ten units were returned");
    }
}
