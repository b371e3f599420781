//! The live page over a real stack: sales side by side, faults by button, replicas that do not respond, and the auditor over
//! HTTP.

use std::path::Path;
use std::time::Duration;

use load_tests::cluster::config::StackConfig;
use load_tests::cluster::lab_client::LabClient;
use load_tests::cluster::stack::Stack;
use load_tests::interrupt::Interrupt;
use load_tests::live::serve;
use load_tests::runner::environment::Environment;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use testbed::redis_command;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::small_stack::binaries;

/// Longer than anything here takes, on any machine.
const TIME_LIMIT: Duration = Duration::from_mins(2);

pub(crate) struct Page<'a> {
    stack: &'a Stack,
    http: Client,
    pub(crate) url: String,
    /// The folder from which the page reads a report.
    pub(crate) report: &'a Path,
}

/// Serves the page of a stack that this process started while the test runs.
pub(crate) async fn on_a_page(test: impl AsyncFnOnce(&Page<'_>)) {
    let (stack, folder) = (small_stack().await, tempfile::tempdir().expect("a folder"));
    let environment = Environment::own_stack(&stack, folder.path()).await.expect("an environment");
    while_served(&stack, &environment, test).await;
    drop(environment);
    stack.shut_down().await;
}

async fn small_stack() -> Stack {
    let ms = Duration::from_millis;
    let stack_config = StackConfig {
        redis_nodes: 3,
        replicas: 2,
        lease: ms(1_000),
        wait: ms(20_000),
        payment: ms(40),
        proxied: true,
        etcd: false,
        zookeeper: false,
    };
    Stack::start(&stack_config, &binaries(), None).await.expect("a stack")
}

async fn while_served(stack: &Stack, environment: &Environment<'_>, test: impl AsyncFnOnce(&Page<'_>)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (end, interrupt) = Interrupt::on_request();
    let http = Client::builder().no_proxy().build().expect("a client");
    let page = Page { stack, http, url, report: environment.folder };
    let tested = async {
        test(&page).await;
        end.send_replace(Some("the test"));
    };
    let (served, ()) = tokio::join!(serve(listener, environment, environment.folder, &interrupt), tested);
    served.expect("it served, and ended when it was asked to");
}

impl Page<'_> {
    async fn get(&self, path: &str) -> Response {
        let answer = self.http.get(format!("{}{path}", self.url)).timeout(TIME_LIMIT).send().await;
        answer.expect("an answer")
    }

    /// Status and code of the answer to an action.
    async fn act(&self, action: Value) -> (u16, String) {
        let answer = self.http.post(format!("{}/v1/actions", self.url)).json(&action).timeout(TIME_LIMIT).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default();
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Orders one unit of `sku` and returns the status of the answer.
    async fn order(&self, key: &str, sku: &str) -> u16 {
        let body = json!({"customer": "ada", "lines": [{"sku": sku, "quantity": 1}]});
        let order = self.http.post(format!("{}/v1/orders", self.stack.target.orders[0])).json(&body);
        let answer = order.header("idempotency-key", key).timeout(TIME_LIMIT).send().await;
        answer.expect("an answer").status().as_u16()
    }

    async fn put_stock(&self, sku: &str, units: u64) {
        let target = &self.stack.target;
        let inventory = LabClient::new("inventory", &target.inventory, &target.inventory_token).expect("a client");
        inventory.put_stock(sku, units).await.expect("stock");
    }

    /// Reads the stream as a page does, until a moment satisfies the condition.
    async fn until(&self, condition: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let reading = async {
            let mut stream = self.http.get(format!("{}/v1/events", self.url)).send().await.expect("a stream");
            assert_eq!(stream.headers()["content-type"], "text/event-stream");
            let mut text = String::new();
            loop {
                let bytes = stream.chunk().await.expect("more of the stream").expect("the stream goes on");
                text += std::str::from_utf8(&bytes).expect("text");
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let data = event.strip_prefix("data: ").unwrap_or("null");
                    last = serde_json::from_str(data).expect("JSON");
                    if condition(&last) {
                        return;
                    }
                    text = rest.to_owned();
                }
            }
        };
        let found = timeout(TIME_LIMIT, reading).await;
        assert!(found.is_ok(), "no moment satisfies the condition; the last one is {last}");
        last
    }
}

fn not_responding<'a>(moment: &'a Value, list: &str) -> Vec<&'a str> {
    let members = moment[list].as_array().into_iter().flatten();
    members.filter(|member| member["responding"] == false).filter_map(|member| member["name"].as_str()).collect()
}

