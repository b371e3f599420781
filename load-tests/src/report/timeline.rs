//! A row over time, for charts: units sold and oversold, answers, refused tokens, and the distribution of latency.
//!
//! Invariant: units are read from the ledger here as well; only answers come from the history.
//! Absence: nothing is judged here, and no number of the table comes from here.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::audit::{DbSnapshot, LedgerKind, LedgerRow, RefusalStep};
use crate::faults::FaultEvent;
use crate::workload::operation::Operation;

/// A chart is some hundred pixels wide.
const MOMENTS: u32 = 100;
/// Windows of latency over time: each has enough orders for a percentile.
const WINDOWS: u32 = 30;
/// With more lost updates than this the marks would cover each other; the row still counts them.
const LOST_UPDATES: usize = 64;
/// What a replica was stopped in it does in the first moments after it goes on.
const RESUMED_WITHIN_MS: u128 = 100;
/// Upper bounds of the latency buckets, in milliseconds; the last bucket is open.
const BOUNDS: [f64; 19] = [
    1.0,
    2.0,
    3.0,
    5.0,
    7.0,
    10.0,
    20.0,
    30.0,
    50.0,
    70.0,
    100.0,
    200.0,
    300.0,
    500.0,
    700.0,
    1000.0,
    2000.0,
    5000.0,
    f64::INFINITY,
];

/// A row over time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Timeline {
    /// Evenly spaced, the first at 0.
    pub moments: Vec<Moment>,
    /// Stale tokens that were refused.
    pub refused: Vec<Refused>,
    /// Lost updates, oldest first; empty if there are too many to be told apart.
    pub lost_updates: Vec<LostWrite>,
    /// The distribution of latency, the fastest bucket first.
    pub latency: Vec<LatencyBucket>,
    /// Latency over time; without the moments at which nothing was answered.
    pub latency_over_time: Vec<LatencyAt>,
}

/// The latency of the orders that were answered around a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencyAt {
    /// Milliseconds since the row began.
    pub at_ms: u64,
    /// Median, in milliseconds.
    pub p50: f64,
    /// 99th percentile, in milliseconds.
    pub p99: f64,
}

/// Sums since the row began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Milliseconds since the row began.
    pub at_ms: u64,
    /// Units reserved or sold.
    pub sold: i64,
    /// Units sold beyond stock, at this moment.
    pub oversold: i64,
    /// Orders answered.
    pub answered: usize,
}

/// A stale token that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Milliseconds since the row began.
    pub at_ms: u64,
    /// The statement that refused it.
    pub step: RefusalStep,
}

/// A write that did not begin where the one before it had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LostWrite {
    /// Milliseconds since the row began.
    pub at_ms: u64,
    /// When the pause began that delayed it: its own, or that of another write, since a replica is stopped as a whole.
    /// Absent where no pause ended around this time.
    pub paused_from_ms: Option<u64>,
}

/// A bucket of the distribution of latency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencyBucket {
    /// Upper bound in milliseconds; absent in the last bucket, which is open.
    pub within_ms: Option<f64>,
    /// Answers in this bucket.
    pub count: usize,
}

/// One instant on two clocks: the row's and the database's.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Since the row began.
    pub row: Duration,
    /// By the clock of the database.
    pub database: OffsetDateTime,
}

impl Clocks {
    pub(super) fn in_row(self, at: OffsetDateTime) -> Duration {
        let before = Duration::try_from(self.database - at).unwrap_or_default();
        self.row.saturating_sub(before)
    }
}

impl Timeline {
    /// The timeline of a history, of the faults during it, and of the ledger that it led to.
    pub fn of(history: &[Operation], events: &[FaultEvent], snapshot: &DbSnapshot, clocks: Clocks) -> Self {
        let refused = snapshot
            .refusals
            .iter()
            .map(|refusal| Refused { at_ms: ms(clocks.in_row(refusal.at)), step: refusal.step });
        Self {
            moments: moments(history, &snapshot.ledger, clocks),
            refused: refused.collect(),
            lost_updates: lost_updates(events, snapshot, clocks),
            latency: latency(history),
            latency_over_time: latency_over_time(history),
        }
    }

