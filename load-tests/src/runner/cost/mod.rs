//! The cost of each strategy: orders per second, latency, processor time, commits, for more customers and for more SKUs.
//! Every order is for a unit in stock, so a strategy is measured without refusals; refusals are a load of their own.
//!
//! Invariant: all strategies are measured at one point before the next point begins, so a machine that slows down slows
//! all of them; only the time after the warm-up counts.
//! Absence: no fault, no threshold, no verdict; the figures are those of one machine.

mod account;
mod figures;
mod fill;
mod floor;
mod median;
mod overload;
mod point;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use tokio::time::Instant;

use self::account::Meter;
use self::figures::Figures;
use self::floor::{Floor, FloorFigures};
use self::point::{Point, SKU_COUNTS, WARM_UP, counted};
use self::table::{Conditions, Measurement};
use crate::cluster::config::StackConfig;
use crate::cluster::stack::Stack;
use crate::interrupt::Interrupt;
use crate::report::document::Document;
use crate::report::model::Origin;
use crate::runner::environment::Environment;
use crate::runner::sale::Sale;
use crate::scenario::load::Load;
use crate::scenario::plan::stack_config_for;
use crate::workload::{Attack, DuplicateMode, Workload};

/// What to measure, and on what.
#[derive(Debug)]
pub struct Cost {
    /// Strategies to compare.
    pub strategies: Vec<Strategy>,
    /// Duration of each measurement, without the warm-up.
    pub lasting: Duration,
    /// The largest load of the overload curve.
    pub connections: u64,
    /// Orders of the past that are in the databases before.
    pub existing_orders: u64,
    /// How often each point is measured.
    pub runs: usize,
    /// The stack.
    pub stack_config: StackConfig,
    /// Decides which SKU each order is for.
    pub seed: u64,
    /// Folder of the service binaries.
    pub binaries: PathBuf,
    /// Folder for `cost.md` and the histories.
    pub folder: PathBuf,
}

