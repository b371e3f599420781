//! What a strategy costs: orders a second and how long one takes, side by side
//! on one machine, on one hot SKU and on many, with and without a payment; and
//! what it brings that orders share a grant.
//!
//! `cargo build --release -p inventory && cargo bench -p order --bench orders`
//!
//! Rows are interleaved, so that whatever else the machine does disturbs all of
//! them alike; a figure is the median of its rounds. Compare ratios, not runs.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use testbed::{Postgres, Process, ProcessSpec, RedisNode};

const USERS: u64 = 64;
const ROUNDS: usize = 3;
const REPLICAS: usize = 2;
const MANY: u64 = 1_000;
/// Never sold out: refusals are quicker than orders.
const STOCK: u64 = 100_000_000;
const PATIENCE: Duration = Duration::from_secs(30);
const GUARDS: [Guard; 5] = [
    Guard::sharing("off", "off"),
    Guard::sharing("row-lock", "row-lock"),
    Guard::sharing("atomic", "atomic"),
    Guard::sharing("redlock-fenced", "redlock-fenced"),
    Guard { name: "redlock-fenced, each alone", slug: "alone", strategy: "redlock-fenced", shares: false },
];
const PAYMENTS_MS: [u64; 2] = [0, 2];

/// So that no key and no log is used twice.
static KEY: AtomicU64 = AtomicU64::new(0);
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// How stock is guarded, and whether orders may share a grant.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Guard {
    name: &'static str,
    /// Begins the names of its SKUs: a SKU's tokens come from one source for good.
    slug: &'static str,
    strategy: &'static str,
    shares: bool,
}

impl Guard {
    const fn sharing(slug: &'static str, strategy: &'static str) -> Self {
        Self { name: strategy, slug, strategy, shares: true }
    }
}

/// One line of the table.
struct Row {
    guard: Guard,
    skus: u64,
    payment_ms: u64,
    rounds: Vec<Round>,
}

/// What one round of a row showed.
struct Round {
    rate: f64,
    p50: Duration,
    p99: Duration,
    failed: usize,
}

/// One order service, with its payment latency and whether its orders share.
struct Replica {
    payment_ms: u64,
    shares: bool,
    process: Process,
    url: String,
}

struct Stack {
    _servers: (Postgres, Vec<RedisNode>),
    inventory: Vec<(Process, String)>,
    orders: Vec<Replica>,
    http: reqwest::Client,
}

