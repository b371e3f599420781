//! What a strategy costs: orders a second and latency, with more and more customers on one SKU count, and with the same
//! customers on more and more SKUs. Every order is for a unit that is there, so nothing but the guarding is measured.
//!
//! Invariant: the strategies of one point run one after the other before the next point begins, so that a machine that
//! grows slower does so for all of them; what is told is the time after the warm-up, in which everybody ordered.
//! Absence: no fault, no threshold, no verdict; figures of one machine.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use tokio::time::Instant;

use crate::cluster::config::StackConfig;
use crate::cluster::stack::Stack;
use crate::interrupt::Interrupt;
use crate::runner::environment::Environment;
use crate::runner::sale::Sale;
use crate::scenario::load::Load;
use crate::scenario::plan::stack_config_for;
use crate::workload::operation::Operation;
use crate::workload::outcome::Outcome;
use crate::workload::{Attack, DuplicateMode};

/// With more customers, and the same SKUs.
const CLIENT_COUNTS: [Point; 4] = [
    Point { users: 1, skus: 10 },
    Point { users: 8, skus: 10 },
    Point { users: 64, skus: 10 },
    Point { users: 256, skus: 10 },
];
/// With more SKUs, and the same customers.
const SKU_COUNTS: [Point; 3] =
    [Point { users: 64, skus: 1 }, Point { users: 64, skus: 10 }, Point { users: 64, skus: 1_000 }];
/// Connections are made and caches filled.
const WARM_UP: Duration = Duration::from_secs(1);
/// So many orders can be asked for; no machine comes that far.
const MOST_A_SECOND: u64 = 5_000;

/// What to measure on what.
#[derive(Debug)]
pub struct Cost {
    /// Strategies to compare.
    pub strategies: Vec<Strategy>,
    /// How long each measurement lasts, the warm-up not counted.
    pub lasting: Duration,
    /// How often each point is measured.
    pub runs: usize,
    /// What it runs on.
    pub stack_config: StackConfig,
    /// Decides who asks for what.
    pub seed: u64,
    /// Where the service binaries are.
    pub binaries: PathBuf,
    /// Where `cost.md` and the histories go.
    pub folder: PathBuf,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    users: u64,
    skus: u64,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    point: Point,
    strategy: Strategy,
    figures: Figures,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    a_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Orders that ended in something else.
    missed: usize,
}

impl Cost {
    /// Measures, prints the tables and writes `cost.md`. Ends early, with what it has, if it is asked to.
    ///
    /// # Errors
    /// It could not be run.
    pub async fn run(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let stack_config = stack_config_for(&self.stack_config, &self.strategies, false);
        let stack = tokio::select! {
            stack = Stack::start(&stack_config, &self.binaries, None) => stack.context("the stack did not come up")?,
            _ = interrupt.asked() => return Ok(()),
        };
        let measured = self.measure(&stack, interrupt).await;
        stack.shut_down().await;
        let text = self.text(&measured?);
        println!("{text}");
        let file = self.folder.join("cost.md");
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
    }

    async fn measure(&self, stack: &Stack, interrupt: &Interrupt) -> anyhow::Result<Vec<Measured>> {
        let points: Vec<_> = CLIENT_COUNTS
            .into_iter()
            .chain(SKU_COUNTS.into_iter().filter(|one| !CLIENT_COUNTS.contains(one)))
            .collect();
        let (all, began, mut measured) = (points.len() * self.runs * self.strategies.len(), Instant::now(), Vec::new());
        for point in points {
            let environment = Environment::own_stack(stack, &self.folder).await?;
            for run in 1..=self.runs {
                for &strategy in &self.strategies {
                    if interrupt.by().is_some() {
                        return Ok(measured);
                    }
                    let figures = self.once(&environment, point, strategy, run, interrupt).await?;
                    if interrupt.by().is_none() {
                        measured.push(Measured { point, strategy, figures });
                        let left = began.elapsed() * count(all - measured.len()) / count(measured.len());
                        let (done, left) = (measured.len(), left.as_secs());
                        eprintln!("{point}, {strategy}: {figures} ({done} of {all}, about {left} s left)");
                    }
                }
            }
        }
        Ok(measured)
    }

