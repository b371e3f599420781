//! One minute of a soak: a sale on fresh SKUs, random faults one after the other, the audit.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use strum::VariantArray as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::SoakPlan;
use super::report::SoakInterval;
use crate::audit::oversold;
use crate::audit::{self, Evidence, Quiescence, Scope, wait_until_quiescent};
use crate::faults::Injection;
use crate::faults::{Fault, FaultContext, FaultEvent, FaultTarget, Pace};
use crate::interrupt::Interrupt;
use crate::runner::environment::Environment;
use crate::runner::sale::Sale;
use crate::scenario::load::Load;
use crate::workload::{Attack, DuplicateMode};

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
    pub(super) environment: &'a Environment<'a>,
    pub(super) plan: &'a SoakPlan,
    pub(super) number: u64,
    pub(super) interrupt: &'a Interrupt,
}

impl Round<'_> {
    pub(super) async fn run(&self) -> anyhow::Result<SoakInterval> {
        let Self { environment, plan, number, interrupt } = *self;
        let seed = plan.seed.wrapping_add(number << 20);
        let load =
            Load { users: plan.users, iterations: MOST_ORDERS / plan.users, skus: SKUS, stock: STOCK, skew: SKEW };
        let file = format!("history-{number}.jsonl");
        let even = vec![STOCK / SKUS; usize::try_from(SKUS)?];
        let sale = Sale::open(environment, plan.strategy, &number.to_string(), &even, file).await?;
        let workload = sale.workload(&load.demand(seed));
        let duplicates = Arc::new(DuplicateMode::default());
        let limit = plan.stack_config.answer_limit();
        let attack =
            Attack::new(&environment.target.orders, vec![workload], limit, Arc::clone(&duplicates), interrupt)?;
        let until = Instant::now() + SALE;
        let (ended, over) = watch::channel(false);
        let workloads = [sale.fault_target()];
        let selling = async {
            attack.closed_until(plan.users, until).await;
            ended.send_replace(true);
        };
        let breaking = self.break_things(seed, &workloads, &duplicates, until, over);
        let ((), events) = tokio::join!(selling, breaking);
        environment.restore();
        self.audit(&sale, events).await
    }

    /// One fault after the other until the sale is over. A strike that could not be made is told, and not counted.
    async fn break_things(
        &self,
        seed: u64,
        workloads: &[FaultTarget],
        duplicates: &DuplicateMode,
        until: Instant,
        over: watch::Receiver<bool>,
    ) -> Vec<(Fault, FaultEvent)> {
        let mut random = StdRng::seed_from_u64(seed);
        let faults = &Fault::VARIANTS[1..];
        let mut events = Vec::new();
        let mut number = random.random_range(0..6);
        while Instant::now() < until && !*over.borrow() {
            let fault = faults[random.random_range(0..faults.len())];
            let pause = Duration::from_millis(random.random_range(PAUSE_MS));
            let injection = Injection {
                number,
                after: 0.0,
                replica: random.random_range(0..1 << 16),
                sku: random.random_range(0..1 << 16),
            };
            number += 1;
            sleep(pause).await;
            events.extend(self.inject(fault, injection, workloads, duplicates, over.clone()).await);
        }
        events
    }

    async fn inject(
        &self,
        fault: Fault,
        injection: Injection,
        workloads: &[FaultTarget],
        duplicates: &DuplicateMode,
        over: watch::Receiver<bool>,
    ) -> Vec<(Fault, FaultEvent)> {
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
        let Self { environment, plan, .. } = *self;
        let context = FaultContext {
            targets: workloads,
            lease: plan.stack_config.lease,
            inventory: &environment.inventory,
            orders: &environment.orders,
            processes: &environment.processes,
            servers: environment.servers,
            postgres: &environment.target.postgres.order,
            auditor: &environment.auditor,
            duplicates,
            over: had_enough,
            pace: Pace::Clock(Instant::now(), Duration::ZERO),
            injections: vec![injection],
        };
        let events = tokio::select! {
            events = fault.inject(&context) => events,
            () = over_or_enough => unreachable!("it is pending in the end"),
        };
        environment.restore();
        match events {
            Ok(events) => events.into_iter().map(|events| (fault, events)).collect(),
            Err(error) => {
                eprintln!("{fault} could not injection: {error:#}");
                Vec::new()
            }
        }
    }

    async fn audit(&self, sale: &Sale, events: Vec<(Fault, FaultEvent)>) -> anyhow::Result<SoakInterval> {
        let Self { environment, plan, number, .. } = *self;
        let settles = 2 * plan.stack_config.wait + 6 * plan.stack_config.lease + Duration::from_secs(30);
        let quiescence = wait_until_quiescent(&environment.auditor, Some(&environment.inventory), settles).await?;
        let snapshot = environment.auditor.read(&Scope::Skus(sale.skus.clone())).await?;
        let operations = sale.history.finish()?;
        let found = audit::audit(&Evidence { snapshot: &snapshot, history: Some(&operations) });
        let told = found.violations.iter().chain(&found.unknown);
        let mut violations: Vec<String> = told.map(ToString::to_string).collect();
        if let Quiescence::NotReached(what) = quiescence {
            violations.push(format!("it did not come to rest: {what}"));
        }
        if violations.is_empty() {
            // Kept only where it shows something.
            std::fs::remove_file(environment.folder.join(&sale.file))?;
        }
        let tally = *sale.history.tally().borrow();
        Ok(SoakInterval {
            number,
            orders: operations.len(),
            accepted: tally.accepted,
            tried_again: tally.tried_again,
            unexplained: tally.unexplained + tally.silence,
            oversold: oversold::units(&snapshot.ledger),
            stale_claims_refused: snapshot.refused_at("claim").count(),
            stale_writes_refused: snapshot.refused_at("write").count(),
            events,
            violations,
            history: sale.file.clone(),
        })
    }
}
