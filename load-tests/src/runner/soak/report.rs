//! The results of a soak: one line per minute, and `soak.md` and `soak.json`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use contract::Strategy;
use serde::{Serialize, Serializer};
use strum::Display;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::plan::SoakPlan;
use super::protocol_mutation::ProtocolMutation;
use crate::audit::{Item, Undecided, Unsettled, Violation};
use crate::faults::{Fault, FaultEvent};
use crate::report::document::{Chart, Document};
use crate::report::model::Origin;

/// Why a minute is not clean.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
pub(super) enum Defect {
    /// A rule of the audit does not hold.
    #[strum(to_string = "item {item}: {violation}")]
    Violated { item: Item, violation: Violation },
    /// A rule of the audit was not decided.
    #[strum(to_string = "item {item} undecided: {undecided}")]
    Undecided { item: Item, undecided: Undecided },
    /// The databases could still change during the audit.
    #[strum(to_string = "audited although {0}")]
    Unsettled(Unsettled),
}

/// The sentence.
impl Serialize for Defect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One minute: a sale and its audit.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SoakMinute {
    pub(super) number: u64,
    pub(super) orders: usize,
    pub(super) accepted: u64,
    pub(super) tried_again: u64,
    pub(super) unexplained: u64,
    pub(super) oversold: u64,
    pub(super) stale_claims_refused: usize,
    pub(super) stale_writes_refused: usize,
    pub(super) events: Vec<(Fault, FaultEvent)>,
    pub(super) defects: Vec<Defect>,
    pub(super) history: String,
}

impl SoakMinute {
    fn fired(&self) -> impl Iterator<Item = Fault> {
        self.events.iter().filter(|(_, event)| event.fired).map(|(fault, _)| *fault)
    }

