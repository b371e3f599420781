//! Two replicas of each service on real servers. Each replica can be killed and restarts at its address.
//!
//! Absence: nothing is judged here.

use std::path::PathBuf;
use std::time::Duration;

use load_tests::cluster::target::Databases;
use reqwest::{Client, RequestBuilder};
use testbed::{Postgres, PostgresOptions, Process, ProcessSpec, RedisNode};
use tokio::sync::Mutex;

const TOKEN: &str = "lab-only-token";
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);
/// The hold of orders placed at the second replica; short, so that holds expire while they are used.
const SHORT_HOLD_SECONDS: &str = "1";

/// One process, and how it is started again.
struct Replica {
    spec: ProcessSpec,
    process: Mutex<Option<Process>>,
    url: String,
}

/// Everything that runs. The services end before the servers that they use.
pub(super) struct World {
    orders: Vec<Replica>,
    inventory: Vec<Replica>,
    pub(super) http: Client,
    pub(super) databases: Databases,
    _redis: Vec<RedisNode>,
    _postgres: Postgres,
}

/// An answer: the parts that are compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) body: serde_json::Value,
    pub(super) bytes: Vec<u8>,
}

impl World {
    pub(super) async fn start() -> Self {
        let postgres = Postgres::start_with(PostgresOptions { fsync: false });
        let (postgres, redis) = tokio::join!(postgres, testbed::redis_nodes(3));
        let (postgres, redis) = (postgres.expect("postgres"), redis.expect("redis nodes"));
        let databases = Databases {
            inventory: postgres.create_database("inventory").await.expect("a database"),
            order: postgres.create_database("orders").await.expect("a database"),
        };
        let nodes = redis.iter().map(RedisNode::url).collect::<Vec<_>>().join(",");
        let mut inventory = Vec::new();
        for number in 1..=2 {
            let envs = [
                ("INVENTORY_LISTEN", "127.0.0.1:0"),
                ("INVENTORY_DATABASE_URL", &databases.inventory),
                ("INVENTORY_LOCK_NODES", &nodes),
                ("INVENTORY_SWEEP_MS", "200"),
            ];
            inventory.push(Replica::start("inventory", number, &envs).await);
        }
        let urls = inventory.iter().map(|replica| replica.url.as_str()).collect::<Vec<_>>().join(",");
        let mut orders = Vec::new();
        for (number, hold) in [(1, "3600"), (2, SHORT_HOLD_SECONDS)] {
            let envs = [
                ("ORDER_LISTEN", "127.0.0.1:0"),
                ("ORDER_DATABASE_URL", &databases.order),
                ("ORDER_INVENTORY_URLS", &urls),
                ("ORDER_LOCK_NODES", &nodes),
                ("ORDER_LOCK_LEASE_MS", "2000"),
                ("ORDER_LOCK_WAIT_MS", "10000"),
                ("ORDER_PAYMENT_MS", "0"),
                ("ORDER_RECONCILE_MS", "200"),
                ("ORDER_HOLD_SECONDS", hold),
            ];
            orders.push(Replica::start("order", number, &envs).await);
        }
        let http = Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build().expect("a client");
        Self { orders, inventory, http, databases, _redis: redis, _postgres: postgres }
    }

    /// SIGKILL, and a new process at the same address.
    pub(super) async fn crash(&self, which: usize) {
        let all: Vec<_> = self.orders.iter().chain(&self.inventory).collect();
        all[which % all.len()].crash().await;
    }

    /// Sends to order replica `which`, or to the other one if that refuses the connection. `None` is silence.
    pub(super) async fn order(
        &self,
        which: usize,
        path: &str,
        make: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Option<Reply> {
        for turn in 0..2 {
            let url = format!("{}{path}", self.orders[(which + turn) % self.orders.len()].url);
            match make(self.http.post(url)).send().await {
                Ok(response) => return read(response).await,
                Err(error) if error.is_connect() => {}
                Err(_broken) => return None,
            }
        }
        None
    }

    /// Sets the stock of a SKU; refused below the units that are held.
    pub(super) async fn put_stock(&self, sku: &str, on_hand: i64) -> Option<Reply> {
        let body = serde_json::json!({ "on_hand": on_hand });
        for replica in &self.inventory {
            let put = self.http.put(format!("{}/v1/stock/{sku}", replica.url)).bearer_auth(TOKEN).json(&body);
            match put.send().await {
                Ok(response) => return read(response).await,
                Err(error) if error.is_connect() => {}
                Err(_broken) => return None,
            }
        }
        None
    }
}

impl Replica {
    async fn start(name: &str, number: usize, envs: &[(&str, &str)]) -> Self {
        let log = format!("{}/state-{name}-{number}-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let own = envs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut spec = ProcessSpec {
            name: format!("{name}-{number}"),
            program: beside_this_test(name),
            args: vec!["--lab".into()],
            envs: own.chain([("RUST_LOG".to_owned(), "warn".to_owned())]).collect(),
            log: PathBuf::from(log),
        };
        let (process, url) = run(&spec).await;
        let address = url.trim_start_matches("http://");
        spec.args.push(format!("--listen={address}").into());
        Self { spec, process: Mutex::new(Some(process)), url }
    }

    async fn crash(&self) {
        let mut process = self.process.lock().await;
        if let Some(mut running) = process.take() {
            running.kill().await;
        }
        *process = Some(run(&self.spec).await.0);
    }
}

async fn run(spec: &ProcessSpec) -> (Process, String) {
    let mut process = Process::spawn(spec.clone()).expect("the service starts");
    let url = process.first_line(ANSWERS_WITHIN).await;
    let url = url.unwrap_or_else(|error| panic!("{error}\n{}", process.log_tail(20)));
    (process, url)
}

async fn read(response: reqwest::Response) -> Option<Reply> {
    let status = response.status().as_u16();
    let bytes = response.bytes().await.ok()?.to_vec();
    let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    Some(Reply { status, code, body, bytes })
}

/// A program of this workspace: tests run from `target/<profile>/deps`, programs are one folder up.
fn beside_this_test(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let program = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>").join(name);
    assert!(program.exists(), "{} is missing: build it first, `cargo build -p {name}`", program.display());
    program
}
