//! One running system for each test: its own databases, lock nodes, inventory
//! process and order service. Everything ends with the value.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use clap::Parser;
use order::{app::App, config::Config};
use serde_json::{Value, json};
use sqlx::PgPool;
use testbed::{Postgres, Process, ProcessSpec, Proxy, RedisNode};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

const TIMEOUT: Duration = Duration::from_secs(30);
static UNIQUE: AtomicUsize = AtomicUsize::new(0);

/// What differs between tests.
pub(crate) struct Setup {
    pub(crate) redis_nodes: usize,
    /// Whether cluster mode is enabled on the lock nodes.
    pub(crate) cluster_mode: bool,
    /// Whether each lock node is behind a proxy.
    pub(crate) lock_lines: bool,
    /// The first is behind a proxy; all share one database.
    pub(crate) inventories: usize,
    pub(crate) lab: bool,
    pub(crate) lease_ms: u64,
    pub(crate) wait_ms: u64,
    pub(crate) payment_ms: u64,
    pub(crate) flags: &'static [&'static str],
    /// Flags that are known only once servers have started.
    pub(crate) addresses: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        // The reconciler does not interfere unless a test is about it.
        let flags = &["--reconcile-ms=3600000"];
        Self {
            redis_nodes: 3,
            cluster_mode: false,
            lock_lines: false,
            inventories: 1,
            lab: true,
            lease_ms: 3_000,
            wait_ms: 10_000,
            payment_ms: 2,
            flags,
            addresses: Vec::new(),
        }
    }
}

pub(crate) struct Stack {
    pub(crate) redis: Vec<RedisNode>,
    /// Between order and inventory.
    pub(crate) inventory_line: Proxy,
    /// Between the first inventory and its database.
    pub(crate) stock_line: Proxy,
    /// Between order and the lock nodes, if that was asked for.
    pub(crate) lock_lines: Vec<Proxy>,
    /// Between order and its database.
    pub(crate) database_line: Proxy,
    pub(crate) orders: PgPool,
    pub(crate) stock: PgPool,
    pub(crate) http: reqwest::Client,
    pub(crate) app: App,
    pub(crate) url: String,
    inventory_url: String,
    pub(crate) orders_url: String,
    pub(crate) stock_url: String,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
    pub(crate) inventories: Vec<Inventory>,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let postgres = Postgres::shared().await;
        let (stock_url, orders_url, redis) =
            tokio::join!(postgres.fresh_database("inventory"), postgres.fresh_database("orders"), async {
                if setup.cluster_mode {
                    testbed::single_shard_nodes(setup.redis_nodes).await
                } else {
                    testbed::redis_nodes(setup.redis_nodes).await
                }
            },);
        let (stock_url, orders_url) = (stock_url.expect("database"), orders_url.expect("database"));
        let redis = redis.expect("redis nodes");
        let stock_line = Proxy::start(address_of(&stock_url)).await.expect("proxy");
        let mut inventories = vec![start_inventory(&through(&stock_url, stock_line.addr()), &[]).await];
        for _ in 1..setup.inventories {
            inventories.push(start_inventory(&stock_url, &[]).await);
        }
        let inventory_url = inventories[0].url.clone();
        let inventory_line = Proxy::start(address_of(&inventory_url)).await.expect("proxy");
        let database_line = Proxy::start(address_of(&orders_url)).await.expect("proxy");

        let mut lock_lines = Vec::new();
        for node in redis.iter().filter(|_| setup.lock_lines) {
            lock_lines.push(Proxy::start(node.addr()).await.expect("proxy"));
        }
        let direct = redis.iter().map(RedisNode::url);
        let nodes: Vec<_> = if setup.lock_lines {
            lock_lines.iter().map(|line| format!("redis://{}", line.addr())).collect()
        } else {
            direct.collect()
        };
        let nodes = nodes.join(",");
        let through = through(&orders_url, database_line.addr());
        let mut replicas = vec![format!("http://{}", inventory_line.addr())];
        replicas.extend(inventories[1..].iter().map(|other| other.url.clone()));
        let mut flags = vec![
            "order".to_owned(),
            format!("--database-url={through}"),
            format!("--inventory-urls={}", replicas.join(",")),
            format!("--lock-nodes={nodes}"),
            format!("--lock-lease-ms={}", setup.lease_ms),
            format!("--lock-wait-ms={}", setup.wait_ms),
            format!("--payment-ms={}", setup.payment_ms),
        ];
        flags.push(if setup.lab { "--lab".to_owned() } else { "--inventory-token=secret".to_owned() });
        flags.extend(setup.flags.iter().map(|&flag| flag.to_owned()));
        flags.extend(setup.addresses);
        let config = Config::try_parse_from(flags).expect("flags that parse");
        let app = App::build(&config).await.expect("an order service");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel();
        let running = app.clone();
        let served =
            tokio::spawn(async move { running.run(listener, &config, async move { drop(stopped.await) }).await });
        Self {
            redis,
            inventory_line,
            stock_line,
            lock_lines,
            database_line,
            orders: PgPool::connect(&orders_url).await.expect("orders database"),
            stock: PgPool::connect(&stock_url).await.expect("inventory database"),
            http: reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().expect("a client"),
            app,
            url,
            inventory_url,
            orders_url,
            stock_url,
            stop: Some(stop),
            served,
            inventories,
        }
    }

    /// Stops the order service, and waits until it has stopped.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.served).await.expect("no panic").expect("a clean end");
    }

    /// Signals the order service to stop.
    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn put_stock(&self, sku: &str, on_hand: i64) {
        let url = format!("{}/v1/stock/{sku}", self.inventory_url);
        let body = json!({ "on_hand": on_hand });
        let put = self.http.put(url).bearer_auth(order::config::LAB_TOKEN).json(&body).send().await.expect("inventory");
        assert!(put.status().is_success(), "stock was not put: {}", put.text().await.unwrap_or_default());
    }

    /// A request without its body.
    pub(crate) fn post(&self, key: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}/v1/orders", self.url)).header("idempotency-key", key)
    }

    /// Places an order for one SKU under the default strategy.
    pub(crate) async fn place(&self, key: &str, sku: &str, quantity: i64) -> Reply {
        Reply::of(self.post(key).json(&order_body(sku, quantity))).await
    }

    /// The same, with a strategy.
    pub(crate) async fn place_with(&self, strategy: &str, key: &str, sku: &str, quantity: i64) -> Reply {
        Reply::of(self.post(key).header("lock-strategy", strategy).json(&order_body(sku, quantity))).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::of(self.http.get(format!("{}{path}", self.url))).await
    }

    pub(crate) async fn available(&self, sku: &str) -> i64 {
        sqlx::query_scalar("select available from stock where sku = $1")
            .bind(sku)
            .fetch_one(&self.stock)
            .await
            .expect("a SKU")
    }

    pub(crate) async fn fence(&self, sku: &str) -> i64 {
        sqlx::query_scalar("select fence from stock where sku = $1")
            .bind(sku)
            .fetch_one(&self.stock)
            .await
            .expect("a SKU")
    }

    pub(crate) async fn reservations(&self) -> i64 {
        sqlx::query_scalar("select count(*) from reservations").fetch_one(&self.stock).await.expect("a count")
    }

    /// Every payment's state, sorted.
    pub(crate) async fn payments(&self) -> Vec<String> {
        sqlx::query_scalar("select state from payments order by state").fetch_all(&self.orders).await.expect("payments")
    }

    pub(crate) async fn order_status(&self, key: &str) -> String {
        sqlx::query_scalar("select status from orders where idempotency_key = $1")
            .bind(key)
            .fetch_one(&self.orders)
            .await
            .expect("an order")
    }
}