    /// The minute in one line, for the terminal.
    pub(super) fn line(&self) -> String {
        let mut kinds: Vec<_> = self.fired().map(Fault::name).collect();
        let fired = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        let result = match self.defects.len() {
            0 => "clean".to_owned(),
            1 => "1 DEFECT".to_owned(),
            defects => format!("{defects} DEFECTS"),
        };
        format!(
            "{:>4}  {} orders, {} accepted, {} retries, {} oversold, {fired} faults of {} kinds, {} stale claims and {} \
             stale writes refused: {result}",
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
    strategy: Strategy,
    mutation: Option<ProtocolMutation>,
    seed: u64,
    users: u64,
    lease_ms: u128,
    payment_ms: u128,
    minutes_planned: u64,
    origin: Origin,
    minutes: Vec<SoakMinute>,
}

impl SoakReport {
    pub(super) fn new(plan: &SoakPlan) -> Self {
        Self {
            started_at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            strategy: plan.strategy,
            mutation: plan.mutation,
            seed: plan.seed,
            users: plan.users,
            lease_ms: plan.stack_config.lease.as_millis(),
            payment_ms: plan.stack_config.payment.as_millis(),
            minutes_planned: plan.minutes,
            origin: Origin::begin(),
            minutes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, minute: SoakMinute) {
        self.minutes.push(minute);
    }

    /// No minute so far has a defect.
    pub fn is_clean(&self) -> bool {
        self.minutes.iter().all(|minute| minute.defects.is_empty())
    }

    fn orders(&self) -> usize {
        self.minutes.iter().map(|minute| minute.orders).sum()
    }

    fn fired(&self) -> BTreeMap<&'static str, usize> {
        let mut fired = BTreeMap::new();
        for fault in self.minutes.iter().flat_map(SoakMinute::fired) {
            *fired.entry(fault.name()).or_default() += 1;
        }
        fired
    }

    /// Exit status of the process: 0 clean, 1 a minute has a defect, 3 void: no order was placed or no fault fired.
    pub fn exit_status(&self) -> u8 {
        match (self.is_clean(), self.orders() == 0 || self.fired().is_empty()) {
            (false, _) => 1,
            (true, true) => 3,
            (true, false) => 0,
        }
    }

    /// The plan in one line, printed before the first minute.
    pub fn headline(&self) -> String {
        let mutation =
            self.mutation.map_or_else(String::new, |mutation| format!(", BROKEN on purpose: without {mutation}"));
        format!("{} for {} minutes, seed {}{mutation}", self.strategy, self.minutes_planned, self.seed)
    }

    /// The result in one sentence, printed after the last minute.
    pub fn verdict(&self) -> String {
        let (fired, orders, minutes) = (self.fired(), self.orders(), self.minutes.len());
        let faults: usize = fired.values().sum();
        let kinds = fired.len();
        let result = match self.minutes.iter().find(|minute| !minute.defects.is_empty()) {
            Some(minute) => format!(
                "DEFECT in minute {}: {}. Seed {}, history {}",
                minute.number,
                joined(&minute.defects),
                self.seed,
                minute.history
            ),
            None => "no defect".to_owned(),
        };
        format!("{minutes} sales, {orders} orders audited, {faults} faults of {kinds} kinds: {result}.")
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(folder.join("soak.json"), json + "\n")?;
        let text = self.text();
        let verdict = self.verdict();
        let page = Document {
            title: "Soak",
            verdict: Some((&verdict, self.exit_status() == 0)),
            charts: self.charts(),
            markdown: &text,
            origin: self.origin.clone().end(),
        };
        page.write(&folder.join("soak.html"))?;
        std::fs::write(folder.join("soak.md"), text)
    }

    fn charts(&self) -> Vec<Chart> {
        #[expect(clippy::cast_precision_loss, reason = "counts of one soak, for a drawing")]
        let rows: Vec<_> = self.fired().into_iter().map(|(fault, count)| (fault.to_owned(), count as f64)).collect();
        let faults: usize = self.fired().values().sum();
        let defects = self.minutes.iter().filter(|minute| !minute.defects.is_empty()).count();
        let title = format!(
            "{faults} faults of {} kinds in {} minutes, {defects} with a defect",
            rows.len(),
            self.minutes.len()
        );
        if rows.is_empty() { Vec::new() } else { vec![Chart::of_rows(title, "faults that took effect", &rows)] }
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
        text += "\n| minute | orders | accepted | retries | oversold | faults | stale claims refused | stale writes refused | audit |\n";
        text += "|---|---|---|---|---|---|---|---|---|\n";
        for minute in &self.minutes {
            let audit = if minute.defects.is_empty() { "clean".to_owned() } else { joined(&minute.defects) };
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

fn joined(defects: &[Defect]) -> String {
    defects.iter().map(Defect::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::InFlight;
    use crate::faults::EventOutcome;

    fn minute(defects: &[Defect], fired: bool) -> SoakMinute {
        let event = FaultEvent {
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
        SoakMinute {
            number: 1,
            orders: 10,
            accepted: 5,
            tried_again: 0,
            unexplained: 0,
            oversold: 0,
            stale_claims_refused: 0,
            stale_writes_refused: 0,
            events: vec![(Fault::PostgresRestart, event)],
            defects: defects.to_vec(),
            history: "history-1.jsonl".to_owned(),
        }
    }

    fn lost_update() -> Defect {
        let violation = Violation::LostUpdate { sku: "a".into(), seq: 9, read: 3, actual: 2 };
        Defect::Violated { item: violation.item(), violation }
    }

    fn soak(minutes: Vec<SoakMinute>) -> SoakReport {
        SoakReport {
            started_at: String::new(),
            strategy: Strategy::RedlockFenced,
            mutation: None,
            seed: 7,
            users: 1,
            lease_ms: 1,
            payment_ms: 1,
            minutes_planned: 1,
            origin: Origin::default(),
            minutes,
        }
    }

    #[test]
    fn the_verdict_names_the_defect_the_seed_and_the_history() {
        let soak = soak(vec![minute(&[lost_update()], true)]);
        assert_eq!(soak.exit_status(), 1);
        for word in ["DEFECT in minute 1", "item 6: a: row 9", "Seed 7", "history-1.jsonl"] {
            assert!(soak.verdict().contains(word), "{}", soak.verdict());
        }
    }

    #[test]
    fn a_soak_in_which_no_fault_fired_is_void() {
        assert_eq!(soak(vec![minute(&[], false)]).exit_status(), 3);
        assert_eq!(soak(vec![]).exit_status(), 3);
        assert_eq!(soak(vec![minute(&[], true)]).exit_status(), 0);
    }

    #[test]
    fn the_document_of_a_broken_soak() {
        let unsettled = Unsettled { in_flight: InFlight::Statements(1), waited: Duration::from_secs(30) };
        let mut soak = soak(vec![minute(&[], true), minute(&[lost_update(), Defect::Unsettled(unsettled)], false)]);
        soak.mutation = Some(ProtocolMutation::WriteConditions);
        let lines: Vec<_> = soak.minutes.iter().map(SoakMinute::line).collect();
        insta::assert_snapshot!(format!("{}\n\n{}", lines.join("\n"), soak.text()));
    }
}
