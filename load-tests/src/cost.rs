//! What a strategy costs: orders a second and latency, with more and more customers on one SKU count, and with the same
//! customers on more and more SKUs. Every order is for a unit that is there, so nothing but the guarding is measured.
//!
//! Invariant: the strategies of one point run one after the other before the next point begins, so that a machine that
//! grows slower does so for all of them.
//! Absence: no fault, no threshold, no verdict; figures of one machine.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cell::{self, Take};
use crate::faults::Fault;
use crate::ground::Ground;
use crate::interrupt::Interrupt;
use crate::plan::{Arrivals, Cell, Load, Plan};
use crate::progress::Progress;
use crate::report::RunReport;
use crate::stack::{Shape, Stack};
use crate::strategy::Strategy;

/// Customers, on so many SKUs as [`SKUS_FOR_USERS`] says.
const USERS: [u64; 4] = [1, 8, 64, 256];
const SKUS_FOR_USERS: u64 = 10;
/// SKUs, with so many customers as [`USERS_FOR_SKUS`] says.
const SKUS: [u64; 3] = [1, 10, 1_000];
const USERS_FOR_SKUS: u64 = 64;

/// Where to measure what.
#[derive(Debug)]
pub struct Cost {
    /// Strategies to compare.
    pub strategies: Vec<Strategy>,
    /// Orders at each point, about.
    pub orders: u64,
    /// How often each point is measured.
    pub runs: u32,
    /// What it runs on.
    pub shape: Shape,
    /// Decides who asks for what.
    pub seed: u64,
    /// Where the service binaries are.
    pub binaries: PathBuf,
    /// Where `cost.md` and the histories go.
    pub folder: PathBuf,
}

/// One measurement.
#[derive(Debug)]
struct Point {
    users: u64,
    skus: u64,
    rows: Vec<RunReport>,
}

impl Cost {
    /// Measures, prints the tables and writes `cost.md`. Ends early, with what it has, if it is asked to.
    ///
    /// # Errors
    /// It could not be run.
    pub async fn run(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let shape = self.plan(1, 1).shape(false);
        let stack = tokio::select! {
            stack = Stack::start(&shape, &self.binaries, None) => stack.context("the stack did not come up")?,
            _ = interrupt.asked() => return Ok(()),
        };
        let points = self.points(&stack, interrupt).await;
        stack.shut_down().await;
        let text = self.text(&points?);
        println!("{text}");
        let file = self.folder.join("cost.md");
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
    }

    async fn points(&self, stack: &Stack, interrupt: &Interrupt) -> anyhow::Result<Vec<Point>> {
        let mut points: Vec<Point> = Vec::new();
        let by_users = USERS.map(|users| (users, SKUS_FOR_USERS));
        let by_skus = SKUS.map(|skus| (USERS_FOR_SKUS, skus));
        for (users, skus) in by_users.into_iter().chain(by_skus) {
            if interrupt.by().is_some() || points.iter().any(|point| (point.users, point.skus) == (users, skus)) {
                continue;
            }
            let plan = self.plan(users, skus);
            let ground = Ground::own(stack, &self.folder).await?;
            eprintln!("{users} customers, {skus} SKUs");
            let (progress, mut rows) = (Progress::of(&plan), Vec::new());
            for take in 1..=self.runs {
                for number in 1..=plan.cells.len() {
                    let take = Take::again(&plan, number, take);
                    rows.extend(cell::run(&ground, &plan, take, progress, interrupt).await?);
                }
            }
            points.push(Point { users, skus, rows });
        }
        Ok(points)
    }

    fn plan(&self, users: u64, skus: u64) -> Plan {
        let cell = |&strategy: &Strategy| Cell {
            fault: Fault::None,
            strategies: vec![strategy],
            arrivals: Arrivals::Closed,
            strikes: 0,
        };
        // One customer alone is a matter of latency, not of numbers.
        let iterations = (self.orders / users).clamp(2, self.orders.div_ceil(4).max(2));
        let attempts = users * iterations;
        // Whole shares, so that no SKU runs out before the last order.
        let stock = attempts.div_ceil(skus) * skus;
        Plan {
            cells: self.strategies.iter().map(cell).collect(),
            load: Load { users, iterations, skus, stock, skew: 0.0 },
            shape: self.shape.clone(),
            left_out: Vec::new(),
            seed: self.seed,
        }
    }

