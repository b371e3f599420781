//! One minute of a soak: a sale on fresh SKUs, random faults one after the other, the audit.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::SoakPlan;
use super::report::Minute;
use crate::audit::oversold;
use crate::audit::{self, Evidence, Quiet, Scope, until_quiet};
use crate::faults::{Fault, Field, LaneField, Pace, Struck};
use crate::interrupt::Interrupt;
use crate::runner::environment::Ground;
use crate::runner::sale::Sale;
use crate::scenario::plan::{Load, Strike, answer_limit};
use crate::workload::{Attack, Mischief};

/// The rest of the minute is for coming to rest and for the audit.
const SALE: Duration = Duration::from_secs(50);
/// So many orders could be asked for in one sale; no machine comes that far.
const MOST_ORDERS: u64 = 40_000;
/// A few SKUs that everybody wants, and many that somebody does.
const SKUS: u64 = 30;
const SKEW: f64 = 0.8;
/// Units of all SKUs: the wanted ones sell out, the others last, so that every fault meets orders that sell.
const STOCK: u64 = 12_000;
/// Between two faults.
const PAUSE_MS: std::ops::Range<u64> = 500..6_000;
/// How long customers send everything twice.
const MISCHIEF: Duration = Duration::from_secs(1);

pub(super) struct Round<'a> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) plan: &'a SoakPlan,
    pub(super) number: u64,
    pub(super) interrupt: &'a Interrupt,
}

impl Round<'_> {
    pub(super) async fn run(&self) -> anyhow::Result<Minute> {
        let Self { ground, plan, number, interrupt } = *self;
        let seed = plan.seed.wrapping_add(number << 20);
        let load =
            Load { users: plan.users, iterations: MOST_ORDERS / plan.users, skus: SKUS, stock: STOCK, skew: SKEW };
        let file = format!("history-{number}.jsonl");
        let even = vec![STOCK / SKUS; usize::try_from(SKUS)?];
        let sale = Sale::open(ground, plan.strategy, &number.to_string(), &even, file).await?;
        let lane = sale.lane(&load.demand(seed));
        let mischief = Arc::new(Mischief::default());
        let limit = answer_limit(&plan.shape);
        let attack = Attack::new(&ground.target.orders, vec![lane], limit, Arc::clone(&mischief), interrupt)?;
        let until = Instant::now() + SALE;
        let (ended, over) = watch::channel(false);
        let lanes = [sale.field()];
        let selling = async {
            attack.crowd(plan.users, until).await;
            ended.send_replace(true);
        };
        let breaking = self.break_things(seed, &lanes, &mischief, until, over);
        let ((), struck) = tokio::join!(selling, breaking);
        ground.mend();
        self.audit(&sale, struck).await
    }

    /// One fault after the other until the sale is over. A strike that could not be made is told, and not counted.
    async fn break_things(
        &self,
        seed: u64,
        lanes: &[LaneField],
        mischief: &Mischief,
        until: Instant,
        over: watch::Receiver<bool>,
    ) -> Vec<(Fault, Struck)> {
        let mut random = StdRng::seed_from_u64(seed);
        let faults = &Fault::value_variants()[1..];
        let mut struck = Vec::new();
        let mut number = random.random_range(0..6);
        while Instant::now() < until && !*over.borrow() {
            let fault = faults[random.random_range(0..faults.len())];
            let pause = Duration::from_millis(random.random_range(PAUSE_MS));
            let strike = Strike {
                number,
                after: 0.0,
                replica: random.random_range(0..1 << 16),
                sku: random.random_range(0..1 << 16),
            };
            number += 1;
            sleep(pause).await;
            struck.extend(self.strike(fault, strike, lanes, mischief, over.clone()).await);
        }
        struck
    }

    async fn strike(
        &self,
        fault: Fault,
        strike: Strike,
        lanes: &[LaneField],
        mischief: &Mischief,
        over: watch::Receiver<bool>,
    ) -> Vec<(Fault, Struck)> {
        let (enough, had_enough) = watch::channel(false);
        let over_or_enough = async {
            let mut over = over.clone();
            let sale_over = over.wait_for(|over| *over);
            tokio::select! {
                _ = sale_over => {}
                () = sleep(MISCHIEF), if fault == Fault::DuplicateRequests => {}
            }
            enough.send_replace(true);
            std::future::pending::<()>().await;
        };
        let Self { ground, plan, .. } = *self;
        let field = Field {
            lanes,
            lease: plan.shape.lease,
            inventory: &ground.inventory,
            orders: &ground.orders,
            controls: &ground.controls,
            yard: ground.yard,
            postgres: &ground.target.postgres.order,
            auditor: &ground.auditor,
            mischief,
            over: had_enough,
            pace: Pace::Clock(Instant::now(), Duration::ZERO),
            strikes: vec![strike],
        };
        let struck = tokio::select! {
            struck = fault.strike(&field) => struck,
            () = over_or_enough => unreachable!("it is pending in the end"),
        };
        ground.mend();
        match struck {
            Ok(struck) => struck.into_iter().map(|struck| (fault, struck)).collect(),
            Err(error) => {
                eprintln!("{fault} could not strike: {error:#}");
                Vec::new()
            }
        }
    }

    async fn audit(&self, sale: &Sale, struck: Vec<(Fault, Struck)>) -> anyhow::Result<Minute> {
        let Self { ground, plan, number, .. } = *self;
        let settles = 2 * plan.shape.wait + 6 * plan.shape.lease + Duration::from_secs(30);
        let quiet = until_quiet(&ground.auditor, Some(&ground.inventory), settles).await?;
        let books = ground.auditor.read(&Scope::Skus(sale.skus.clone())).await?;
        let operations = sale.history.finish()?;
        let found = audit::audit(&Evidence { books: &books, history: Some(&operations) });
        let told = found.violations.iter().chain(&found.unknown);
        let mut violations: Vec<String> = told.map(ToString::to_string).collect();
        if let Quiet::No(what) = quiet {
            violations.push(format!("it did not come to rest: {what}"));
        }
        if violations.is_empty() {
            // Kept only where it shows something.
            std::fs::remove_file(ground.folder.join(&sale.file))?;
        }
        let tally = *sale.history.tally().borrow();
        Ok(Minute {
            number,
            orders: operations.len(),
            accepted: tally.accepted,
            tried_again: tally.tried_again,
            unexplained: tally.unexplained + tally.silence,
            oversold: oversold::units(&books.ledger),
            stale_claims_refused: books.refused_at("claim").count(),
            stale_writes_refused: books.refused_at("write").count(),
            struck,
            violations,
            history: sale.file.clone(),
        })
    }
}
