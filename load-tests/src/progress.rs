//! What is shown while a cell runs: a live line on a terminal, plain lines otherwise. All of it on standard error.
//!
//! Absence: nothing here is a result.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::faults::Fault;
use crate::history::Tally;
use crate::plan::{Cell, Plan};
use crate::report::RunReport;

const REFRESH: Duration = Duration::from_millis(100);

/// Tells how a run goes on.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    cells: usize,
    began: Instant,
}

impl Progress {
    /// Of a run that begins now.
    pub fn of(plan: &Plan) -> Self {
        Self { cells: plan.cells.len(), began: Instant::now() }
    }

    /// One sentence about what happens now.
    pub fn say(self, sentence: &str) {
        eprintln!("{sentence}");
    }

    /// Shows a cell until its attack is over. Never resolves before.
    ///
    /// # Cancel safety: the line is taken away.
    pub async fn follow(self, number: usize, cell: &Cell, attempts: u64, tallies: Vec<watch::Receiver<Tally>>) {
        let title = self.title(number, cell);
        let all = attempts * tallies.len() as u64;
        let bar = ProgressBar::new(all);
        if bar.is_hidden() {
            eprintln!("{title}: {all} orders{}", self.left(number));
        } else {
            let template = "{prefix:<40} {bar:24} {pos:>6}/{len} orders  {msg}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(title.clone());
        }
        let mut ticks = interval(REFRESH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (_taken_away, began) = (TakenAway(bar.clone()), Instant::now());
        loop {
            ticks.tick().await;
            let mut now = Tally::default();
            for tally in &tallies {
                now.add(&tally.borrow());
            }
            bar.set_position(now.ended);
            let a_second = per_second(now.ended, began.elapsed());
            bar.set_message(format!("{a_second:.0}/s  {}{}", counts(now), self.left(number)));
        }
    }

    /// One line about a row that has ended.
    pub fn ended(self, number: usize, row: &RunReport) {
        let (cells, accepted, over) = (self.cells, row.accepted, row.units_oversold);
        let fired =
            if row.fault == Fault::None { String::new() } else { format!(", struck {} times", row.faults_fired) };
        eprintln!("{number}/{cells}  {} · {}: {accepted} accepted, {over} oversold{fired}", row.strategy, row.fault);
    }

    fn title(self, number: usize, cell: &Cell) -> String {
        let who = match cell.strategies.as_slice() {
            [one] => one.to_string(),
            several => format!("{} strategies", several.len()),
        };
        format!("{number}/{}  {who} · {}", self.cells, cell.fault)
    }

    /// As long as the cells before took, so long the ones to come.
    fn left(self, number: usize) -> String {
        let (done, to_come) = (number - 1, self.cells - (number - 1));
        if done == 0 {
            return String::new();
        }
        let left = self.began.elapsed().as_secs() * to_come as u64 / done as u64;
        format!("  about {}:{:02} left", left / 60, left % 60)
    }
}

#[expect(clippy::cast_precision_loss, reason = "orders of one cell")]
fn per_second(orders: u64, elapsed: Duration) -> f64 {
    orders as f64 / elapsed.as_secs_f64().max(0.001)
}

struct TakenAway(ProgressBar);

impl Drop for TakenAway {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn counts(tally: Tally) -> String {
    let mut text = format!("{} sold, {} sold out", tally.accepted, tally.sold_out);
    let troubles = [
        (tally.lock_timeouts, "lock timeouts"),
        (tally.unavailable, "unavailable"),
        (tally.unexplained + tally.silence, "unexplained"),
        (tally.tried_again, "tried again"),
    ];
    for (count, name) in troubles.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!(", {count} {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_shown_only_where_there_is_some() {
        let calm = Tally { accepted: 3, sold_out: 2, ..Tally::default() };
        assert_eq!(counts(calm), "3 sold, 2 sold out");
        assert_eq!(counts(Tally { lock_timeouts: 1, ..calm }), "3 sold, 2 sold out, 1 lock timeouts");
    }
}