    fn text(&self, points: &[Point]) -> String {
        let mut text = String::from("# What each strategy costs\n\n");
        let _ = writeln!(
            text,
            "Orders a second, p50 and p99 in ms, medians of {} runs. Closed model, payment {} ms, every order for a unit that \
             is there.\n",
            self.runs,
            self.shape.payment.as_millis()
        );
        let of = |users: u64, skus: u64| points.iter().find(|point| (point.users, point.skus) == (users, skus));
        let by_users: Vec<_> = USERS.iter().filter_map(|&users| of(users, SKUS_FOR_USERS)).collect();
        let by_skus: Vec<_> = SKUS.iter().filter_map(|&skus| of(USERS_FOR_SKUS, skus)).collect();
        let _ = writeln!(text, "## More customers, {SKUS_FOR_USERS} SKUs\n");
        text += &self.table(&by_users, |point| format!("{} customers", point.users));
        let _ = writeln!(text, "\n## More SKUs, {USERS_FOR_SKUS} customers\n");
        text += &self.table(&by_skus, |point| format!("{} SKUs", point.skus));
        text
    }

    fn table(&self, points: &[&Point], name: impl Fn(&Point) -> String) -> String {
        let heads: Vec<_> = points.iter().map(|point| name(point)).collect();
        let mut text = format!("| strategy | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(points.len()));
        for &strategy in &self.strategies {
            let cells = points.iter().map(|point| {
                let runs: Vec<_> = point.rows.iter().filter(|row| row.strategy == strategy).collect();
                figures(&runs)
            });
            let _ = writeln!(text, "| {strategy} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        text
    }
}

/// The medians of several runs, each figure for itself.
fn figures(runs: &[&RunReport]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let median = |figure: fn(&RunReport) -> f64| {
        let mut all: Vec<_> = runs.iter().map(|run| figure(run)).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let missed = match runs.iter().map(|run| run.attempts - run.accepted).max() {
        None | Some(0) => String::new(),
        Some(missed) => format!(", {missed} not placed"),
    };
    let (a_second, p50, p99) =
        (median(|run| run.orders_per_second), median(|run| run.latency_ms.p50), median(|run| run.latency_ms.p99));
    format!("{a_second:.0}/s, {p50:.0} / {p99:.0}{missed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost() -> Cost {
        Cost {
            strategies: vec![Strategy::Off, Strategy::Atomic],
            orders: 1_000,
            runs: 1,
            shape: crate::cli::SHAPE,
            seed: 1,
            binaries: PathBuf::new(),
            folder: PathBuf::new(),
        }
    }

    #[test]
    fn what_is_told_is_the_median_of_the_runs_and_the_most_that_were_not_placed() {
        let run = |a_second, accepted| {
            let run = crate::report::sample::run(Strategy::Atomic, Fault::None);
            RunReport { orders_per_second: a_second, accepted, attempts: 100, ..run }
        };
        let runs = [run(10.0, 100), run(90.0, 97), run(30.0, 100)];
        assert_eq!(figures(&runs.iter().collect::<Vec<_>>()), "30/s, 12 / 80, 3 not placed");
    }

    #[test]
    fn every_order_is_for_a_unit_that_is_there() {
        for (users, skus) in [(1, 10), (8, 10), (256, 10), (64, 1), (64, 1_000)] {
            let load = cost().plan(users, skus).load;
            let mut asked = vec![0; usize::try_from(skus).expect("few")];
            load.demand(1).iter().for_each(|&sku| asked[usize::try_from(sku).expect("few")] += 1);
            assert!(asked.iter().zip(load.stocks(1)).all(|(&asked, stock)| asked <= stock), "{users} {skus}");
        }
    }
}
