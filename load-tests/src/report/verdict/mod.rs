//! What the rows mean. Pure: reports go in, a judgement comes out.
//!
//! Invariant: a row that could not have shown overselling makes the run void. Void is not a pass.
//! Absence: no threshold that a slow machine could miss; nothing here is a matter of speed.

use std::time::Duration;

use contract::Strategy;
use serde::Serialize;

use crate::faults::Fault;
use crate::report::RunReport;
use crate::scenario::load::DEMAND;
use crate::scenario::theory::{Theory, promises_no_oversell};

/// The judgement.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Verdict {
    /// Every row could show what it is there to show.
    pub valid: bool,
    /// Why not, one sentence each.
    pub why_not: Vec<String>,
    /// 1 − oversold by the worst strategy that promises none / oversold by `off` without a fault; absent without such rows.
    pub error_reduction_percent: Option<f64>,
    /// Promises that were not kept, one sentence each.
    pub broken: Vec<String>,
    #[serde(skip)]
    summary: Vec<String>,
}

impl Verdict {
    /// Judges the rows; `interrupted` says what kept others from running.
    pub fn of(runs: &[RunReport], interrupted: Option<&str>) -> Self {
        // What kept rows from running comes first: the rest follows from it.
        let stopped = interrupted.map(|by| format!("the run was interrupted by {by}"));
        let nothing = (runs.is_empty() && interrupted.is_none()).then(|| "no row was run".to_owned());
        let why_not: Vec<String> = stopped.into_iter().chain(nothing).chain(runs.iter().flat_map(void)).collect();
        Self {
            valid: why_not.is_empty(),
            why_not,
            error_reduction_percent: error_reduction(runs),
            broken: runs.iter().flat_map(broken).collect(),
            summary: runs.iter().map(summary).collect(),
        }
    }

    /// The same, void for these reasons as well: rows that could not be run.
    #[must_use]
    pub fn without(mut self, missing: Vec<String>) -> Self {
        self.valid &= missing.is_empty();
        self.why_not.extend(missing);
        self
    }

    /// 0 valid and kept, 1 a promise was broken, 3 void.
    pub fn exit_status(&self) -> u8 {
        match (self.broken.is_empty(), self.valid) {
            (false, _) => 1,
            (true, true) => 0,
            (true, false) => 3,
        }
    }

    /// In one sentence.
    pub fn headline(&self) -> String {
        match (self.broken.as_slice(), self.why_not.as_slice(), self.error_reduction_percent) {
            ([broken, ..], _, _) => format!("BROKEN: {broken}."),
            ([], [why, ..], _) => format!("VOID: {why}."),
            ([], [], Some(percent)) => format!(
                "PASSED: whoever promised not to oversell kept the promise, and {percent} % of the errors are gone."
            ),
            ([], [], None) => "PASSED: whoever promised not to oversell kept the promise.".to_owned(),
        }
    }

    /// For people, the most important first.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = self.summary.clone();
        sentences.extend(self.error_reduction_percent.map(|percent| format!("Errors were reduced by {percent} %.")));
        sentences.extend(self.broken.iter().map(|broken| format!("BROKEN: {broken}.")));
        sentences.extend(self.why_not.iter().map(|why| format!("VOID: {why}.")));
        if self.valid && self.broken.is_empty() {
            sentences
                .push("PASSED: the run is valid, and whoever promised not to oversell kept the promise.".to_owned());
        }
        sentences
    }
}

/// Whether the row showed nothing, either way, and might the next time. A row that broke a promise stands as it is.
pub fn shows_nothing(run: &RunReport) -> bool {
    let could_have = run.attempts_planned >= DEMAND * run.initial_stock;
    could_have && !void(run).is_empty() && broken(run).is_empty()
}

fn name(run: &RunReport) -> String {
    match run.fault {
        Fault::None => format!("{} without a fault", run.strategy),
        fault => format!("{} under {fault}", run.strategy),
    }
}

