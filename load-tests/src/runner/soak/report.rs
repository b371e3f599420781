//! What a soak says: a line a minute, and `soak.md` and `soak.json` in the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::SoakPlan;
use crate::faults::{Fault, FaultEvent};

/// One minute.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SoakInterval {
    pub(super) number: u64,
    pub(super) orders: usize,
    pub(super) accepted: u64,
    pub(super) tried_again: u64,
    pub(super) unexplained: u64,
    pub(super) oversold: u64,
    pub(super) stale_claims_refused: usize,
    pub(super) stale_writes_refused: usize,
    pub(super) events: Vec<(Fault, FaultEvent)>,
    pub(super) violations: Vec<String>,
    pub(super) history: String,
}

impl SoakInterval {
    fn fired(&self) -> impl Iterator<Item = Fault> {
        self.events.iter().filter(|(_, events)| events.fired).map(|(fault, _)| *fault)
    }

    /// For the terminal.
    pub(super) fn line(&self) -> String {
        let mut kinds: Vec<_> = self.fired().map(Fault::name).collect();
        let fired = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        let found = match self.violations.len() {
            0 => "clean".to_owned(),
            violations => format!("{violations} VIOLATIONS"),
        };
        format!(
            "{:>4}  {} orders, {} accepted, {} tried again, {} oversold, {fired} faults of {} kinds, {} stale claims and {} \
             stale writes refused: {found}",
            self.number,
            self.orders,
            self.accepted,
            self.tried_again,
            self.oversold,
            kinds.len(),
            self.stale_claims_refused,
            self.stale_writes_refused
        )
    }
}

/// A whole soak.
#[derive(Debug, Serialize)]
pub struct SoakReport {
    started_at: String,
    strategy: String,
    without: Option<String>,
    seed: u64,
    users: u64,
    lease_ms: u128,
    payment_ms: u128,
    minutes_planned: u64,
    minutes: Vec<SoakInterval>,
}

impl SoakReport {
    pub(super) fn new(plan: &SoakPlan) -> Self {
        Self {
            started_at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            strategy: plan.strategy.to_string(),
            without: plan.without.map(|without| without.name().to_owned()),
            seed: plan.seed,
            users: plan.users,
            lease_ms: plan.stack_config.lease.as_millis(),
            payment_ms: plan.stack_config.payment.as_millis(),
            minutes_planned: plan.minutes,
            minutes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, minute: SoakInterval) {
        self.minutes.push(minute);
    }

    /// No violation yet.
    pub fn is_clean(&self) -> bool {
        self.minutes.iter().all(|minute| minute.violations.is_empty())
    }

    fn orders(&self) -> usize {
        self.minutes.iter().map(|minute| minute.orders).sum()
    }

    fn fired(&self) -> BTreeMap<&'static str, usize> {
        let mut fired = BTreeMap::new();
        for fault in self.minutes.iter().flat_map(SoakInterval::fired) {
            *fired.entry(fault.name()).or_default() += 1;
        }
        fired
    }

    /// 0 clean, 1 a violation was found, 3 it showed nothing: no order, or no fault.
    pub fn exit_status(&self) -> u8 {
        match (self.is_clean(), self.orders() == 0 || self.fired().is_empty()) {
            (false, _) => 1,
            (true, true) => 3,
            (true, false) => 0,
        }
    }

    /// Before the first minute.
    pub fn headline(&self) -> String {
        let without = self.without.as_ref().map_or_else(String::new, |what| format!(", BROKEN on purpose: no {what}"));
        format!("{} for {} minutes, seed {}{without}", self.strategy, self.minutes_planned, self.seed)
    }

    /// After the last.
    pub fn verdict(&self) -> String {
        let (fired, orders, minutes) = (self.fired(), self.orders(), self.minutes.len());
        let faults: usize = fired.values().sum();
        let kinds = fired.len();
        let end = match self.minutes.iter().find(|minute| !minute.violations.is_empty()) {
            Some(minute) => format!(
                "VIOLATION in minute {}: {}. Seed {}, history {}",
                minute.number,
                minute.violations.join("; "),
                self.seed,
                minute.history
            ),
            None => "no violation".to_owned(),
        };
        format!("{minutes} sales, {orders} orders audited, {faults} faults of {kinds} kinds: {end}.")
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(folder.join("soak.json"), json + "\n")?;
        std::fs::write(folder.join("soak.md"), self.text())
    }

    fn text(&self) -> String {
        let mut text = format!("# Soak\n\n**{}**\n\n{}\n\n", self.verdict(), self.headline());
        let _ = writeln!(
            text,
            "Started {}; {} customers, lease {} ms, payment {} ms.\n",
            self.started_at, self.users, self.lease_ms, self.payment_ms
        );
        text += "| fault | fired |\n|---|---|\n";
        for (fault, count) in self.fired() {
            let _ = writeln!(text, "| {fault} | {count} |");
        }
        text += "\n| minute | orders | accepted | tried again | oversold | faults | stale claims refused | stale writes refused | audit |\n";
        text += "|---|---|---|---|---|---|---|---|---|\n";
        for minute in &self.minutes {
            let audit = if minute.violations.is_empty() { "clean".to_owned() } else { minute.violations.join("; ") };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {audit} |",
                minute.number,
                minute.orders,
                minute.accepted,
                minute.tried_again,
                minute.oversold,
                minute.fired().count(),
                minute.stale_claims_refused,
                minute.stale_writes_refused
            );
        }
        text
    }
}

/// Makes the folder, and takes away what an earlier soak wrote.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("soak.") || (name.starts_with("history-") && name.ends_with(".jsonl")) {
            std::fs::remove_file(entry.path())?;
        } else if name == "logs" {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::EventOutcome;

    fn minute(violations: &[&str], fired: bool) -> SoakInterval {
        let events = FaultEvent {
            strategy: None,
            replica: "postgres".to_owned(),
            sku: String::new(),
            from_ms: 0,
            to_ms: 1,
            fired,
            outcome: EventOutcome::Observed(String::new()),
            order_id: None,
            fencing_token: None,
        };
        SoakInterval {
            number: 1,
            orders: 10,
            accepted: 5,
            tried_again: 0,
            unexplained: 0,
            oversold: 0,
            stale_claims_refused: 0,
            stale_writes_refused: 0,
            events: vec![(Fault::PostgresRestart, events)],
            violations: violations.iter().map(ToString::to_string).collect(),
            history: "history-1.jsonl".to_owned(),
        }
    }

    fn soak(minutes: Vec<SoakInterval>) -> SoakReport {
        SoakReport {
            started_at: String::new(),
            strategy: "redlock-fenced".to_owned(),
            without: None,
            seed: 7,
            users: 1,
            lease_ms: 1,
            payment_ms: 1,
            minutes_planned: 1,
            minutes,
        }
    }

    #[test]
    fn a_violation_ends_it_with_the_seed_and_the_history_that_show_it() {
        let soak = soak(vec![minute(&["6: a lost update"], true)]);
        assert_eq!(soak.exit_status(), 1);
        for word in ["VIOLATION in minute 1", "6: a lost update", "Seed 7", "history-1.jsonl"] {
            assert!(soak.verdict().contains(word), "{}", soak.verdict());
        }
    }

    #[test]
    fn a_soak_in_which_nothing_struck_shows_nothing() {
        assert_eq!(soak(vec![minute(&[], false)]).exit_status(), 3);
        assert_eq!(soak(vec![]).exit_status(), 3);
        assert_eq!(soak(vec![minute(&[], true)]).exit_status(), 0);
    }
}
