//! An inventory service with a database of its own, and the requests that tests send. Absence: no test.

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
    /// The URL of its database, for a superuser.
    pub(crate) database: String,
    _stop: oneshot::Sender<()>,
}

/// The parts of a response that tests look at.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) content_type: String,
    pub(crate) retry_after: String,
}

impl Inventory {
    pub(crate) async fn start() -> Self {
        Self::with(&["--lab"]).await
    }

    pub(crate) async fn with(flags: &[&str]) -> Self {
        let database = Postgres::shared().await.fresh_database("inventory").await.expect("a fresh database");
        Self::on(database, flags).await
    }

    /// A service on an existing database: another replica.
    pub(crate) async fn on(database: String, flags: &[&str]) -> Self {
        let url = format!("--database-url={}", logged_in_as("inventory_service", &database));
        let migrate_url = format!("--migrate-url={database}");
        let token = format!("--token={TOKEN}");
        let required = ["inventory", "--listen=127.0.0.1:0", &url, &migrate_url, &token];
        let pool: &[&str] = if flags.iter().any(|flag| flag.starts_with("--pool")) { &[] } else { &["--pool=8"] };
        let config = Config::try_parse_from(required.iter().chain(pool).chain(flags)).expect("flags that parse");
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

    /// Reserves one unit of each line, `(sku, token, observed_available)`, for `order`.
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

    /// Confirms or cancels a reservation; `verb` is the last segment of the path.
    pub(crate) async fn transition(&self, reservation: &str, verb: &str) -> Answer {
        answer(self.call(Method::POST, &format!("/v1/reservations/{reservation}/{verb}"))).await
    }

    /// Reserves one unit of each SKU for a new order, with a strategy without tokens; returns the reservation's id.
    pub(crate) async fn hold(&self, skus: &[&str]) -> String {
        let lines: Vec<_> = skus.iter().map(|sku| json!({ "sku": sku, "quantity": 1 })).collect();
        let body = json!({ "order_id": Uuid::now_v7(), "lines": lines, "hold_seconds": 900 });
        id_of(&self.reserve_as("atomic", &body).await.ok())
    }

    /// Sets the end of a hold to a moment ago. Only a superuser with the triggers switched off can do that.
    pub(crate) async fn end_hold(&self, reservation: &str) {
        let mut superuser = self.sql().await;
        sqlx::raw_sql("set session_replication_role = replica").execute(&mut superuser).await.expect("a superuser");
        let end = "update reservations set expires_at = now() - interval '1 ms' where id = $1::uuid";
        let ended = sqlx::query(end).bind(reservation).execute(&mut superuser).await.expect("an update");
        assert_eq!(ended.rows_affected(), 1);
    }

    /// Kinds and deltas of a SKU's ledger, the oldest first. Asserts that its rows chain and its fences never decrease.
    pub(crate) async fn ledger(&self, sku: &str) -> Vec<(String, i64)> {
        let read =
            "select kind, delta, before, after, coalesce(fence, 0) from stock_ledger where sku = $1 order by seq";
        let read = sqlx::query_as(read).bind(sku).fetch_all(&mut self.sql().await).await;
        let rows: Vec<(String, i64, i64, i64, i64)> = read.expect("a ledger");
        let (mut units, mut highest) = (0, 0);
        for (kind, delta, before, after, fence) in &rows {
            assert!((*before, *after) == (units, units + delta) && *fence >= highest, "{kind}: {rows:?}");
            (units, highest) = (*after, *fence);
        }
        rows.into_iter().map(|(kind, delta, ..)| (kind, delta)).collect()
    }

    /// Waits until `query` counts `expected`: for changes by the service itself.
    pub(crate) async fn until(&self, query: &'static str, expected: i64) {
        while self.count(query).await != expected {
            tokio::task::yield_now().await;
        }
    }

    /// Units in held and confirmed reservations, from the database.
    pub(crate) async fn sold(&self, sku: &str) -> i64 {
        let sold = "select coalesce(sum(l.quantity), 0)::bigint from reservation_lines l
                      join reservations r on r.id = l.reservation_id
                     where l.sku = $1 and r.status in ('held', 'confirmed')";
        sqlx::query_scalar(sold).bind(sku).fetch_one(&mut self.sql().await).await.expect("a sum")
    }

    pub(crate) async fn sql(&self) -> PgConnection {
        PgConnection::connect(&self.database).await.expect("the database answers")
    }

    /// A connection that logs in as `role`.
    pub(crate) async fn sql_as(&self, role: &str) -> PgConnection {
        PgConnection::connect(&logged_in_as(role, &self.database)).await.expect("the database answers")
    }

    /// Runs statements as a superuser in the service's database; tests remove conditions of the protocol with it.
    pub(crate) async fn run_sql(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&mut self.sql().await).await.expect("statements that run");
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.sql().await).await.expect("a count")
    }
}

pub(crate) fn id_of(reservation: &Value) -> String {
    reservation["reservation_id"].as_str().expect("an id").to_owned()
}

pub(crate) fn logged_in_as(role: &str, database: &str) -> String {
    database.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response: Response = request.send().await.expect("the service answers");
    let header = |name| response.headers().get(name).map_or("", |v| v.to_str().unwrap_or("")).to_owned();
    let (content_type, retry_after) = (header("content-type"), header("retry-after"));
    let status = response.status();
    let body = response.json().await.unwrap_or(Value::Null);
    Answer { status, body, content_type, retry_after }
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