fn summary(run: &RunReport) -> String {
    let (name, over, stock) = (name(run), run.units_oversold, run.initial_stock);
    let refused = match run.stale_writes_refused {
        0 => String::new(),
        1 => ", and 1 stale write was refused".to_owned(),
        refused => format!(", and {refused} stale writes were refused"),
    };
    let repetition = match run.repetition {
        1 => String::new(),
        repetition => format!(" (repetition {repetition}: the one before showed nothing, either way)"),
    };
    format!("{name}: {over} of {stock} units oversold{refused}{repetition}.")
}

/// Why a row could not have shown overselling, or did not show what it is there for.
fn void(run: &RunReport) -> Vec<String> {
    let name = name(run);
    let mut why = Vec::new();
    let mut unless = |fine: bool, sentence: String| {
        if !fine {
            why.push(format!("{name}: {sentence}"));
        }
    };
    let (attempts, planned, stock) = (run.attempts, run.attempts_planned, run.initial_stock);
    unless(attempts == planned, format!("{attempts} of {planned} orders were placed"));
    unless(
        attempts >= DEMAND * stock,
        format!("{attempts} orders for {stock} units are too few, {} would do", DEMAND * stock),
    );
    unless(run.skus_sold_out == run.skus, format!("{} of {} SKUs sold out", run.skus_sold_out, run.skus));
    let off_shows = (run.strategy, run.fault) != (Strategy::Off, Fault::None) || run.units_oversold >= stock;
    unless(
        off_shows,
        format!("{} of {stock} units oversold is less than the stock, so the load was too light", run.units_oversold),
    );
    unless(run.fault == Fault::None || run.faults_fired > 0, "the fault never events".to_owned());
    if run.fault.spec().makes_writes_stale && run.faults_fired > 0 {
        let refused = !run.strategy.claims() || run.paused_writes_refused > 0;
        unless(refused, "no write of a paused replica was refused, so the fence was not tested".to_owned());
    }
    if Theory::of(run.strategy, run.fault, Duration::from_millis(run.payment_ms)) == Theory::Certain {
        unless(run.units_oversold > 0, "it oversold nothing, so the fault was too mild".to_owned());
    }
    if let Some(unknown) = run.audit.unknown.first() {
        unless(false, format!("the audit could not decide item {unknown}"));
    }
    if let Some(unsettled) = &run.unsettled {
        unless(false, format!("it was audited while {unsettled}"));
    }
    why
}

fn broken(run: &RunReport) -> Vec<String> {
    let name = name(run);
    let mut broken = Vec::new();
    let promised = promises_no_oversell(run.strategy, run.fault);
    if promised && run.units_oversold > 0 {
        broken.push(format!("{name} oversold {} units", run.units_oversold));
    }
    // DbSnapshot that were not at rest prove nothing about the rest of the audit; the row is void.
    if run.unsettled.is_some() {
        return broken;
    }
    let about_stock = |text: &str| {
        let item = text.split(':').next().and_then(|number| number.parse::<u8>().ok());
        crate::audit::ITEMS.iter().any(|known| Some(known.number) == item && known.about_stock)
    };
    let unexpected = run.audit.violations.iter().find(|violation| promised || !about_stock(violation));
    broken.extend(unexpected.map(|violation| format!("{name} failed the audit, item {violation}")));
    broken
}

fn error_reduction(runs: &[RunReport]) -> Option<f64> {
    let off = runs.iter().find(|run| run.strategy == Strategy::Off && run.fault == Fault::None)?;
    let promising = runs.iter().filter(|run| promises_no_oversell(run.strategy, Fault::PauseInventory));
    let worst = promising.map(|run| run.units_oversold).max()?;
    if off.units_oversold == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "units of one experiment")]
    let share = worst as f64 / off.units_oversold as f64;
    // Cut, not rounded: 99.99… is not 100.
    Some(((1.0 - share) * 10_000.0).floor() / 100.0)
}

#[cfg(test)]
mod tests;
