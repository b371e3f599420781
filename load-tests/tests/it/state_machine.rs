//! Random lives of orders against the real stack: placed, placed again under the same key, confirmed, cancelled,
//! left to expire, while stock is changed and replicas of both services are killed. Afterwards the auditor finds
//! nothing, and nobody was told what is not so.
//!
//! `HOLDFAST_STATE_OPS` sets how many operations, `HOLDFAST_STATE_SEED` repeats them: who does what in which order is
//! the seed's, how the clients' steps fall between each other is not. A failure is tried again with fewer
//! operations, and told with the fewest that still showed it.

mod world;

use std::collections::HashMap;
use std::time::Duration;

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
const OPERATIONS_A_CRASH: usize = 400;
const FEWEST: usize = 200;
const SKUS: [&str; 5] = ["chair", "table", "lamp", "rug", "desk"];
/// All that may be mixed on one SKU: tokens of one source, and what lets the database decide.
const STRATEGIES: [&str; 6] =
    ["redlock-fenced", "redlock-fenced", "redlock-fenced", "optimistic", "row-lock", "atomic"];
const QUIET_WITHIN: Duration = Duration::from_mins(2);

/// One key, everything that was asked under it, and every answer.
struct Life {
    key: String,
    body: Value,
    strategy: &'static str,
    placed: Vec<Option<Reply>>,
    /// What else the customer was told: `confirm` or `cancel` succeeded.
    concluded: Vec<&'static str>,
}

