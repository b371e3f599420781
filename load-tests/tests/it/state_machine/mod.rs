//! Random lifecycles of orders against the real stack: placed, placed again under the same key, confirmed, cancelled, left
//! to expire, while stock is changed and replicas of both services are killed. Afterwards the audit passes, and no answer
//! contradicts the databases.
//!
//! `HOLDFAST_STATE_OPS` sets the number of operations, `HOLDFAST_STATE_SEED` repeats them: the seed decides the steps of
//! each client and their order, not how the steps of different clients interleave. A failing run is repeated with fewer
//! operations; the failure names the smallest number that still showed it.

mod world;

use std::collections::HashMap;
use std::time::Duration;

use contract::Strategy;
use load_tests::audit::{Auditor, DbSnapshot, Evidence, Quiescence, Scope, audit, wait_until_quiescent};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use self::world::{Reply, World};

const CLIENTS: usize = 16;
const OPERATIONS: usize = 10_000;
/// One replica is killed after every so many operations.
const OPERATIONS_PER_CRASH: usize = 400;
/// A failing run is not repeated with fewer operations than this.
const FEWEST_OPERATIONS: usize = 200;
const SKUS: [&str; 5] = ["chair", "table", "lamp", "rug", "sofa"];
/// Strategies that may be mixed on one SKU: tokens of one source, and checks by the database alone.
const STRATEGIES: [Strategy; 6] = [
    Strategy::RedlockFenced,
    Strategy::RedlockFenced,
    Strategy::RedlockFenced,
    Strategy::Optimistic,
    Strategy::RowLock,
    Strategy::Atomic,
];
const QUIESCENT_WITHIN: Duration = Duration::from_mins(2);

/// One order: its idempotency key, what was requested under it, and every answer.
struct OrderLife {
    key: String,
    body: Value,
    strategy: Strategy,
    /// The answers to each attempt to place it; `None` is silence.
    placed: Vec<Option<Reply>>,
    /// `confirm` or `cancel`, for each that succeeded.
    completed: Vec<&'static str>,
}

impl OrderLife {
    fn order_id(&self) -> Option<Uuid> {
        let held = self.placed.iter().flatten().find(|reply| reply.status == 201)?;
        held.body["id"].as_str()?.parse().ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_and_crashes_leave_the_databases_consistent_with_every_answer() {
    let seed = from_environment("HOLDFAST_STATE_SEED").unwrap_or_else(|| rand::rng().random());
    let mut operations =
        from_environment("HOLDFAST_STATE_OPS").map_or(OPERATIONS, |ops| usize::try_from(ops).expect("ops"));
    println!("HOLDFAST_STATE_SEED={seed} HOLDFAST_STATE_OPS={operations}");

    let mut found = run(seed, operations).await;

    if !found.is_empty() {
        while operations / 2 >= FEWEST_OPERATIONS {
            let with_fewer = run(seed, operations / 2).await;
            if with_fewer.is_empty() {
                break;
            }
            (operations, found) = (operations / 2, with_fewer);
        }
    }
    assert!(found.is_empty(), "HOLDFAST_STATE_SEED={seed} HOLDFAST_STATE_OPS={operations}\n{}", found.join("\n"));
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value}")))
}

/// What was wrong afterwards; empty if nothing was.
async fn run(seed: u64, operations: usize) -> Vec<String> {
    let world = World::start().await;
    for sku in SKUS {
        let put = world.put_stock(sku, 50).await.expect("an answer");
        assert_eq!(put.status, 200, "{}", put.body);
    }
    let progress = watch::Sender::new(0_usize);
    let clients = (0..CLIENTS).map(|number| client(&world, seed, number, operations / CLIENTS, &progress));
    let crashing = crashes(&world, seed, operations, progress.subscribe());
    let (lives, crashed) = tokio::join!(futures_util::future::join_all(clients), crashing);

    let lives: Vec<_> = lives.into_iter().flatten().collect();
    let auditor = Auditor::connect(&world.databases).await.expect("the auditor");
    let quiescence = wait_until_quiescent(&auditor, None, QUIESCENT_WITHIN).await.expect("both databases are read");
    if let Quiescence::NotReached(what) = quiescence {
        return vec![format!("the stack did not become quiescent: {what}")];
    }
    let snapshot = auditor.read(&Scope::Everything).await.expect("a snapshot");
    let findings = audit(&Evidence { snapshot: &snapshot, history: None });
    let mut found: Vec<_> = findings.violations.iter().map(ToString::to_string).collect();
    found.extend(contradictions(&lives, &snapshot));
    found.extend(missing_events(&snapshot, crashed, operations));
    found
}

async fn crashes(world: &World, seed: u64, operations: usize, mut progress: watch::Receiver<usize>) -> usize {
    let mut rng = StdRng::seed_from_u64(seed ^ u64::MAX);
    let mut crashed = 0;
    for at in (OPERATIONS_PER_CRASH..operations).step_by(OPERATIONS_PER_CRASH) {
        // Divided among the clients, the last few operations may not exist.
        if progress.wait_for(|done| *done >= at.min(operations / CLIENTS * CLIENTS)).await.is_err() {
            break;
        }
        world.crash(rng.random_range(0..4)).await;
        crashed += 1;
    }
    crashed
}

async fn client(
    world: &World,
    seed: u64,
    number: usize,
    operations: usize,
    progress: &watch::Sender<usize>,
) -> Vec<OrderLife> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(1 + number as u64));
    let mut lives: Vec<OrderLife> = Vec::new();
    for step in 0..operations {
        let (dice, which) = (rng.random_range(0..100), rng.random_range(0..2));
        let earlier = (!lives.is_empty()).then(|| rng.random_range(0..lives.len()));
        match (dice, earlier) {
            (0..10, _) => {
                let sku = SKUS.choose(&mut rng).expect("some");
                world.put_stock(sku, rng.random_range(20..400)).await;
            }
            (10..25, Some(earlier)) => place(world, which, &mut lives[earlier], dice < 15).await,
            (25..40, Some(earlier)) => complete(world, which, &mut lives[earlier], "confirm").await,
            (40..55, Some(earlier)) => complete(world, which, &mut lives[earlier], "cancel").await,
            _ => {
                let mut life = new_life(&mut rng, format!("{number}-{step}"));
                place(world, which, &mut life, false).await;
                lives.push(life);
            }
        }
        progress.send_modify(|done| *done += 1);
    }
    lives
}