    async fn once(
        &self,
        environment: &Environment<'_>,
        point: Point,
        strategy: Strategy,
        run: usize,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Figures> {
        let load = self.load(point);
        let name = format!("{strategy}-{run}");
        let file = format!("history-{}-{}-{name}.jsonl", point.users, point.skus);
        let sale = Sale::open(environment, strategy, &name, &load.stocks(self.seed), file).await?;
        let workload = sale.workload(&load.demand(self.seed));
        let limit = self.stack_config.answer_limit();
        let attack = Attack::new(
            &environment.target.orders,
            vec![workload],
            limit,
            Arc::new(DuplicateMode::default()),
            interrupt,
        )?;
        let from = sale.history.now() + WARM_UP;
        attack.closed_until(point.users, Instant::now() + WARM_UP + self.lasting).await;
        let operations = sale.history.finish().with_context(|| format!("{} cannot be written", sale.file))?;
        let asked_for_all = operations.len() as u64 == load.attempts();
        anyhow::ensure!(!asked_for_all, "{} orders were too few for {strategy} at {point}", load.attempts());
        Ok(Figures::of(&operations, from, self.lasting))
    }

    /// More than can be ordered meanwhile, every SKU equally often, and of each as many units as are asked for.
    fn load(&self, point: Point) -> Load {
        let Point { users, skus } = point;
        let most = MOST_A_SECOND * (WARM_UP + self.lasting).as_secs();
        let iterations = most.div_ceil(users);
        let stock = (users * iterations).div_ceil(skus) * skus;
        Load { users, iterations, skus, stock, skew: 0.0 }
    }

    fn text(&self, measured: &[Measured]) -> String {
        let mut text = String::from("# What each strategy costs\n\n");
        let _ = writeln!(
            text,
            "Orders a second, p50 / p99 in ms. Customers who order again as soon as they were answered, for {} s after a \
             warm-up of {} s, medians of {} runs, payment {} ms, every order for a unit that is there.\n",
            self.lasting.as_secs(),
            WARM_UP.as_secs(),
            self.runs,
            self.stack_config.payment.as_millis()
        );
        let _ = writeln!(text, "## More customers, {} SKUs\n", CLIENT_COUNTS[0].skus);
        text += &self.table(measured, &CLIENT_COUNTS, |point| counted(point.users, "customer"));
        let _ = writeln!(text, "\n## More SKUs, {} customers\n", SKU_COUNTS[0].users);
        text += &self.table(measured, &SKU_COUNTS, |point| counted(point.skus, "SKU"));
        text
    }

    fn table(&self, measured: &[Measured], points: &[Point], name: impl Fn(&Point) -> String) -> String {
        let heads: Vec<_> = points.iter().map(name).collect();
        let mut text = format!("| strategy | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(points.len()));
        for &strategy in &self.strategies {
            let cells = points.iter().map(|&point| {
                let same = |one: &&Measured| (one.point, one.strategy) == (point, strategy);
                let runs: Vec<_> = measured.iter().filter(same).map(|one| one.figures).collect();
                Figures::median(&runs).map(|figures| figures.to_string()).unwrap_or_default()
            });
            let _ = writeln!(text, "| {strategy} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        text
    }
}

impl Figures {
    /// What was answered since `from`, for so long. Latency is that of the same orders, their tries and pauses included.
    fn of(operations: &[Operation], from: Duration, lasting: Duration) -> Self {
        let answered = operations.iter().filter_map(|operation| {
            let (at, answer) = operation.answered.as_ref()?;
            let within = (from..from + lasting).contains(at);
            within.then(|| (at.saturating_sub(operation.invoked), answer.outcome() == Outcome::Accepted))
        });
        let (mut latencies, mut missed) = (Vec::new(), 0);
        for (latency, placed) in answered {
            if placed { latencies.push(latency.as_secs_f64() * 1e3) } else { missed += 1 }
        }
        let a_second = f64::from(count(latencies.len())) / lasting.as_secs_f64();
        latencies.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(f64::NAN);
        Self { a_second, p50_ms: at(50), p99_ms: at(99), missed }
    }

    /// Of several runs, each figure for itself; the most that were missed.
    fn median(runs: &[Self]) -> Option<Self> {
        let missed = runs.iter().map(|run| run.missed).max()?;
        let median = |figure: fn(&Self) -> f64| {
            let mut all: Vec<_> = runs.iter().map(figure).collect();
            all.sort_unstable_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let (a_second, p50_ms, p99_ms) =
            (median(|run| run.a_second), median(|run| run.p50_ms), median(|run| run.p99_ms));
        Some(Self { a_second, p50_ms, p99_ms, missed })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.p50_ms.is_nan() {
            return f.write_str("nobody was answered in time");
        }
        write!(f, "{:.0}/s, {:.0} / {:.0}", self.a_second, self.p50_ms, self.p99_ms)?;
        if self.missed == 0 { Ok(()) } else { write!(f, ", {} not placed", self.missed) }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", counted(self.users, "customer"), counted(self.skus, "SKU"))
    }
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::operation::{Answer, Invocation};

    fn cost() -> Cost {
        Cost {
            strategies: vec![Strategy::Off, Strategy::Atomic],
            lasting: Duration::from_secs(4),
            runs: 1,
            stack_config: crate::cli::DEFAULT_STACK,
            seed: 1,
            binaries: PathBuf::new(),
            folder: PathBuf::new(),
        }
    }

    fn order(invoked_ms: u64, answered_ms: u64, status: u16) -> Operation {
        let invocation = Invocation { key: "k".into(), sku: "a".into(), quantity: 1, to: "http://order".into() };
        let answer = Answer { status: Some(status), code: None, order_id: None, lock_ms: None };
        Operation {
            invocation,
            invoked: Duration::from_millis(invoked_ms),
            answered: Some((Duration::from_millis(answered_ms), answer)),
        }
    }

    #[test]
    fn only_what_was_answered_after_the_warm_up_and_before_the_end_is_told() {
        let (from, lasting) = (Duration::from_secs(1), Duration::from_secs(2));
        let early = order(500, 999, 201);
        let late = order(2_900, 3_000, 201);
        let told =
            [order(990, 1_000, 201), order(1_000, 1_030, 201), order(2_900, 2_999, 201), order(1_500, 1_600, 409)];
        let all: Vec<_> = told.into_iter().chain([early, late]).collect();
        let figures = Figures::of(&all, from, lasting);
        assert_eq!(figures, Figures { a_second: 1.5, p50_ms: 30.0, p99_ms: 99.0, missed: 1 });
        assert_eq!(figures.to_string(), "2/s, 30 / 99, 1 not placed");
        assert_eq!(Figures::of(&[], from, lasting).to_string(), "nobody was answered in time");
    }

    #[test]
    fn what_is_told_is_the_median_of_the_runs_and_the_most_that_were_not_placed() {
        let run = |a_second, missed| Figures { a_second, p50_ms: 2.0 * a_second, p99_ms: 100.0 - a_second, missed };
        let median = Figures::median(&[run(10.0, 0), run(90.0, 3), run(30.0, 0)]);
        assert_eq!(median, Some(Figures { a_second: 30.0, p50_ms: 60.0, p99_ms: 70.0, missed: 3 }));
        assert_eq!(Figures::median(&[]), None);
    }

    #[test]
    fn every_order_is_for_a_unit_that_is_there() {
        for point in CLIENT_COUNTS.into_iter().chain(SKU_COUNTS) {
            let load = cost().load(point);
            let mut asked = vec![0; usize::try_from(point.skus).expect("few")];
            load.demand(1).iter().for_each(|&sku| asked[usize::try_from(sku).expect("few")] += 1);
            assert!(asked.iter().zip(load.stocks(1)).all(|(&asked, stock)| asked <= stock), "{point}");
        }
    }
}