impl Stack {
    /// Reconciles until the order has this status. One round may not do: the service
    /// runs one at its start, and an order is claimed by one round at a time.
    pub(crate) async fn reconcile_until(&self, key: &str, status: &str) {
        eventually(status, async || {
            let round = order::placement::reconcile::round(&self.app.api.placement).await;
            round.expect("a round");
            self.order_status(key).await == status
        })
        .await;
    }
}

/// One replica of the real inventory service.
pub(crate) struct Inventory {
    pub(crate) process: Process,
    pub(crate) url: String,
    /// What it writes to stderr.
    pub(crate) log: PathBuf,
}

/// The parts of a reply that tests compare.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Vec<u8>,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("a reply");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("a body").to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self { status, headers, bytes, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    /// Asserts status and code in one, with the body as message.
    pub(crate) fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.body);
        if !code.is_empty() {
            assert_eq!(self.header("content-type"), "application/problem+json");
            assert_eq!(self.body["status"], status, "{}", self.body);
        }
        self
    }

    /// Asserts that the problem is retryable, with a `Retry-After`.
    pub(crate) fn asks_to_retry(&self) -> &Self {
        assert_eq!(self.body["retryable"], true, "{}", self.body);
        let seconds: u64 = self.header("retry-after").parse().expect("seconds");
        assert!(seconds >= 1);
        self
    }
}

pub(crate) fn order_body(sku: &str, quantity: i64) -> Value {
    json!({ "customer": "ada", "lines": [{ "sku": sku, "quantity": quantity }] })
}

/// Waits for a condition that another process fulfils.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub(crate) async fn start_inventory(database: &str, more: &[(&str, &str)]) -> Inventory {
    let program = beside_this_test("inventory");
    let number = UNIQUE.fetch_add(1, Ordering::Relaxed);
    let log = format!("{}/inventory-{}-{number}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let log = PathBuf::from(log);
    let envs = [
        ("INVENTORY_LISTEN", "127.0.0.1:0"),
        ("INVENTORY_DATABASE_URL", database),
        ("INVENTORY_TOKEN", order::config::LAB_TOKEN),
        ("INVENTORY_LAB", "true"),
    ];
    let mut process = Process::spawn(ProcessSpec {
        name: "inventory".to_owned(),
        program,
        args: Vec::new(),
        envs: envs.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        log: log.clone(),
    })
    .expect("inventory starts");
    let url = process.first_line(TIMEOUT).await;
    let url = url.unwrap_or_else(|error| panic!("{error}\n{}", process.log_tail(20)));
    Inventory { process, url, log }
}

/// Tests run from `target/<profile>/deps`; binaries lie one folder up.
pub(crate) fn beside_this_test(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let program = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>").join(name);
    assert!(program.exists(), "{} is missing: build it first, `cargo build -p {name}`", program.display());
    program
}

pub(crate) fn address_of(url: &str) -> SocketAddr {
    let url: url::Url = url.parse().expect("a URL");
    let host = url.host_str().expect("a host").replace("localhost", "127.0.0.1");
    format!("{host}:{}", url.port_or_known_default().unwrap_or(5432)).parse().expect("an address")
}

pub(crate) fn through(url: &str, proxy: SocketAddr) -> String {
    let mut url: url::Url = url.parse().expect("a URL");
    url.set_ip_host(proxy.ip()).expect("a host");
    url.set_port(Some(proxy.port())).expect("a port");
    url.to_string()
}
