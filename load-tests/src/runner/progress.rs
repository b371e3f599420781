//! Progress of a run, on standard error: a live line on a terminal, plain lines otherwise.
//!
//! Invariant: the live line fits the terminal, and the time left that it shows never grows.
//! Absence: no result is printed here.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::faults::Fault;
use crate::report::model::RunReport;
use crate::scenario::load::Arrivals;
use crate::scenario::plan::{Cell, Plan};
use crate::workload::tally::Tally;

const REFRESH: Duration = Duration::from_millis(100);
/// No time left is shown before this share of the run: the first sale starts slowly.
const ESTIMATE_FROM: f64 = 0.05;

/// Reports the progress of a run.
#[derive(Debug)]
pub struct Progress<'a> {
    plan: &'a Plan,
    began: Instant,
    /// The shortest time left shown so far, in seconds.
    shortest_left: AtomicU64,
}

impl<'a> Progress<'a> {
    /// The progress of a run that begins now.
    pub fn of(plan: &'a Plan) -> Self {
        Self { plan, began: Instant::now(), shortest_left: AtomicU64::new(u64::MAX) }
    }

    /// Prints one sentence.
    pub fn announce(&self, sentence: &str) {
        eprintln!("{sentence}");
    }

    /// Shows the progress of a cell; never resolves.
    ///
    /// # Cancel safety: the line is erased.
    pub async fn follow(
        &self,
        number: usize,
        cell: &Cell,
        attempts: u64,
        tallies: Vec<watch::Receiver<Tally>>,
    ) -> Infallible {
        let title = self.title(number, cell);
        let all = attempts * tallies.len() as u64;
        let bar = ProgressBar::new(all);
        if bar.is_hidden() {
            eprintln!("{title}: {all} orders{}", self.left(number, 0.0));
        } else {
            // What is cut off at the width of the terminal is what comes last.
            let template = "{prefix}  {bar:12} {percent:>3} %{wide_msg}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(title.clone());
        }
        let mut ticks = interval(REFRESH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (_erased, began) = (ErasedOnDrop(bar.clone()), Instant::now());
        loop {
            ticks.tick().await;
            let mut now = Tally::default();
            for tally in &tallies {
                now.add(&tally.borrow());
            }
            bar.set_position(now.ended);
            let rate = per_second(now.ended, began.elapsed());
            let left = self.left(number, share(now.ended, all));
            bar.set_message(format!("{left}  {}  {rate:.0} orders/s", counts(now)));
        }
    }

    /// Prints one line for a row that has ended.
    pub fn ended(&self, number: usize, row: &RunReport) {
        let (cells, accepted, oversold) = (self.plan.cells.len(), row.accepted, row.units_oversold);
        let fired =
            if row.fault == Fault::None { String::new() } else { format!(", fault fired {}×", row.faults_fired) };
        eprintln!(
            "{number}/{cells}  {} · {}: {accepted} accepted, {oversold} oversold{fired}",
            row.strategy, row.fault
        );
    }

    fn title(&self, number: usize, cell: &Cell) -> String {
        let strategies = match cell.strategies.as_slice() {
            [one] => one.to_string(),
            several => format!("{} strategies", several.len()),
        };
        format!("{number}/{}  {strategies} · {}", self.plan.cells.len(), cell.fault)
    }

    /// The time left, in proportion to the time that the run took so far; never longer than shown before.
    /// `share` of the orders of this cell have ended.
    fn left(&self, number: usize, share: f64) -> String {
        let (done, remaining) = before_and_after(self.plan, number);
        let (done, remaining, cell) = (done.as_secs_f64(), remaining.as_secs_f64(), planned(self.plan, number));
        let ended = done + share * cell.as_secs_f64();
        let all = done + remaining;
        if ended < ESTIMATE_FROM * all {
            return String::new();
        }
        let left = self.began.elapsed().mul_f64((all - ended) / ended).as_secs();
        let left = self.shortest_left.fetch_min(left, Ordering::Relaxed).min(left);
        format!("  {}:{:02} left", left / 60, left % 60)
    }
}

/// Planned duration of the sale of a cell. Sales without a planned duration count equally.
fn planned(plan: &Plan, number: usize) -> Duration {
    match plan.cells[number - 1].arrivals {
        Arrivals::Closed => Duration::from_secs(1),
        Arrivals::Open { window } => window,
    }
}

/// Planned duration of the sales before this cell, and of the others, this cell included.
fn before_and_after(plan: &Plan, number: usize) -> (Duration, Duration) {
    let lasts = |number: &usize| planned(plan, *number);
    let order: Vec<_> = plan.numbers(false).into_iter().chain(plan.numbers(true)).collect();
    let at = order.iter().position(|other| *other == number).unwrap_or_default();
    (order[..at].iter().map(lasts).sum(), order[at..].iter().map(lasts).sum())
}

#[expect(clippy::cast_precision_loss, reason = "orders of one cell")]
fn share(ended: u64, all: u64) -> f64 {
    ended as f64 / all.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "orders of one cell")]
fn per_second(orders: u64, elapsed: Duration) -> f64 {
    orders as f64 / elapsed.as_secs_f64().max(0.001)
}

struct ErasedOnDrop(ProgressBar);

impl Drop for ErasedOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn counts(tally: Tally) -> String {
    let mut text = format!("{} sold, {} sold out", tally.accepted, tally.sold_out);
    let errors = [
        (tally.lock_timeouts, "lock timeouts"),
        (tally.unavailable, "unavailable"),
        (tally.overloaded, "overloaded"),
        (tally.unexplained + tally.silence, "unexplained"),
        (tally.tried_again, "retried"),
    ];
    for (count, name) in errors.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!(", {count} {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sale_counts_for_more_than_a_short_one_and_proxied_cells_run_last() {
        let cell = |fault, seconds| Cell {
            fault,
            strategies: Vec::new(),
            arrivals: Arrivals::Open { window: Duration::from_secs(seconds) },
            injections: 0,
        };
        let cells = [(Fault::PartitionRedis, 5), (Fault::None, 20), (Fault::PauseInventory, 110)];
        let cells = cells.map(|(fault, seconds)| cell(fault, seconds)).to_vec();
        let plan = Plan { cells, ..crate::report::sample::plan() };
        let seconds = |number| {
            let (done, remaining) = before_and_after(&plan, number);
            (done.as_secs(), remaining.as_secs())
        };
        assert_eq!([seconds(2), seconds(3), seconds(1)], [(0, 135), (20, 115), (130, 5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_left_never_grows() {
        let cell = Cell { fault: Fault::None, strategies: Vec::new(), arrivals: Arrivals::Closed, injections: 0 };
        let plan = Plan { cells: vec![cell.clone(), cell], ..crate::report::sample::plan() };
        let progress = Progress::of(&plan);
        assert_eq!(progress.left(1, 0.01), "", "a first order says little");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(progress.left(1, 0.5), "  0:30 left");
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(progress.left(1, 0.6), "  0:30 left", "by the rate alone it would be 2:43");
        assert_eq!(progress.left(2, 0.9), "  0:03 left");
    }

    #[test]
    fn errors_are_shown_only_if_any_occurred() {
        let fine = Tally { accepted: 3, sold_out: 2, ..Tally::default() };
        assert_eq!(counts(fine), "3 sold, 2 sold out");
        assert_eq!(counts(Tally { lock_timeouts: 1, ..fine }), "3 sold, 2 sold out, 1 lock timeouts");
    }
}