fn new_life(rng: &mut StdRng, key: String) -> OrderLife {
    let lines = rng.random_range(1..=3);
    let line = |rng: &mut StdRng| json!({ "sku": SKUS.choose(rng).expect("some"), "quantity": rng.random_range(1..4) });
    let lines: Vec<_> = (0..lines).map(|_| line(rng)).collect();
    let &strategy = STRATEGIES.choose(rng).expect("some");
    let body = json!({ "customer": "ada", "lines": lines });
    OrderLife { key, body, strategy, placed: Vec::new(), completed: Vec::new() }
}

/// Places the order, for the first time or again; `twice` at the same time, at both replicas.
async fn place(world: &World, which: usize, life: &mut OrderLife, twice: bool) {
    let send = |which| {
        world.order(which, "/v1/orders", |request| {
            request.header("idempotency-key", &life.key).header("lock-strategy", life.strategy.name()).json(&life.body)
        })
    };
    if twice {
        let (one, other) = tokio::join!(send(which), send(which + 1));
        life.placed.extend([one, other]);
    } else {
        let reply = send(which).await;
        life.placed.push(reply);
    }
}

async fn complete(world: &World, which: usize, life: &mut OrderLife, verb: &'static str) {
    let Some(id) = life.order_id() else { return };
    let reply = world.order(which, &format!("/v1/orders/{id}/{verb}"), |request| request).await;
    if reply.is_some_and(|reply| reply.status == 200) {
        life.completed.push(verb);
    }
}

/// Where the answers contradict the snapshot.
fn contradictions(lives: &[OrderLife], snapshot: &DbSnapshot) -> Vec<String> {
    let orders: HashMap<_, _> = snapshot.orders.iter().map(|order| (order.idempotency_key.as_str(), order)).collect();
    let mut found = Vec::new();
    for life in lives {
        let order = orders.get(life.key.as_str());
        let rows =
            snapshot.reservations.iter().filter(|row| order.is_some_and(|order| order.id == row.order_id)).count();
        let accepted: Vec<_> = life.placed.iter().flatten().filter(|reply| reply.status == 201).collect();
        let refused = life.placed.iter().all(|reply| reply.as_ref().is_some_and(is_definite_failure));
        if !accepted.is_empty() && rows != 1 {
            found.push(format!("{}: answered 201, but the databases show {rows} reservations", life.key));
        }
        if refused && rows != 0 {
            found.push(format!(
                "{}: answered that nothing was sold, but the databases show {rows} reservations",
                life.key
            ));
        }
        if accepted.windows(2).any(|two| two[0].bytes != two[1].bytes) {
            found.push(format!("{}: two answers under one key differ", life.key));
        }
        let status = order.map_or_else(|| "absent".to_owned(), |order| order.status.to_string());
        for verb in &life.completed {
            let wanted = if *verb == "confirm" { "confirmed" } else { "cancelled" };
            if status != wanted {
                found.push(format!("{}: answered that it is {wanted}, but the databases show {status}", life.key));
            }
        }
        if let Some(unexpected) = life.placed.iter().flatten().find(|reply| reply.status == 500 || reply.status == 422)
        {
            found.push(format!("{}: answered {} {}", life.key, unexpected.status, unexpected.body));
        }
    }
    found
}

/// By the contract nothing was sold.
fn is_definite_failure(reply: &Reply) -> bool {
    match (reply.status, reply.code.as_str()) {
        (409, "idempotency_in_progress") => false,
        (400..=499, _) | (503, "lock_timeout" | "lock_quorum_unavailable") => true,
        _ => false,
    }
}

/// What must happen in a run and did not: a run without it proves nothing.
fn missing_events(snapshot: &DbSnapshot, crashed: usize, operations: usize) -> Vec<String> {
    let with = |status: &str| snapshot.reservations.iter().filter(|row| row.status.name() == status).count();
    let seen = [
        ("held", with("held")),
        ("confirmed", with("confirmed")),
        ("cancelled", with("cancelled")),
        ("expired", with("expired")),
    ];
    println!("reservations: {seen:?}; crashes: {crashed}; stale tokens refused: {}", snapshot.refusals.len());
    let mut found: Vec<_> = seen
        .iter()
        .filter(|(_, count)| *count == 0)
        .map(|(what, _)| format!("void: no reservation was {what}"))
        .collect();
    if crashed == 0 && operations > OPERATIONS_PER_CRASH {
        found.push("void: no replica crashed".to_owned());
    }
    found
}