    /// Milliseconds from the first moment to the last.
    pub fn length_ms(&self) -> u64 {
        self.moments.last().map_or(0, |last| last.at_ms)
    }
}

fn moments(history: &[Operation], ledger: &[LedgerRow], clocks: Clocks) -> Vec<Moment> {
    let mut answers: Vec<Duration> = history.iter().filter_map(answered_at).collect();
    answers.sort_unstable();
    let written: Vec<Duration> = ledger.iter().map(|row| clocks.in_row(row.at)).collect();
    let end = answers.iter().chain(&written).max().copied().unwrap_or_default();
    let mut sales = Sales::default();
    let (mut row, mut answered) = (0, 0);
    let moment = |number| {
        let until = end * number / MOMENTS;
        // Rows are in the order of `seq`, which is the order of writes; their times may deviate from it slightly.
        while written.get(row).is_some_and(|at| *at <= until || number == MOMENTS) {
            sales.write(&ledger[row]);
            row += 1;
        }
        answered += answers[answered..].partition_point(|at| *at <= until);
        Moment { at_ms: ms(until), sold: sales.sold, oversold: sales.oversold(), answered }
    };
    (0..=MOMENTS).map(moment).collect()
}

fn lost_updates(events: &[FaultEvent], snapshot: &DbSnapshot, clocks: Clocks) -> Vec<LostWrite> {
    let lost = snapshot.lost_updates();
    if lost.len() > LOST_UPDATES {
        return Vec::new();
    }
    let rows: HashMap<i64, &LedgerRow> = snapshot.ledger.iter().map(|row| (row.seq, row)).collect();
    let orders: HashMap<_, _> = snapshot.reservations.iter().map(|one| (one.id, one.order_id)).collect();
    let written = lost.iter().filter_map(|lost| rows.get(&lost.seq)).map(|row| {
        let order = row.reservation_id.and_then(|id| orders.get(&id));
        let at_ms = ms(clocks.in_row(row.at));
        let fired = || events.iter().filter(|event| event.fired);
        let own = order.and_then(|order| fired().find(|event| event.order_id == Some(*order)));
        let ended_then = |event: &&FaultEvent| event.to_ms.abs_diff(at_ms.into()) <= RESUMED_WITHIN_MS;
        let paused_from_ms = own.or_else(|| fired().find(ended_then)).and_then(|event| event.from_ms.try_into().ok());
        LostWrite { at_ms, paused_from_ms }
    });
    let mut written: Vec<_> = written.collect();
    written.sort_by_key(|lost| lost.at_ms);
    written
}

fn answered_at(operation: &Operation) -> Option<Duration> {
    operation.answered.as_ref().filter(|(_, answer)| answer.status.is_some()).map(|(at, _)| *at)
}

#[derive(Default)]
struct Sales<'a> {
    sold: i64,
    /// Units in stock and units sold, per SKU.
    skus: HashMap<&'a str, (i64, i64)>,
}

impl<'a> Sales<'a> {
    fn write(&mut self, row: &'a LedgerRow) {
        let (stock, sold) = self.skus.entry(&row.sku).or_default();
        match row.kind {
            LedgerKind::Put => *stock += row.delta,
            LedgerKind::Reserve | LedgerKind::Cancel | LedgerKind::Expire => {
                *sold -= row.delta;
                self.sold -= row.delta;
            }
        }
    }

    fn oversold(&self) -> i64 {
        self.skus.values().map(|(stock, sold)| (sold - stock).max(0)).sum()
    }
}