#[tokio::main]
async fn main() {
    let seconds = std::env::var("HOLDFAST_BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
    let stack = Stack::start().await;
    stack.fill().await;
    let mut rows = rows();
    for round in 0..=ROUNDS {
        for row in &mut rows {
            let seen = stack.attack(row, Duration::from_secs(seconds)).await;
            if round > 0 {
                row.rounds.push(seen); // the first one warms up
            }
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    print(&rows);
    stack.print_memory();
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for skus in [1, MANY] {
        for payment_ms in PAYMENTS_MS {
            rows.extend(GUARDS.map(|guard| Row { guard, skus, payment_ms, rounds: Vec::new() }));
        }
    }
    rows
}

impl Stack {
    async fn start() -> Self {
        let postgres = Postgres::start().await.expect("postgres");
        let redis = testbed::redis_nodes(5).await.expect("redis nodes");
        let (stock, books) = (postgres.create_database("inventory").await, postgres.create_database("orders").await);
        let (stock, books) = (stock.expect("a database"), books.expect("a database"));
        let nodes = redis.iter().map(RedisNode::url).collect::<Vec<_>>().join(",");
        let mut inventory = Vec::new();
        for _ in 0..REPLICAS {
            let envs = [("INVENTORY_DATABASE_URL", stock.as_str()), ("INVENTORY_LISTEN", "127.0.0.1:0")];
            inventory.push(service("inventory", &envs).await);
        }
        let urls = inventory.iter().map(|(_, url)| url.as_str()).collect::<Vec<_>>().join(",");
        let mut orders = Vec::new();
        for (payment_ms, shares) in PAYMENTS_MS.into_iter().flat_map(|payment| [(payment, true), (payment, false)]) {
            let (payment, batch) = (payment_ms.to_string(), if shares { "64" } else { "1" });
            let envs = [
                ("ORDER_DATABASE_URL", books.as_str()),
                ("ORDER_LISTEN", "127.0.0.1:0"),
                ("ORDER_INVENTORY_URLS", &urls),
                ("ORDER_LOCK_NODES", &nodes),
                ("ORDER_PAYMENT_MS", &payment),
                ("ORDER_MAX_BATCH", batch),
            ];
            for _ in 0..REPLICAS {
                let (process, url) = service("order", &envs).await;
                orders.push(Replica { payment_ms, shares, process, url });
            }
        }
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { _servers: (postgres, redis), inventory, orders, http }
    }

    async fn fill(&self) {
        for Guard { slug, .. } in GUARDS {
            for number in 0..MANY {
                let url = format!("{}/v1/stock/{slug}-{number}", self.inventory[0].1);
                let put = self.http.put(url).bearer_auth(order::config::LAB_TOKEN).json(&json!({ "on_hand": STOCK }));
                let answer = put.send().await.expect("inventory");
                assert!(answer.status().is_success(), "{answer:?}");
            }
        }
    }

    async fn attack(&self, row: &Row, length: Duration) -> Round {
        let began = Instant::now();
        let users = (0..USERS).map(|user| self.user(row, user, began + length));
        let seen: Vec<Vec<(Duration, bool)>> = futures_util::future::join_all(users).await;
        let spent = began.elapsed();
        let mut good: Vec<_> = seen.iter().flatten().filter(|(_, good)| *good).map(|(took, _)| *took).collect();
        good.sort_unstable();
        let failed = seen.iter().flatten().count() - good.len();
        let at = |percent: usize| good.get(good.len() * percent / 100).copied().unwrap_or_default();
        Round { rate: count(good.len()) / spent.as_secs_f64(), p50: at(50), p99: at(99), failed }
    }

    async fn user(&self, row: &Row, user: u64, until: Instant) -> Vec<(Duration, bool)> {
        let fits = |one: &&Replica| one.payment_ms == row.payment_ms && one.shares == row.guard.shares;
        let replicas: Vec<_> = self.orders.iter().filter(fits).collect();
        let mut seen = Vec::new();
        while Instant::now() < until {
            let key = KEY.fetch_add(1, Ordering::Relaxed);
            let sku = format!("{}-{}", row.guard.slug, (key * 7 + user * 31) % row.skus);
            let body = json!({ "customer": "bench", "lines": [{ "sku": sku, "quantity": 1 }] });
            let url = &replicas[usize::try_from(user).unwrap_or_default() % replicas.len()].url;
            let asked = Instant::now();
            let request = self.http.post(format!("{url}/v1/orders")).header("idempotency-key", format!("bench-{key}"));
            let answer = request.header("lock-strategy", row.guard.strategy).json(&body).send().await;
            let good = match answer {
                Ok(answer) => answer.status() == 201 && answer.bytes().await.is_ok(),
                Err(_) => false,
            };
            seen.push((asked.elapsed(), good));
        }
        seen
    }

    fn print_memory(&self) {
        println!("\n| process | resident at the end | at most |\n|---|---:|---:|");
        let replicas = self.inventory.iter().map(|(process, _)| ("inventory", process));
        let replicas = replicas.chain(self.orders.iter().map(|one| ("order", &one.process)));
        for (name, process) in replicas {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
            let of = |field| status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or(" unknown").trim();
            println!("| {name} | {} | {} |", of("VmRSS:"), of("VmHWM:"));
        }
    }
}

async fn service(name: &str, envs: &[(&str, &str)]) -> (Process, String) {
    let order = PathBuf::from(env!("CARGO_BIN_EXE_order"));
    let program = order.with_file_name(name);
    assert!(program.exists(), "build it first: cargo build --release -p {name}");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let log = format!("{}/bench-{name}-{}-{number}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let own = envs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let mut process = Process::spawn(ProcessSpec {
        name: name.to_owned(),
        program,
        args: vec!["--lab".into()],
        envs: own.chain([("RUST_LOG".to_owned(), "warn".to_owned())]).collect(),
        log: PathBuf::from(log),
    })
    .expect("the service starts");
    let url = process.first_line(PATIENCE).await;
    let url = url.unwrap_or_else(|error| panic!("{error}\n{}", process.log_tail(20)));
    (process, url)
}

fn print(rows: &[Row]) {
    println!("| SKUs | payment | strategy | orders/s | of row-lock | of off | p50 | p99 | failed |");
    println!("|---:|---:|---|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        let rate = |of: &str| {
            let same =
                |other: &&Row| other.guard.slug == of && (other.skus, other.payment_ms) == (row.skus, row.payment_ms);
            rows.iter().find(same).map_or(f64::NAN, |other| median(other, |round| round.rate))
        };
        let own = rate(row.guard.slug);
        let ms = |of: fn(&Round) -> Duration| median(row, |round| of(round).as_secs_f64() * 1000.0);
        println!(
            "| {} | {} ms | `{}` | {own:.0} | {:.2} | {:.2} | {:.1} ms | {:.1} ms | {} |",
            row.skus,
            row.payment_ms,
            row.guard.name,
            own / rate("row-lock"),
            own / rate("off"),
            ms(|round| round.p50),
            ms(|round| round.p99),
            row.rounds.iter().map(|round| round.failed).sum::<usize>(),
        );
    }
}

fn median(row: &Row, of: impl Fn(&Round) -> f64) -> f64 {
    let mut all: Vec<f64> = row.rounds.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn count(orders: usize) -> f64 {
    f64::from(u32::try_from(orders).unwrap_or(u32::MAX))
}
