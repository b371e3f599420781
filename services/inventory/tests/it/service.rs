//! One inventory service with a database of its own, and the calls that tests make. No test here.

use clap::Parser as _;
use inventory::{app::App, config::Config};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use testbed::Postgres;
use tokio::{net::TcpListener, sync::oneshot};
use uuid::Uuid;

const TOKEN: &str = "a-token-for-tests";

pub(crate) struct Inventory {
    url: String,
    http: reqwest::Client,
    database: String,
    _stop: oneshot::Sender<()>,
}

/// Status and body of an answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) content_type: String,
}

impl Inventory {
    pub(crate) async fn start() -> Self {
        Self::with(&["--lab"]).await
    }

    pub(crate) async fn with(flags: &[&str]) -> Self {
        let database = Postgres::shared().await.fresh_database("inventory").await.expect("a fresh database");
        let url = format!("--database-url={database}");
        let token = format!("--token={TOKEN}");
        let needed = ["inventory", "--listen=127.0.0.1:0", &url, &token, "--pool=8"];
        let config = Config::try_parse_from(needed.iter().chain(flags)).expect("flags that parse");
        let app = App::build(&config).await.expect("the service builds");
        let listener = TcpListener::bind(config.listen).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async move { drop(stopped.await) };
        tokio::spawn(async move { app.run(listener, &config, until).await });
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { url, http, database, _stop: stop }
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(TOKEN)
    }

    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.call(Method::GET, path)).await
    }

    pub(crate) async fn put(&self, sku: &str, on_hand: i64) -> Answer {
        answer(self.call(Method::PUT, &format!("/v1/stock/{sku}")).json(&json!({ "on_hand": on_hand }))).await
    }

    pub(crate) async fn available(&self, sku: &str) -> i64 {
        self.get(&format!("/v1/stock/{sku}")).await.body["available"].as_i64().expect("available")
    }

    pub(crate) async fn claim(&self, tokens: &[(&str, i64)]) -> Answer {
        let lines: Vec<_> = tokens.iter().map(|(sku, token)| json!({ "sku": sku, "fencing_token": token })).collect();
        let claim = self.call(Method::POST, "/v1/claims").header("lock-strategy", "redlock-fenced");
        answer(claim.json(&json!({ "lines": lines }))).await
    }

    /// Reserves one unit of each line `(sku, token, observed)` for `order`.
    pub(crate) async fn reserve(&self, strategy: &str, order: Uuid, lines: &[(&str, Option<i64>, i64)]) -> Answer {
        let lines: Vec<_> = lines
            .iter()
            .map(|(sku, token, observed)| {
                let mut line = json!({ "sku": sku, "quantity": 1, "observed_available": observed });
                if let Some(token) = token {
                    line["fencing_token"] = json!(token);
                }
                line
            })
            .collect();
        self.reserve_as(strategy, &json!({ "order_id": order, "lines": lines, "hold_seconds": 900 })).await
    }

    pub(crate) async fn reserve_as(&self, strategy: &str, body: &Value) -> Answer {
        answer(self.call(Method::POST, "/v1/reservations").header("lock-strategy", strategy).json(body)).await
    }

    /// Units that live reservations hold, from the database.
    pub(crate) async fn sold(&self, sku: &str) -> i64 {
        let sold = "select coalesce(sum(l.quantity), 0)::bigint from reservation_lines l
                      join reservations r on r.id = l.reservation_id
                     where l.sku = $1 and r.status in ('held', 'confirmed')";
        sqlx::query_scalar(sold).bind(sku).fetch_one(&mut self.sql().await).await.expect("a sum")
    }

    pub(crate) async fn sql(&self) -> PgConnection {
        PgConnection::connect(&self.database).await.expect("the database answers")
    }

    /// Runs statements in the service's database: how a test takes a condition out.
    pub(crate) async fn run_sql(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&mut self.sql().await).await.expect("statements that run");
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.sql().await).await.expect("a count")
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response: Response = request.send().await.expect("the service answers");
    let content_type = response.headers().get("content-type").map_or("", |v| v.to_str().unwrap_or("")).to_owned();
    let status = response.status();
    let body = response.json().await.unwrap_or(Value::Null);
    Answer { status, body, content_type }
}

impl Answer {
    pub(crate) fn is(&self, status: u16, code: &str) {
        let problem = (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default());
        assert_eq!(problem, (status, code), "{}", self.body);
        assert_eq!(self.content_type, "application/problem+json");
        assert!(self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{}", self.body);
    }

    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.body
    }
}
