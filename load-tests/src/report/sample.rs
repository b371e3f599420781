//! A report like that of a real run, for tests of its forms.

use contract::{ProblemCode, Strategy};
use time::OffsetDateTime;

use super::close_up::{CloseUp, OrderSpan, Write};
use super::model::{AuditReport, Latency, LockWait, Machine, Origin, Report, RunReport};
use super::timeline::{LatencyAt, LatencyBucket, LostWrite, Moment, Refused, Timeline};
use super::verdict::judge;
use crate::audit::{RefusalStep, Violation};
use crate::cluster::config::StackConfig;
use crate::cluster::lab_client::WriteOutcome;
use crate::faults::{EventOutcome, Fault, FaultEvent};
use crate::scenario::load::{Arrivals, Load};
use crate::scenario::plan::{Cell, Plan};

/// Units in stock in every row.
const STOCK: i64 = 100;

/// The rows of the demo and two more: enough for a matrix with a field that was not run.
pub(super) fn report() -> Report {
    let more = [(Strategy::Off, Fault::PauseInventory), (Strategy::RedlockFenced, Fault::PauseOrder)];
    let rows = crate::scenario::plan::STORY.iter().map(|row| (row.strategy, row.fault)).chain(more);
    let runs: Vec<_> = rows.map(|(strategy, fault)| run(strategy, fault)).collect();
    let cell = |run: &RunReport| Cell {
        fault: run.fault,
        strategies: vec![run.strategy],
        arrivals: Arrivals::Closed,
        injections: 3,
    };
    let plan = Plan { cells: runs.iter().map(cell).collect(), ..plan() };
    let verdict = judge(&runs, None);
    let machine = Machine { cpus: 4, os: "Linux, x86_64".into() };
    let origin = Origin {
        command: "oversell run --seed 21".into(),
        commit: Some("0123456789".into()),
        load_average: Some([0.5, 1.9]),
    };
    Report { machine, origin, ..Report::new(&plan, OffsetDateTime::UNIX_EPOCH, runs, verdict) }
}

/// A plan without a cell.
pub(crate) fn plan() -> Plan {
    let ms = std::time::Duration::from_millis;
    Plan {
        cells: Vec::new(),
        load: Load { users: 16, iterations: 25, skus: 2, stock: 100, skew: 0.0 },
        stack_config: StackConfig {
            redis_nodes: 5,
            replicas: 2,
            lease: ms(600),
            wait: ms(10_000),
            payment: ms(2),
            proxied: false,
            etcd: false,
            zookeeper: false,
        },
        left_out: Vec::new(),
        seed: 7,
    }
}

/// One row as theory predicts it.
pub(crate) fn run(strategy: Strategy, fault: Fault) -> RunReport {
    let oversold = match (strategy, fault) {
        (Strategy::Off, _) => 300,
        (Strategy::Redlock, Fault::PauseInventory) => 4,
        _ => 0,
    };
    let fault_events = if fault == Fault::None { Vec::new() } else { (1..=3).map(fault_event).collect() };
    let refused = if strategy.claims() && fault.spec().makes_writes_stale { fault_events.len() } else { 0 };
    let exceeded = Violation::LiveUnitsExceedStock { sku: "<a> & b".into(), live: 400, on_hand: 100 };
    let violations = if oversold > 0 { vec![exceeded] } else { Vec::new() };
    RunReport {
        strategy,
        fault,
        initial_stock: 100,
        attempts: 400,
        accepted: 100,
        units_sold: STOCK + oversold,
        stock_left: 0,
        units_oversold: oversold.unsigned_abs(),
        lost_updates: usize::try_from(oversold).expect("few"),
        sold_out: 300,
        lock_timeouts: 0,
        unavailable: 0,
        overloaded: 0,
        stale_claims_refused: 0,
        stale_writes_refused: refused,
        payments_voided: refused,
        unexplained_errors: 0,
        faults_fired: fault_events.len(),
        duration_seconds: 8.0,
        orders_per_second: 50.0,
        latency_ms: Latency { p50: 12.0, p95: 40.0, p99: 80.0, max: 900.0 },
        lock_wait_ms: LockWait { p50: 3.0, p99: 30.0 },
        audit: AuditReport { passed: violations.is_empty(), violations, undecided: Vec::new() },
        attempts_planned: 400,
        skus: 2,
        skus_sold_out: 2,
        paused_writes_refused: refused,
        payment_ms: 2,
        tried_again: 0,
        tried_again_unavailable: 0,
        tried_again_overloaded: 0,
        repetition: 1,
        unsettled: None,
        fault_events,
        close_up: (fault == Fault::PauseInventory).then(|| close_up(oversold > 0)),
        timeline: timeline(oversold, refused),
        history: String::new(),
    }
}