impl Cost {
    /// Measures, prints the tables and writes `cost.md`. An interrupt ends it early, with what was measured so far.
    ///
    /// # Errors
    /// The stack does not start, a database does not answer, or a file cannot be written.
    pub async fn run(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let origin = Origin::begin();
        std::fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let stack_config = stack_config_for(&self.stack_config, &self.strategies, false);
        let stack = tokio::select! {
            stack = Stack::start(&stack_config, &self.binaries, None) => stack.context("the stack did not start")?,
            _ = interrupt.asked() => return Ok(()),
        };
        fill::fill(&stack, self.existing_orders, interrupt).await?;
        let measured = self.measure_all(&stack, interrupt).await;
        let curve = self.overload(&stack, interrupt).await;
        stack.shut_down().await;
        let conditions = Conditions {
            strategies: &self.strategies,
            lasting: self.lasting,
            runs: self.runs,
            payment: self.stack_config.payment,
            existing_orders: self.existing_orders,
        };
        let (measurements, floor) = measured?;
        let text = table::text(&conditions, &measurements, &floor);
        println!("{text}");
        self.write("cost.md", &text)?;
        let page = Document {
            title: "What each strategy costs",
            verdict: None,
            charts: table::charts(&conditions, &measurements),
            markdown: &text,
            origin: origin.end(),
        };
        page.write(&self.folder.join("cost.html")).context("cost.html cannot be written")?;
        if let Some((strategy, curve)) = curve? {
            let text = overload::text(strategy, self.lasting, self.stack_config.payment, &curve);
            println!("{text}");
            self.write("overload.md", &text)?;
            self.write("overload.svg", &overload::chart(&curve))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let file = self.folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
    }

    /// The overload curve of `redlock-fenced`, or of the first strategy that was chosen. `None` after an interrupt.
    async fn overload(
        &self,
        stack: &Stack,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<(Strategy, Vec<overload::Answers>)>> {
        let chosen = self.strategies.iter().find(|strategy| **strategy == Strategy::RedlockFenced);
        let Some(&strategy) = chosen.or(self.strategies.first()) else { return Ok(None) };
        let environment = Environment::own_stack(stack, &self.folder).await?;
        let (mut meter, mut curve) = (Meter::new(stack, &environment)?, Vec::new());
        for (number, connections) in overload::loads(self.connections).enumerate() {
            if interrupt.by().is_some() {
                return Ok(None);
            }
            let load = overload::load(connections, self.lasting);
            let file = format!("history-overload-{number}.jsonl");
            let sale = Sale::open(&environment, strategy, &format!("o{number}"), &load.stocks(self.seed), file).await?;
            let attack = self.attack(&environment, &sale, &load, 1, interrupt)?;
            let (from, begins) = (sale.history.now() + overload::WARM_UP, Instant::now() + overload::WARM_UP);
            let metered = meter.between(begins, begins + self.lasting);
            let ((), usage) = tokio::join!(attack.closed_once_until(connections, begins + self.lasting), metered);
            let operations = sale.history.finish().with_context(|| format!("{} cannot be written", sale.file))?;
            let answers = overload::Answers::of(connections, &operations, usage?, from, self.lasting);
            eprintln!("overload, {connections} connections: {answers:?}");
            curve.push(answers);
        }
        Ok(Some((strategy, curve)))
    }

    fn attack(
        &self,
        environment: &Environment<'_>,
        sale: &Sale,
        load: &Load,
        lines: u64,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Attack> {
        let workload = Workload { lines: usize::try_from(lines)?, ..sale.workload(&load.demand(self.seed)) };
        let limit = self.stack_config.answer_limit();
        Attack::new(&environment.target.orders, vec![workload], limit, Arc::new(DuplicateMode::default()), interrupt)
    }

    async fn measure_all(
        &self,
        stack: &Stack,
        interrupt: &Interrupt,
    ) -> anyhow::Result<(Vec<Measurement>, Vec<FloorFigures>)> {
        let points = Point::all();
        let total = points.len() * self.runs * self.strategies.len();
        let (began, mut measurements, mut floors) = (Instant::now(), Vec::new(), Vec::new());
        let floor = Floor::prepare(stack).await?;
        for point in points {
            let environment = Environment::own_stack(stack, &self.folder).await?;
            let mut meter = Meter::new(stack, &environment)?;
            for run in 1..=self.runs {
                for &strategy in &self.strategies {
                    if interrupt.by().is_some() {
                        return Ok((measurements, floors));
                    }
                    let figures = self.measure(&environment, &mut meter, point, strategy, run, interrupt).await?;
                    if interrupt.by().is_none() {
                        measurements.push(Measurement { point, strategy, figures });
                        let done = measurements.len();
                        let left = (began.elapsed() * count(total - done) / count(done)).as_secs();
                        eprintln!("{point}, {strategy}: {figures} ({done} of {total}, about {left} s left)");
                    }
                }
                if SKU_COUNTS.contains(&point) {
                    let figures = floor.measure(&mut meter, point.skus, self.lasting).await?;
                    eprintln!("{}, floor: {figures}", counted(point.skus, "SKU"));
                    floors.push(figures);
                }
            }
        }
        Ok((measurements, floors))
    }

    async fn measure(
        &self,
        environment: &Environment<'_>,
        meter: &mut Meter<'_>,
        point: Point,
        strategy: Strategy,
        run: usize,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Figures> {
        let load = point.load(self.lasting);
        // Every run has its own keys: under the keys of an earlier run customers would receive its answers.
        let name = format!("{strategy}-{run}");
        let sold_out = if point.sold_out { "-sold-out" } else { "" };
        let file = format!("history-{}-{}-{}{sold_out}-{name}.jsonl", point.users, point.skus, point.lines);
        let sale = Sale::open(environment, strategy, &name, &load.stocks(self.seed), file).await?;
        let attack = self.attack(environment, &sale, &load, point.lines, interrupt)?;
        let from = sale.history.now() + WARM_UP;
        let begins = Instant::now() + WARM_UP;
        let metered = meter.between(begins, begins + self.lasting);
        let ((), usage) = tokio::join!(attack.closed_until(point.users, begins + self.lasting), metered);
        let operations = sale.history.finish().with_context(|| format!("{} cannot be written", sale.file))?;
        let exhausted = operations.len() as u64 == load.attempts();
        anyhow::ensure!(!exhausted, "{} orders are too few for {strategy} at {point}", load.attempts());
        Ok(Figures::of(&operations, point.outcome(), usage?, from, self.lasting))
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