fn latency_over_time(history: &[Operation]) -> Vec<LatencyAt> {
    let answers = || history.iter().filter_map(|operation| Some((answered_at(operation)?, operation.invoked)));
    let end = answers().map(|(at, _)| at).max().unwrap_or_default();
    let mut windows: Vec<Vec<f64>> = vec![Vec::new(); WINDOWS as usize];
    for (at, invoked) in answers() {
        let window = (at.as_secs_f64() / end.as_secs_f64().max(f64::MIN_POSITIVE) * f64::from(WINDOWS)).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to WINDOWS")]
        let window = (window as usize).min(windows.len() - 1);
        windows[window].push(at.saturating_sub(invoked).as_secs_f64() * 1000.0);
    }
    let of_window = |(number, mut latencies): (u32, Vec<f64>)| {
        latencies.sort_unstable_by(f64::total_cmp);
        let at = |hundredth: usize| {
            latencies.get((latencies.len() * hundredth / 100).min(latencies.len().checked_sub(1)?)).copied()
        };
        Some(LatencyAt { at_ms: ms(end * (2 * number + 1) / (2 * WINDOWS)), p50: at(50)?, p99: at(99)? })
    };
    (0..).zip(windows).filter_map(of_window).collect()
}

fn latency(history: &[Operation]) -> Vec<LatencyBucket> {
    let mut counts = [0; BOUNDS.len()];
    for operation in history {
        if let Some(at) = answered_at(operation) {
            let took = at.saturating_sub(operation.invoked).as_secs_f64() * 1000.0;
            counts[BOUNDS.partition_point(|bound| *bound < took).min(BOUNDS.len() - 1)] += 1;
        }
    }
    let bar = |(bound, count): (f64, usize)| LatencyBucket { within_ms: bound.is_finite().then_some(bound), count };
    BOUNDS.into_iter().zip(counts).map(bar).collect()
}