impl Life {
    fn order_id(&self) -> Option<Uuid> {
        let held = self.placed.iter().flatten().find(|reply| reply.status == 201)?;
        held.body["id"].as_str()?.parse().ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_in_whatever_order_the_books_are_right() {
    let seed = from_environment("HOLDFAST_STATE_SEED").unwrap_or_else(|| rand::rng().random());
    let mut operations =
        from_environment("HOLDFAST_STATE_OPS").map_or(OPERATIONS, |ops| usize::try_from(ops).expect("ops"));
    println!("HOLDFAST_STATE_SEED={seed} HOLDFAST_STATE_OPS={operations}");

    let mut found = run(seed, operations).await;

    if !found.is_empty() {
        while operations / 2 >= FEWEST {
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

/// What was wrong afterwards.
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
    let quiescence = wait_until_quiescent(&auditor, None, QUIET_WITHIN).await.expect("a look");
    if let Quiescence::NotReached(what) = quiescence {
        return vec![format!("it never became quiescence: {what}")];
    }
    let snapshot = auditor.read(&Scope::Everything).await.expect("the snapshot");
    let findings = audit(&Evidence { snapshot: &snapshot, history: None });
    let mut found: Vec<_> = findings.violations.iter().map(ToString::to_string).collect();
    found.extend(lies(&lives, &snapshot));
    found.extend(nothing_happened(&snapshot, crashed, operations));
    found
}

async fn crashes(world: &World, seed: u64, operations: usize, mut progress: watch::Receiver<usize>) -> usize {
    let mut rng = StdRng::seed_from_u64(seed ^ u64::MAX);
    let mut crashed = 0;
    for at in (OPERATIONS_A_CRASH..operations).step_by(OPERATIONS_A_CRASH) {
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
) -> Vec<Life> {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(1 + number as u64));
    let mut lives: Vec<Life> = Vec::new();
    for step in 0..operations {
        let (dice, which) = (rng.random_range(0..100), rng.random_range(0..2));
        let earlier = (!lives.is_empty()).then(|| rng.random_range(0..lives.len()));
        match (dice, earlier) {
            (0..10, _) => {
                let sku = SKUS.choose(&mut rng).expect("some");
                world.put_stock(sku, rng.random_range(20..400)).await;
            }
            (10..25, Some(earlier)) => again(world, which, &mut lives[earlier], dice < 15).await,
            (25..40, Some(earlier)) => conclude(world, which, &mut lives[earlier], "confirm").await,
            (40..55, Some(earlier)) => conclude(world, which, &mut lives[earlier], "cancel").await,
            _ => {
                let mut life = new_life(&mut rng, format!("{number}-{step}"));
                again(world, which, &mut life, false).await;
                lives.push(life);
            }
        }
        progress.send_modify(|done| *done += 1);
    }
    lives
}

fn new_life(rng: &mut StdRng, key: String) -> Life {
    let lines = rng.random_range(1..=3);
    let line = |rng: &mut StdRng| json!({ "sku": SKUS.choose(rng).expect("some"), "quantity": rng.random_range(1..4) });
    let lines: Vec<_> = (0..lines).map(|_| line(rng)).collect();
    let strategy = STRATEGIES.choose(rng).expect("some");
    let body = json!({ "customer": "ada", "lines": lines });
    Life { key, body, strategy, placed: Vec::new(), concluded: Vec::new() }
}

/// Places the order, for the first time or again; twice at once, if so wished.
async fn again(world: &World, which: usize, life: &mut Life, twice: bool) {
    let place = |which| {
        world.order(which, "/v1/orders", |request| {
            request.header("idempotency-key", &life.key).header("lock-strategy", life.strategy).json(&life.body)
        })
    };
    if twice {
        let (one, other) = tokio::join!(place(which), place(which + 1));
        life.placed.extend([one, other]);
    } else {
        let reply = place(which).await;
        life.placed.push(reply);
    }
}

async fn conclude(world: &World, which: usize, life: &mut Life, verb: &'static str) {
    let Some(id) = life.order_id() else { return };
    let reply = world.order(which, &format!("/v1/orders/{id}/{verb}"), |request| request).await;
    if reply.is_some_and(|reply| reply.status == 200) {
        life.concluded.push(verb);
    }
}

/// What customers were told against what the snapshot show.
fn lies(lives: &[Life], snapshot: &DbSnapshot) -> Vec<String> {
    let orders: HashMap<_, _> = snapshot.orders.iter().map(|order| (order.idempotency_key.as_str(), order)).collect();
    let mut found = Vec::new();
    for life in lives {
        let order = orders.get(life.key.as_str());
        let rows =
            snapshot.reservations.iter().filter(|row| order.is_some_and(|order| order.id == row.order_id)).count();
        let yes: Vec<_> = life.placed.iter().flatten().filter(|reply| reply.status == 201).collect();
        let never = life.placed.iter().all(|reply| reply.as_ref().is_some_and(definitely_nothing));
        if !yes.is_empty() && rows != 1 {
            found.push(format!("{}: told that it is held, the snapshot show {rows} reservations", life.key));
        }
        if never && rows != 0 {
            found.push(format!("{}: told that nothing was sold, the snapshot show {rows} reservations", life.key));
        }
        if yes.windows(2).any(|two| two[0].bytes != two[1].bytes) {
            found.push(format!("{}: two answers under one key differ", life.key));
        }
        let status = order.map_or_else(|| "absent".to_owned(), |order| order.status.to_string());
        for verb in &life.concluded {
            let wanted = if *verb == "confirm" { "confirmed" } else { "cancelled" };
            if status != wanted {
                found.push(format!("{}: told that it is {wanted}, the snapshot say {status}", life.key));
            }
        }
        if let Some(odd) = life.placed.iter().flatten().find(|reply| reply.status == 500 || reply.status == 422) {
            found.push(format!("{}: answered {} {}", life.key, odd.status, odd.body));
        }
    }
    found
}

/// The contract's definite failures.
fn definitely_nothing(reply: &Reply) -> bool {
    match (reply.status, reply.code.as_str()) {
        (409, "idempotency_in_progress") => false,
        (400..=499, _) | (503, "lock_timeout" | "lock_quorum_unavailable") => true,
        _ => false,
    }
}

/// A run in which nothing happened proves nothing.
fn nothing_happened(snapshot: &DbSnapshot, crashed: usize, operations: usize) -> Vec<String> {
    let with = |status: &str| snapshot.reservations.iter().filter(|row| row.status.name() == status).count();
    let seen = [
        ("held", with("held")),
        ("confirmed", with("confirmed")),
        ("cancelled", with("cancelled")),
        ("expired", with("expired")),
    ];
    println!("reservations: {seen:?}; crashes: {crashed}; stale tokens refused: {}", snapshot.refusals.len());
    let mut found: Vec<_> =
        seen.iter().filter(|(_, count)| *count == 0).map(|(what, _)| format!("void: nothing was {what}")).collect();
    if crashed == 0 && operations > OPERATIONS_A_CRASH {
        found.push("void: nothing crashed".to_owned());
    }
    found
}
