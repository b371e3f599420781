//! What is shown while a row runs: a live line on a terminal, plain lines otherwise. All of it on standard error.
//!
//! Absence: nothing here is a result.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::history::Tally;
use crate::plan::RowPlan;

const REFRESH: Duration = Duration::from_millis(100);

/// Tells how a run goes on.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Rows there will be.
    pub rows: usize,
}

impl Progress {
    /// One sentence about what happens now.
    pub fn say(self, sentence: &str) {
        eprintln!("{sentence}");
    }

    /// Shows a row until its attack is over. Never resolves before.
    ///
    /// # Cancel safety: the line is taken away.
    pub async fn follow(self, number: usize, row: RowPlan, attempts: u64, mut tally: watch::Receiver<Tally>) {
        let title = format!("row {number}/{}  {} · {}", self.rows, row.strategy, row.fault);
        let bar = ProgressBar::new(attempts);
        if bar.is_hidden() {
            eprintln!("{title}: {attempts} orders");
        } else {
            let template = "{prefix:<40} {bar:24} {pos:>6}/{len} orders  {msg}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(title.clone());
        }
        let mut ticks = interval(REFRESH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let _taken_away = TakenAway(bar.clone());
        loop {
            ticks.tick().await;
            let now = *tally.borrow_and_update();
            bar.set_position(now.ended);
            bar.set_message(counts(now));
        }
    }

    /// One line about a row that has ended.
    pub fn ended(self, number: usize, row: RowPlan, sentence: &str) {
        eprintln!("row {number}/{}  {} · {}: {sentence}", self.rows, row.strategy, row.fault);
    }
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