fn sell() -> Value {
    json!({"do": "sell", "strategies": ["off", "redlock-fenced"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_page_shows_units_sold_replicas_that_do_not_respond_and_the_result_of_an_audit() {
    on_a_page(async |page| {
        let html = page.get("/").await;
        assert!(html.headers()["content-security-policy"].to_str().expect("text").contains("default-src 'none'"));
        assert!(html.text().await.expect("a page").contains("<title>Does it oversell? – live</title>"));
        for file in
            ["style.css", "app.js", "chart.js", "dom.js", "quorum.js", "report.js", "sale.js", "steps.js", "trace.js"]
        {
            assert_eq!(page.get(&format!("/page/{file}")).await.status(), 200, "{file}");
        }
        assert_eq!(page.get("/page/nothing.js").await.status(), 404);

        page.put_stock("a", 2).await;
        let placed = [page.order("k1", "a").await, page.order("k2", "a").await, page.order("k3", "a").await];
        assert_eq!(placed, [201, 201, 409]);
        let sold = page.until(|moment| moment["sold"] == 2).await;
        assert_eq!((&sold["stock"], &sold["oversold"]), (&json!(2), &json!(0)));
        assert_eq!(sold["verdict"], "Nothing is oversold: 2 of 2 units are sold.");

        let processes = page.stack.replica_processes();
        let paused = processes.orders[1].pause();
        let down = page.until(|moment| not_responding(moment, "replicas") == ["order-2"]).await;
        drop(paused);
        let later = |moment: &Value| moment["number"].as_u64() > down["number"].as_u64();
        page.until(|moment| later(moment) && not_responding(moment, "replicas").is_empty()).await;

        let audit: Value = page.get("/v1/audit").await.json().await.expect("JSON");
        assert_eq!((&audit["passed"], &audit["read"]["orders"]), (&json!(true), &json!(3)), "{audit}");
        let state = |number: u64| {
            let items = audit["items"].as_array().into_iter().flatten();
            items.clone().find(|item| item["item"] == number).map(|item| item["state"].clone())
        };
        assert_eq!((state(1), state(9)), (Some(json!("holds")), Some(json!("not_checked"))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_by_button_oversells_without_a_lock_and_not_with_the_fence_and_a_paused_holder_is_refused() {
    on_a_page(async |page| {
        assert_eq!(page.act(json!({"do": "pause"})).await, (409, "no_sale".to_owned()));
        assert_eq!(page.act(json!({"do": "continue"})).await, (409, "nothing_paused".to_owned()));
        assert_eq!(page.act(json!({"do": "dance"})).await.0, 422);
        let strategies: Value = page.get("/v1/strategies").await.json().await.expect("JSON");
        let lacking = strategies.as_array().into_iter().flatten().filter(|one| one["available"] == false);
        assert_eq!(lacking.map(|one| &one["name"]).collect::<Vec<_>>(), ["etcd-fenced", "zookeeper-fenced"]);
        let lacking = json!({"do": "sell", "strategies": ["off", "etcd-fenced"]});
        assert_eq!(page.act(lacking).await, (409, "strategy_not_configured".to_owned()));
        assert_eq!(page.act(sell()).await.0, 202);
        page.until(|moment| moment["stage"]["selling"] == true && moment["shelves"][1]["sold"].as_i64() > Some(0))
            .await;
        assert_eq!(page.act(sell()).await, (409, "sale_in_progress".to_owned()));
        let ended = |moment: &Value, sale: u64| moment["stage"]["sale"] == sale && moment["stage"]["selling"] == false;
        let sold = page.until(|moment| ended(moment, 1) && moment["shelves"][1]["sold"] == 100).await;
        assert!(sold["shelves"][0]["oversold"].as_i64() > Some(0), "{sold}");
        let fenced = &sold["shelves"][1];
        assert_eq!(
            (&fenced["strategy"], &fenced["sold"], &fenced["oversold"]),
            (&json!("redlock-fenced"), &json!(100), &json!(0))
        );

        // The same strategy on both sides: whichever write meets the pause is fenced.
        let fenced = json!({"do": "sell", "strategies": ["redlock-fenced", "redlock-fenced"]});
        assert_eq!(page.act(fenced).await.0, 202);
        page.until(|moment| moment["stage"]["sale"] == 2 && moment["shelves"][0]["sold"].as_i64() > Some(0)).await;
        assert_eq!(page.act(json!({"do": "pause"})).await.0, 202);
        let paused = page.until(|moment| moment["stage"]["paused"].is_string()).await;
        let stopped = paused["stage"]["paused"].as_str().expect("a name").to_owned();
        page.until(|moment| not_responding(moment, "replicas") == [stopped.as_str()]).await;
        let sum = |moment: &Value| {
            moment["shelves"][0]["sold"].as_i64().zip(moment["shelves"][1]["sold"].as_i64()).map(|(a, b)| a + b)
        };
        page.until(|moment| moment["number"].as_u64() > paused["number"].as_u64() && sum(moment) > sum(&paused)).await;
        assert_eq!(page.act(json!({"do": "continue"})).await.0, 202);
        let resumed =
            |moment: &Value| moment["stage"]["paused"].is_null() && not_responding(moment, "replicas").is_empty();
        let end = page.until(|moment| ended(moment, 2) && resumed(moment) && sum(moment) == Some(200)).await;
        assert_eq!((&end["shelves"][0]["oversold"], &end["shelves"][1]["oversold"]), (&json!(0), &json!(0)), "{end}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_nodes_are_killed_one_by_one_and_started_again() {
    on_a_page(async |page| {
        for killed in [vec!["redis-3"], vec!["redis-2", "redis-3"]] {
            assert_eq!(page.act(json!({"do": "break-node"})).await.0, 202);
            page.until(|moment| not_responding(moment, "nodes") == killed).await;
        }
        // One of three nodes is no quorum: nobody gets the lock, and inventory needs it to set stock, too.
        let order = page.order("k1", "a").await;
        assert!(matches!(order, 404 | 503), "{order}");
        assert_eq!(page.act(json!({"do": "heal-nodes"})).await.0, 202);
        page.until(|moment| moment["stage"]["node_faults"] == json!({}) && not_responding(moment, "nodes").is_empty())
            .await;
        page.put_stock("a", 1).await;
        // A replica that asks before its connections are made again answers 503 and has the customer retry.
        let ordered = async { while page.order("k2", "a").await != 201 {} };
        timeout(TIME_LIMIT, ordered).await.expect("an order, once the nodes run again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_another_program_started_are_paused_and_wiped_and_go_on_when_the_page_ends() {
    let (stack, folder) = (small_stack().await, tempfile::tempdir().expect("a folder"));
    let environment = Environment::external(&stack.target, folder.path()).await.expect("an environment");
    while_served(&stack, &environment, async |page| {
        let seen = page.until(|moment| not_responding(moment, "nodes").is_empty()).await;
        assert_eq!(seen["stage"]["offered_node_faults"], json!(["pause", "wipe", "heal"]));
        let node = |number: usize, fault: &str| json!({"do": "node", "number": number, "fault": fault});
        assert_eq!(page.act(node(1, "kill")).await, (409, "not_available".to_owned()));
        assert_eq!(page.act(node(4, "pause")).await, (409, "no_such_node".to_owned()));
        assert_eq!(page.act(node(0, "pause")).await, (409, "no_such_node".to_owned()));

        page.put_stock("a", 2).await;
        assert_eq!(page.act(node(1, "wipe")).await.0, 202);
        assert_eq!(page.act(json!({"do": "break-node"})).await.0, 202);
        assert_eq!(page.order("k1", "a").await, 201, "two of three nodes are a quorum");
        assert_eq!(page.act(json!({"do": "break-node"})).await.0, 202);
        let paused = json!({"redis-2": "pause", "redis-3": "pause"});
        page.until(|moment| moment["stage"]["node_faults"] == paused).await;
        assert_eq!(page.order("k2", "a").await, 503, "one of three nodes is none");
        assert_eq!(page.act(json!({"do": "heal-nodes"})).await.0, 202);
        // A replica that asks before its connections are made again answers 503 and has the customer retry.
        let ordered = async { while page.order("k2", "a").await != 201 {} };
        timeout(TIME_LIMIT, ordered).await.expect("an order, once the nodes go on");
        assert_eq!(page.act(json!({"do": "break-node"})).await.0, 202);
    })
    .await;
    let written = redis_command(&stack.target.redis[2], &["SET", "a", "1"]).await;
    assert_eq!(written.expect("an answer"), "OK", "a node must not stay paused when the page ends");
    drop(environment);
    stack.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_browser_sends_for_another_site_changes_nothing() {
    on_a_page(async |page| {
        let action = page.http.post(format!("{}/v1/actions", page.url)).json(&sell());
        let foreign =
            action.header("origin", "http://evil.example").timeout(TIME_LIMIT).send().await.expect("an answer");
        assert_eq!(foreign.status(), 403);
        let rebound = page.http.get(&page.url).header("host", "evil.example").timeout(TIME_LIMIT).send().await;
        assert_eq!(rebound.expect("an answer").status(), 403);
        let form = page.http.post(format!("{}/v1/actions", page.url)).header("content-type", "text/plain");
        let form = form.body(sell().to_string()).timeout(TIME_LIMIT).send().await.expect("an answer");
        assert_eq!(form.status(), 415, "a form of another site could send it without asking");
        let moment = page.until(|moment| moment["databases_read"] == true).await;
        assert_eq!(moment["stage"]["sale"], 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_over_http_reports_a_row_that_was_tampered_with() {
    on_a_page(async |page| {
        page.put_stock("a", 1).await;
        assert_eq!(page.order("k1", "a").await, 201);
        let database = sqlx::PgPool::connect(&page.stack.target.postgres.inventory).await.expect("the database");
        // Triggers refuse this update to every role, so a superuser switches them off first.
        let tampered =
            "set session_replication_role = replica; update reservation_lines set quantity = 2 where sku = 'a'";
        sqlx::raw_sql(tampered).execute(&database).await.expect("tampered with");
        let audit: Value = page.get("/v1/audit").await.json().await.expect("JSON");
        assert_eq!(audit["passed"], false);
        let items = audit["items"].as_array().into_iter().flatten();
        let broken: Vec<_> = items.filter(|item| item["state"] == "broken").map(|item| &item["item"]).collect();
        assert_eq!(broken, [&json!(1), &json!(2)], "{audit}");
    })
    .await;
}
