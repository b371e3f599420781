//! One replica of each service on real servers, and what must be true of them
//! however badly they were treated.

use std::{path::PathBuf, time::Duration};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::PgPool;
use testbed::{Postgres, Process, ProcessSpec, RedisNode};
use uuid::Uuid;

pub(super) const TOKEN: &str = "a-token-of-this-test";
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn order(lines: &[(&str, Value)]) -> Value {
    let line = |(sku, quantity): &(&str, Value)| match quantity {
        Value::Null => json!({"sku": sku}),
        _ => json!({"sku": sku, "quantity": quantity}),
    };
    let lines: Vec<_> = lines.iter().map(line).collect();
    json!({"customer": "ada", "lines": lines})
}

/// Whether unsafe strategies and the lab's own calls are there.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Lab {
    On,
    Off,
}

pub(super) struct Service {
    pub(super) url: String,
    pub(super) process: Process,
}

/// One replica of each service; what is refused needs no second.
pub(super) struct Stack {
    pub(super) http: Client,
    pub(super) order: Service,
    pub(super) inventory: Service,
    stock_book: PgPool,
    order_book: PgPool,
    _redis: Vec<RedisNode>,
}

impl Stack {
    pub(super) async fn start(lab: Lab) -> Self {
        let postgres = Postgres::shared().await;
        let (stock, orders, redis) = tokio::join!(
            postgres.fresh_database("inventory"),
            postgres.fresh_database("orders"),
            testbed::redis_nodes(3),
        );
        let (stock, orders, redis) = (stock.expect("a database"), orders.expect("a database"), redis.expect("redis"));
        let flag = (lab == Lab::On).to_string();
        let inventory = Service::start(
            "inventory",
            &[
                ("INVENTORY_LISTEN", "127.0.0.1:0"),
                ("INVENTORY_DATABASE_URL", &stock),
                ("INVENTORY_TOKEN", TOKEN),
                ("INVENTORY_LAB", &flag),
            ],
        )
        .await;
        let nodes = redis.iter().map(RedisNode::url).collect::<Vec<_>>().join(",");
        let order = Service::start(
            "order",
            &[
                ("ORDER_LISTEN", "127.0.0.1:0"),
                ("ORDER_DATABASE_URL", &orders),
                ("ORDER_INVENTORY_URLS", &inventory.url),
                ("ORDER_INVENTORY_TOKEN", TOKEN),
                ("ORDER_LOCK_NODES", &nodes),
                ("ORDER_LAB", &flag),
            ],
        )
        .await;
        let http = Client::builder().no_proxy().timeout(PATIENCE).build();
        Self {
            http: http.expect("a client"),
            order,
            inventory,
            stock_book: PgPool::connect(&stock).await.expect("the book of stock"),
            order_book: PgPool::connect(&orders).await.expect("the book of orders"),
            _redis: redis,
        }
    }

    pub(super) fn orders(&self) -> String {
        format!("{}/v1/orders", self.order.url)
    }

    /// A request for an order that still wants a body.
    pub(super) fn place(&self, key: &str) -> RequestBuilder {
        let post = self.http.post(self.orders()).header("idempotency-key", key);
        post.header("content-type", "application/json")
    }

    /// A request to inventory, as order would send it.
    pub(super) fn inventory(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.inventory.url);
        let request = self.http.request(method, url).bearer_auth(TOKEN);
        request.header("content-type", "application/json")
    }

    pub(super) async fn put_stock(&self, sku: &str, on_hand: i64) {
        let put = self.inventory(Method::PUT, &format!("/v1/stock/{sku}"));
        let put = put.json(&json!({"on_hand": on_hand})).send().await;
        assert!(put.expect("a reply").status().is_success());
    }

    pub(super) async fn available(&self) -> i64 {
        let available = sqlx::query_scalar("select available from stock where sku = 'chair'");
        available.fetch_one(&self.stock_book).await.expect("a row")
    }

    /// So many chairs are left, the snapshot agree, and the next good order is held.
    pub(super) async fn is_unharmed(&self, left: i64) {
        for service in [&self.order, &self.inventory] {
            assert!(!service.process.ended(), "{}", service.process.log_tail(30));
            let log = service.process.log_tail(10_000);
            assert!(!log.contains("panicked"), "{log}");
            let alive = self.http.get(format!("{}/livez", service.url)).send().await;
            assert_eq!(alive.expect("a reply").status(), 200);
        }
        assert_eq!(self.available().await, left);
        let one = order(&[("chair", json!(1))]);
        let held = self.place("the next good order").json(&one).send().await;
        let held = held.expect("a reply");
        assert_eq!(held.status(), 201, "{}", held.text().await.unwrap_or_default());
        self.books_agree().await;
    }

    async fn books_agree(&self) {
        let stock = [
            (
                "stock and live units differ",
                "select count(*) from stock s where available <> on_hand - coalesce((
                select sum(l.quantity) from reservation_lines l join reservations r on r.id = l.reservation_id
                 where l.sku = s.sku and r.status in ('held', 'confirmed')), 0)",
            ),
            (
                "the ledger does not chain",
                "select count(*) from (
                select before, delta, after, lag(after, 1, 0::bigint) over (partition by sku order by seq) as previous
                  from stock_ledger) chain where before <> previous or after <> before + delta",
            ),
        ];
        let orders = [
            ("an order is left pending", "select count(*) from orders where status = 'pending'"),
            ("a payment is left open", "select count(*) from payments where state = 'authorised'"),
            (
                "captured and standing differ",
                "select count(*) from orders o full join payments p on p.order_id = o.id
                where (o.status in ('held', 'confirmed')) <> (coalesce(p.state, '') = 'captured')",
            ),
        ];
        let stock = stock.map(|check| (&self.stock_book, check));
        let orders = orders.map(|check| (&self.order_book, check));
        for (book, (what, query)) in stock.into_iter().chain(orders) {
            let wrong: i64 = sqlx::query_scalar(query).fetch_one(book).await.expect("a count");
            assert_eq!(wrong, 0, "{what}");
        }
    }
}

impl Service {
    async fn start(name: &str, envs: &[(&str, &str)]) -> Self {
        let log = format!("{}/bad-input-{name}-{}.log", env!("CARGO_TARGET_TMPDIR"), Uuid::now_v7());
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let spec = ProcessSpec {
            name: name.to_owned(),
            program: beside_this_test(name),
            args: Vec::new(),
            envs: envs.iter().map(owned).collect(),
            log: PathBuf::from(log),
        };
        let mut process = Process::spawn(spec).expect("a process");
        let url = process.first_line(PATIENCE).await.expect("its address");
        Self { url, process }
    }
}

/// Tests run from `target/<profile>/deps`; binaries lie one folder up.
fn beside_this_test(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("our own path");
    let program = test.ancestors().nth(2).expect("target/<profile>").join(name);
    assert!(program.exists(), "{} is missing: `cargo build -p {name}` first", program.display());
    program
}