fn fault_event(number: u64) -> FaultEvent {
    let refused = WriteOutcome::Refused(ProblemCode::StaleFencingToken);
    let from_ms = u128::from(number) * 2_000;
    let replica = format!("inventory-{}", number % 2 + 1);
    FaultEvent { replica, ..paused_write(from_ms, from_ms + 700, refused) }
}

/// A pause of a stale write of the SKU `a` that fired.
pub(crate) fn paused_write(from_ms: u128, to_ms: u128, ended: WriteOutcome) -> FaultEvent {
    FaultEvent {
        strategy: None,
        replica: "inventory-1".into(),
        sku: "a".into(),
        from_ms,
        to_ms,
        fired: true,
        outcome: EventOutcome::PausedWrite { ended: Some(ended), stale: true },
        order_id: None,
        fencing_token: None,
    }
}

/// A pause in which another order sold; the late write was accepted, or refused.
fn close_up(accepted: bool) -> CloseUp {
    let order = |number: u32, status| OrderSpan {
        span_ms: (1_950.0 + 70.0 * f64::from(number), 2_300.0 + 75.0 * f64::from(number)),
        status,
        paused: number == 0,
    };
    let write = |at_ms, units, lost| Write { at_ms, units, lost, paused: lost };
    let late = accepted.then(|| write(2_702.0, (7, 6), true));
    CloseUp {
        replica: "inventory-1".into(),
        paused_ms: (2_000.0, 2_700.0),
        token: (!accepted).then_some(33),
        outcome: if accepted { "written".into() } else { "stale_fencing_token".into() },
        orders: (0..6)
            .map(|number| order(number, [Some(201), Some(201), Some(409), None][number as usize % 4]))
            .collect(),
        writes: [write(2_410.0, (7, 6), false), write(2_550.0, (6, 5), false)].into_iter().chain(late).collect(),
        refused_ms: if accepted { Vec::new() } else { vec![2_702.0] },
    }
}

fn timeline(oversold: i64, refused: usize) -> Timeline {
    let moment = |number: u64| {
        let share = i64::try_from(number).expect("few");
        let sold = (STOCK * share / 70).min(STOCK + oversold * share / 100);
        Moment {
            at_ms: number * 80,
            sold: if oversold > STOCK { (STOCK + oversold) * share / 100 } else { sold.max(share.min(STOCK)) },
            oversold: if oversold > STOCK {
                ((STOCK + oversold) * share / 100 - STOCK).max(0)
            } else {
                (oversold * (share - 75) / 25).max(0)
            },
            answered: usize::try_from(number * number / 25).expect("few"),
        }
    };
    let refused = (1..=refused as u64).map(|number| Refused { at_ms: number * 2_000 + 720, step: RefusalStep::Write });
    let latency = [(Some(5.0), 40), (Some(7.0), 120), (Some(10.0), 150), (Some(20.0), 60), (Some(30.0), 25), (None, 5)];
    let lost = |number: u64| LostWrite { at_ms: number * 2_000 + 702, paused_from_ms: Some(number * 2_000) };
    Timeline {
        lost_updates: if oversold > 0 && oversold < STOCK { (1..=3).map(lost).collect() } else { Vec::new() },
        moments: (0..=100).map(moment).collect(),
        refused: refused.collect(),
        latency: latency.into_iter().map(|(within_ms, count)| LatencyBucket { within_ms, count }).collect(),
        latency_over_time: (0..30_u32)
            .map(|at| LatencyAt { at_ms: u64::from(at) * 267 + 133, p50: 8.0, p99: f64::from(20 + at * 3) })
            .collect(),
    }
}