fn ms(since: Duration) -> u64 {
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use contract::ReservationStatus;
    use uuid::Uuid;

    use super::*;
    use crate::audit::{Refusal, Reservation};
    use crate::cluster::lab_client::WriteOutcome;
    use crate::report::sample::paused_write;
    use crate::workload::operation::{Answer, Invocation};

    const NOON: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn entry(sku: &str, kind: LedgerKind, delta: i64, at_ms: u64) -> LedgerRow {
        LedgerRow {
            seq: 0,
            sku: sku.into(),
            delta,
            before: 0,
            after: 0,
            fence: None,
            kind,
            reservation_id: None::<Uuid>,
            transaction: String::new(),
            at: NOON + Duration::from_millis(at_ms),
        }
    }

    fn answered(from_ms: u64, at_ms: u64, status: Option<u16>) -> Operation {
        let invocation = Invocation { key: "k".into(), sku: "a".into(), quantity: 1, to: "x".into() };
        let answer = Answer { status, code: None, order_id: None, lock_ms: None };
        let answered = Some((Duration::from_millis(at_ms), answer));
        Operation { invocation, invoked: Duration::from_millis(from_ms), answered }
    }

    /// The row began a second before noon.
    fn clocks() -> Clocks {
        Clocks { row: Duration::from_secs(11), database: NOON + Duration::from_secs(10) }
    }

    #[test]
    fn a_row_of_the_ledger_is_placed_on_the_clock_of_the_history() {
        assert_eq!(clocks().in_row(NOON), Duration::from_secs(1));
        assert_eq!(clocks().in_row(NOON - Duration::from_mins(1)), Duration::ZERO);
    }

    #[test]
    fn unsold_units_of_one_sku_do_not_offset_oversold_units_of_another() {
        let ledger = vec![
            entry("a", LedgerKind::Put, 1, 0),
            entry("b", LedgerKind::Put, 5, 0),
            entry("a", LedgerKind::Reserve, -1, 2_000),
            entry("a", LedgerKind::Reserve, -2, 4_000),
            entry("b", LedgerKind::Reserve, -1, 9_000),
        ];
        let refusals = vec![Refusal {
            sku: "a".into(),
            token: 1,
            current: 2,
            step: RefusalStep::Write,
            order_id: None,
            at: NOON + Duration::from_secs(3),
        }];
        let snapshot = DbSnapshot { ledger, refusals, ..DbSnapshot::default() };
        let timeline =
            Timeline::of(&[answered(0, 9_990, Some(201)), answered(0, 10_000, None)], &[], &snapshot, clocks());
        assert_eq!(timeline.length_ms(), 10_000);
        let at = |ms: u64| timeline.moments.iter().find(|moment| moment.at_ms == ms).expect("a moment");
        assert_eq!((at(2_900).sold, at(2_900).oversold), (0, 0));
        assert_eq!((at(3_000).sold, at(3_000).oversold), (1, 0));
        assert_eq!((at(5_000).sold, at(5_000).oversold), (3, 2));
        assert_eq!((at(10_000).sold, at(10_000).oversold, at(10_000).answered), (4, 2, 1));
        assert_eq!(timeline.refused, [Refused { at_ms: 4_000, step: RefusalStep::Write }]);
    }

    #[test]
    fn a_lost_update_is_tied_to_the_pause_of_its_write_or_to_one_that_ended_as_it_was_written() {
        let id = Uuid::from_u128;
        let written = |seq, before, at_ms, reservation| LedgerRow {
            seq,
            before,
            after: before - 1,
            reservation_id: Some(id(reservation)),
            ..entry("a", LedgerKind::Reserve, -1, at_ms)
        };
        let put = LedgerRow { after: 9, ..entry("a", LedgerKind::Put, 9, 0) };
        let ledger = vec![put, written(1, 9, 1_000, 1), written(2, 9, 2_000, 2), written(3, 9, 3_000, 3)];
        let reservation = |reservation, order| Reservation {
            id: id(reservation),
            order_id: id(order),
            status: ReservationStatus::Confirmed,
            lines: Vec::new(),
        };
        let reservations = vec![reservation(1, 11), reservation(2, 12), reservation(3, 13)];
        let snapshot = DbSnapshot { ledger, reservations, ..DbSnapshot::default() };
        let event = |order, from_ms| FaultEvent {
            order_id: Some(id(order)),
            ..paused_write(from_ms, from_ms + 600, WriteOutcome::Written)
        };
        let tied = |events: &[FaultEvent]| {
            let lost = lost_updates(events, &snapshot, clocks());
            lost.iter().map(|lost| (lost.at_ms, lost.paused_from_ms)).collect::<Vec<_>>()
        };
        assert_eq!(tied(&[event(11, 400), event(13, 3_000)]), [(3_000, None), (4_000, Some(3_000))]);
        assert_eq!(tied(&[event(14, 2_450)]), [(3_000, Some(2_450)), (4_000, None)]);
    }

    #[test]
    fn every_answer_is_in_one_bucket_and_a_missing_answer_in_none() {
        let history = [
            answered(5, 6, Some(201)),
            answered(0, 4, Some(409)),
            answered(0, 60_000, Some(503)),
            answered(0, 5, None),
        ];
        let bars = latency(&history);
        let filled: Vec<_> = bars.iter().filter(|bar| bar.count > 0).map(|bar| (bar.within_ms, bar.count)).collect();
        assert_eq!(filled, [(Some(1.0), 1), (Some(5.0), 1), (None, 1)]);
    }

    #[test]
    fn latency_over_time_is_that_of_the_orders_answered_then() {
        let history = [
            answered(0, 100, Some(201)),
            answered(50, 60, Some(409)),
            answered(2_000, 3_000, Some(201)),
            answered(0, 9, None),
        ];
        let found: Vec<_> = latency_over_time(&history).iter().map(|at| (at.at_ms, at.p50, at.p99)).collect();
        assert_eq!(found, [(50, 10.0, 10.0), (150, 100.0, 100.0), (2_950, 1000.0, 1000.0)]);
        assert_eq!(latency_over_time(&[]), []);
    }

    #[test]
    fn a_row_without_events_has_a_timeline() {
        let timeline = Timeline::of(&[], &[], &DbSnapshot::default(), clocks());
        assert!(timeline.moments.iter().all(|moment| *moment == Moment::default()));
    }
}
