//! One minute of a soak: a sale on fresh SKUs, random faults one after the other, the audit.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use strum::VariantArray as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::plan::SoakPlan;
use super::report::{Defect, SoakMinute};
use crate::audit::{self, Evidence, Quiescence, RefusalStep, Scope, oversold, wait_until_quiescent};
use crate::faults::{Fault, FaultContext, FaultEvent, FaultTarget, Injection, Pace};
use crate::interrupt::Interrupt;
use crate::runner::environment::Environment;
use crate::runner::sale::Sale;
use crate::scenario::load::Load;
use crate::workload::{Attack, DuplicateMode};

/// Duration of the sale; the rest of the minute is for quiescence and the audit.
const SALE: Duration = Duration::from_secs(50);
/// More orders than any machine answers in one sale.
const MOST_ORDERS: u64 = 40_000;
/// With the skew below: a few SKUs in high demand, many in low demand.
const SKUS: u64 = 30;
const SKEW: f64 = 0.8;
/// Units over all SKUs: those in high demand sell out, the others do not, so that every fault meets orders that succeed.
const STOCK: u64 = 12_000;
/// Milliseconds between two faults.
const PAUSE_MS: std::ops::Range<u64> = 500..6_000;
/// How long customers send every order twice.
const DUPLICATES_FOR: Duration = Duration::from_secs(1);

/// One minute of a soak.
pub(super) struct Round<'a> {
    pub(super) environment: &'a Environment<'a>,
    pub(super) plan: &'a SoakPlan,
    pub(super) number: u64,
    pub(super) interrupt: &'a Interrupt,
}

impl Round<'_> {
    pub(super) async fn run(&self) -> anyhow::Result<SoakMinute> {
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
        let end = Instant::now() + SALE;
        let (ended, over) = watch::channel(false);
        let targets = [sale.fault_target()];
        let selling = async {
            attack.closed_until(plan.users, end).await;
            ended.send_replace(true);
        };
        let injecting = self.inject_until(end, seed, &targets, &duplicates, over);
        let ((), events) = tokio::join!(selling, injecting);
        environment.restore();
        self.audit(&sale, events).await
    }

    /// Injects one fault after the other until the sale is over.
    async fn inject_until(
        &self,
        end: Instant,
        seed: u64,
        targets: &[FaultTarget],
        duplicates: &DuplicateMode,
        over: watch::Receiver<bool>,
    ) -> Vec<(Fault, FaultEvent)> {
        let mut random = StdRng::seed_from_u64(seed);
        let faults = &Fault::VARIANTS[1..];
        let mut events = Vec::new();
        let mut number = random.random_range(0..6);
        while Instant::now() < end && !*over.borrow() {
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
            events.extend(self.inject(fault, injection, targets, duplicates, over.clone()).await);
        }
        events
    }

    /// Injects a fault once. An injection that fails is reported and not counted.
    async fn inject(
        &self,
        fault: Fault,
        injection: Injection,
        targets: &[FaultTarget],
        duplicates: &DuplicateMode,
        over: watch::Receiver<bool>,
    ) -> Vec<(Fault, FaultEvent)> {
        let (ended, fault_over) = watch::channel(false);
        // The injection ends with the sale; duplicate requests, which would last as long, end earlier.
        let end_injection = async {
            let mut over = over.clone();
            let sale_over = over.wait_for(|over| *over);
            tokio::select! {
                _ = sale_over => {}
                () = sleep(DUPLICATES_FOR), if fault == Fault::DuplicateRequests => {}
            }
            ended.send_replace(true);
            std::future::pending::<Infallible>().await
        };
        let Self { environment, plan, .. } = *self;
        let context = FaultContext {
            targets,
            lease: plan.stack_config.lease,
            wait: plan.stack_config.wait,
            inventory: &environment.inventory,
            orders: &environment.orders,
            processes: &environment.processes,
            servers: environment.servers,
            postgres: &environment.target.postgres.order,
            auditor: &environment.auditor,
            duplicates,
            over: fault_over,
            pace: Pace::Clock(Instant::now(), Duration::ZERO),
            injections: vec![injection],
        };
        let events = tokio::select! {
            events = fault.inject(&context) => events,
            never = end_injection => match never {},
        };
        environment.restore();
        match events {
            Ok(events) => events.into_iter().map(|event| (fault, event)).collect(),
            Err(error) => {
                eprintln!("{fault} could not be injected: {error:#}");
                Vec::new()
            }
        }
    }

    async fn audit(&self, sale: &Sale, events: Vec<(Fault, FaultEvent)>) -> anyhow::Result<SoakMinute> {
        let Self { environment, plan, number, .. } = *self;
        let settles = 2 * plan.stack_config.wait + 6 * plan.stack_config.lease + Duration::from_secs(30);
        let quiescence = wait_until_quiescent(&environment.auditor, Some(&environment.inventory), settles).await?;
        let snapshot = environment.auditor.read(&Scope::Skus(sale.skus.clone())).await?;
        let operations = sale.history.finish()?;
        let findings = audit::audit(&Evidence { snapshot: &snapshot, history: Some(&operations) });
        let violated = findings.violations.into_iter();
        let violated = violated.map(|violation| Defect::Violated { item: violation.item(), violation });
        let undecided = findings.undecided.into_iter();
        let undecided = undecided.map(|undecided| Defect::Undecided { item: undecided.item(), undecided });
        let mut defects: Vec<_> = violated.chain(undecided).collect();
        if let Quiescence::NotReached(unsettled) = quiescence {
            defects.push(Defect::Unsettled(unsettled));
        }
        if defects.is_empty() {
            // A history is kept only with a defect.
            std::fs::remove_file(environment.folder.join(&sale.file))?;
        }
        let tally = *sale.history.tally().borrow();
        Ok(SoakMinute {
            number,
            orders: operations.len(),
            accepted: tally.accepted,
            tried_again: tally.tried_again,
            unexplained: tally.unexplained + tally.silence,
            oversold: oversold::units(&snapshot.ledger),
            stale_claims_refused: snapshot.refused_at(RefusalStep::Claim).count(),
            stale_writes_refused: snapshot.refused_at(RefusalStep::Write).count(),
            events,
            defects,
            history: sale.file.clone(),
        })
    }
}
