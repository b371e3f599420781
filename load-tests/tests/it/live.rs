//! The live page over a real stack: what is sold, who falls silent, and the auditor over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use load_tests::audit::Auditor;
use load_tests::cluster::config::StackConfig;
use load_tests::cluster::lab_client::LabClient;
use load_tests::cluster::stack::Stack;
use load_tests::live::{Watcher, serve};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing here takes so long, on any machine.
const PATIENCE: Duration = Duration::from_mins(1);

struct Page {
    stack: Stack,
    http: Client,
    url: String,
    end: oneshot::Sender<()>,
    served: JoinHandle<anyhow::Result<()>>,
}

impl Page {
    async fn open() -> Self {
        let ms = Duration::from_millis;
        let stack_config = StackConfig {
            redis_nodes: 3,
            replicas: 2,
            lease: ms(2_000),
            wait: ms(20_000),
            payment: ms(2),
            proxied: false,
            etcd: false,
            zookeeper: false,
        };
        // Tests run from `target/<profile>/deps`; the services lie one folder up.
        let test = std::env::current_exe().expect("our own path");
        let binaries: PathBuf = test.ancestors().nth(2).expect("target/<profile>").into();
        let stack = Stack::start(&stack_config, &binaries, None).await.expect("a stack");
        let auditor = Auditor::connect(&stack.audit).await.expect("an auditor");
        let watcher = Watcher::new(&stack.target, auditor).expect("a watcher");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (end, ended) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, watcher, async move { drop(ended.await) }));
        Self { stack, http: Client::builder().no_proxy().build().expect("a client"), url, end, served }
    }

    async fn get(&self, path: &str) -> Response {
        let answer = self.http.get(format!("{}{path}", self.url)).timeout(PATIENCE).send().await;
        answer.expect("an answer")
    }

    /// Of `sku`, one unit.
    async fn order(&self, key: &str, sku: &str) -> u16 {
        let body = json!({"customer": "ada", "lines": [{"sku": sku, "quantity": 1}]});
        let order = self.http.post(format!("{}/v1/orders", self.stack.target.orders[0])).json(&body);
        let answer = order.header("idempotency-key", key).timeout(PATIENCE).send().await;
        answer.expect("an answer").status().as_u16()
    }

    async fn put_stock(&self, sku: &str, units: u64) {
        let target = &self.stack.target;
        let inventory = LabClient::new("inventory", &target.inventory, &target.inventory_token).expect("a client");
        inventory.put_stock(sku, units).await.expect("stock");
    }

    /// Listens as a page does, until a moment is as wanted.
    async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let listening = async {
            let mut stream = self.http.get(format!("{}/v1/events", self.url)).send().await.expect("a stream");
            assert_eq!(stream.headers()["content-type"], "text/event-stream");
            let mut text = String::new();
            loop {
                let bytes = stream.chunk().await.expect("more of the stream").expect("the stream goes on");
                text += std::str::from_utf8(&bytes).expect("text");
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let data = event.strip_prefix("data: ").unwrap_or("null");
                    let moment: Value = serde_json::from_str(data).expect("JSON");
                    if wanted(&moment) {
                        return moment;
                    }
                    text = rest.to_owned();
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("a moment as wanted")
    }

    async fn close(self) {
        self.end.send(()).expect("it is listening");
        let served = tokio::time::timeout(PATIENCE, self.served).await.expect("it ends when told");
        served.expect("no panic").expect("it served");
        self.stack.shut_down().await;
    }
}

fn silent(moment: &Value) -> Vec<&str> {
    let replicas = moment["replicas"].as_array().into_iter().flatten();
    replicas.filter(|replica| replica["answers"] == false).filter_map(|replica| replica["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_page_shows_what_is_sold_who_is_silent_and_what_an_audit_finds() {
    let page = Page::open().await;
    let html = page.get("/").await;
    assert!(html.headers()["content-security-policy"].to_str().expect("text").contains("default-src 'none'"));
    assert!(html.text().await.expect("a page").contains("<title>Does it oversell? – live</title>"));

    page.put_stock("a", 2).await;
    let placed = [page.order("k1", "a").await, page.order("k2", "a").await, page.order("k3", "a").await];
    assert_eq!(placed, [201, 201, 409]);
    let sold = page.until(|moment| moment["sold"] == 2).await;
    assert_eq!((&sold["stock"], &sold["oversold"]), (&json!(2), &json!(0)));
    assert_eq!(sold["verdict"], "Nothing is oversold: 2 of 2 units are sold.");

    let controls = page.stack.replica_processes();
    let stopped = controls.orders[1].pause();
    page.until(|moment| silent(moment) == ["order-2"]).await;
    drop(stopped);
    let number = page.until(|moment| moment["number"].as_u64() > sold["number"].as_u64()).await["number"].clone();
    page.until(|moment| moment["number"].as_u64() > number.as_u64() && silent(moment).is_empty()).await;

    let audit: Value = page.get("/v1/audit").await.json().await.expect("JSON");
    assert_eq!((&audit["passed"], &audit["read"]["orders"]), (&json!(true), &json!(3)), "{audit}");
    let state = |number: u64| {
        let items = audit["items"].as_array().into_iter().flatten();
        items.clone().find(|item| item["item"] == number).map(|item| item["state"].clone())
    };
    assert_eq!((state(1), state(9)), (Some(json!("holds")), Some(json!("not_checked"))));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_over_http_finds_what_was_tampered_with() {
    let page = Page::open().await;
    page.put_stock("a", 1).await;
    assert_eq!(page.order("k1", "a").await, 201);
    let database = sqlx::PgPool::connect(&page.stack.target.postgres.inventory).await.expect("the database");
    // Triggers refuse it to everybody, so it takes a superuser who switches them off.
    let tampered = "set session_replication_role = replica; update reservation_lines set quantity = 2 where sku = 'a'";
    sqlx::raw_sql(tampered).execute(&database).await.expect("tampered with");
    let audit: Value = page.get("/v1/audit").await.json().await.expect("JSON");
    assert_eq!(audit["passed"], false);
    let items = audit["items"].as_array().into_iter().flatten();
    let broken: Vec<_> = items.filter(|item| item["state"] == "broken").map(|item| &item["item"]).collect();
    assert_eq!(broken, [&json!(1), &json!(2)], "{audit}");
    page.close().await;
}
