//! The checks of inventory on its callers: credentials, strategies, fencing
//! tokens. A wrong one is refused before any row is read or written.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    refusal::refusal,
    stack::{Lab, Stack, TOKEN, order},
};

/// One more than the highest fencing token.
const TOO_HIGH: u64 = 1 << 53;

#[tokio::test]
async fn only_allowed_strategies_can_be_chosen() {
    let stack = Stack::start(Lab::Off).await;
    stack.put_stock("chair", 5).await;
    let one = order(&[("chair", json!(1))]);
    let with = |strategy: &str| stack.place("k").header("lock-strategy", strategy).json(&one);
    for unknown in ["hope", "", "REDLOCK", "redlock-fenced, off"] {
        refusal(unknown, with(unknown), 422, "strategy_not_allowed").await;
    }
    for strategy in ["off", "redis", "redlock", "redlock-write-fence"] {
        refusal(strategy, with(strategy), 403, "strategy_not_allowed").await;
        let reserve = stack.inventory(Method::POST, "/v1/reservations");
        let reserve = reserve.header("lock-strategy", strategy);
        let reserve = reserve.json(&reservation(None, &json!(5)));
        refusal(strategy, reserve, 403, "strategy_not_allowed").await;
    }
    let arm = stack.inventory(Method::POST, "/v1/lab/pauses");
    let arm = arm.json(&json!({"sku": "chair", "count": 1}));
    refusal("the lab is off", arm, 404, "not_found").await;
    stack.is_unchanged(5).await;
}

#[tokio::test]
async fn inventory_accepts_only_its_bearer_token() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let url = format!("{}/v1/stock/chair", stack.inventory.url);
    let wrong = ["", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", TOKEN];
    for authorization in wrong {
        let put = stack.http.put(&url).header("authorization", authorization);
        let put = put.json(&json!({"on_hand": 1_000}));
        refusal(authorization, put, 401, "unauthorized").await;
    }
    let near = format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]);
    refusal("a near miss", stack.http.get(&url).header("authorization", near), 401, "unauthorized").await;
    refusal("none at all", stack.http.get(&url), 401, "unauthorized").await;
    stack.is_unchanged(5).await;
}

#[tokio::test]
async fn a_fencing_token_out_of_range_or_of_the_wrong_strategy_is_refused() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let reserve = |strategy: &str, token: Option<Value>| {
        let post = stack.inventory(Method::POST, "/v1/reservations");
        post.header("lock-strategy", strategy).json(&reservation(token.as_ref(), &json!(5)))
    };
    let claim = |token: Value| {
        let post = stack.inventory(Method::POST, "/v1/claims");
        post.json(&json!({"lines": [{"sku": "chair", "fencing_token": token}]}))
    };
    let impossible = [json!(0), json!(-1), json!(TOO_HIGH), json!(u64::MAX), json!(1.5), json!("7")];
    for token in impossible {
        let what = format!("token {token}");
        let written = refusal(&what, reserve("redlock-fenced", Some(token.clone())), 422, "validation_failed").await;
        let claimed = refusal(&what, claim(token), 422, "validation_failed").await;
        for problem in [written, claimed] {
            assert_eq!(problem["errors"][0]["pointer"], "/lines/0/fencing_token", "{what}: {problem}");
        }
    }
    for (strategy, token) in [
        ("redlock-fenced", None),
        ("redlock-write-fence", None),
        ("off", Some(json!(1))),
        ("redis", Some(json!(1))),
        ("redlock", Some(json!(1))),
    ] {
        let what = format!("{strategy} with {token:?}");
        let problem = refusal(&what, reserve(strategy, token), 422, "validation_failed").await;
        assert_eq!(problem["errors"][0]["pointer"], "/lines/0/fencing_token", "{what}: {problem}");
    }
    let highest = json!(TOO_HIGH - 1);
    let claimed = claim(highest.clone()).send().await.expect("a reply");
    assert_eq!(claimed.status(), 200);
    let stale = refusal("a claimed token", claim(highest), 409, "stale_fencing_token").await;
    assert_eq!((&stale["token"], &stale["current"]), (&json!(TOO_HIGH - 1), &json!(TOO_HIGH - 1)));
    let never_claimed = reserve("redlock-fenced", Some(json!(1)));
    refusal("a token that was not claimed", never_claimed, 409, "stale_fencing_token").await;
    assert_eq!(stack.available().await, 5);
}

/// Unsafe strategies write a computed value; even there, more units than exist are refused.
#[tokio::test]
async fn an_observation_of_more_units_than_exist_is_refused() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    for (strategy, token) in [("off", None), ("redlock-write-fence", Some(json!(7)))] {
        for observed in [json!(7), json!(i64::MAX)] {
            let post = stack.inventory(Method::POST, "/v1/reservations");
            let post = post.header("lock-strategy", strategy);
            let post = post.json(&reservation(token.as_ref(), &observed));
            let what = format!("{strategy} observed {observed}");
            let problem = refusal(&what, post, 422, "validation_failed").await;
            assert_eq!(problem["errors"][0]["pointer"], "/lines", "{what}: {problem}");
        }
    }
    stack.is_unchanged(5).await;
}

#[tokio::test]
async fn an_invalid_request_to_inventory_is_refused() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let put = |on_hand: Value| (Method::PUT, "/v1/stock/chair", json!({"on_hand": on_hand}));
    let claim = |lines: Value| (Method::POST, "/v1/claims", json!({"lines": lines}));
    let line = |sku: &str, token: u64| json!({"sku": sku, "fencing_token": token});
    let reserve = |member: &str, value: Value| {
        let mut wrong = reservation(Some(&json!(7)), &json!(5));
        match wrong.get(member) {
            Some(_) => wrong[member] = value,
            None => wrong["lines"][0][member] = value,
        }
        (Method::POST, "/v1/reservations", wrong)
    };
    let get = |path| (Method::GET, path, Value::Null);
    let cases = [
        (put(json!(-1)), 422, "validation_failed"),
        (put(json!(1_000_000_000_000_u64)), 422, "validation_failed"),
        (put(json!("5")), 422, "validation_failed"),
        (claim(json!([])), 422, "validation_failed"),
        (claim(json!(vec![line("chair", 7); 101])), 422, "validation_failed"),
        (claim(json!([line("chair", 7), line("chair", 8)])), 422, "validation_failed"),
        (claim(json!([line("a b", 7)])), 422, "validation_failed"),
        (claim(json!([line("chair", 7), line("nothing", 7)])), 404, "not_found"),
        (reserve("order_id", json!("7")), 422, "validation_failed"),
        (reserve("hold_seconds", json!(0)), 422, "validation_failed"),
        (reserve("hold_seconds", json!(u64::MAX)), 422, "validation_failed"),
        (reserve("lines", json!([])), 422, "validation_failed"),
        (reserve("quantity", json!(0)), 422, "validation_failed"),
        (reserve("quantity", json!(1_000_001)), 422, "validation_failed"),
        (reserve("observed_available", json!(-1)), 422, "validation_failed"),
        (reserve("observed_available", Value::Null), 422, "validation_failed"),
        (reserve("sku", json!("nothing")), 404, "not_found"),
        (get("/v1/stock?limit=0"), 422, "validation_failed"),
        (get("/v1/stock?limit=1001"), 422, "validation_failed"),
        (get("/v1/stock?limit=many"), 422, "validation_failed"),
        (get("/v1/stock?after=%00"), 422, "validation_failed"),
        (get("/v1/reservations"), 422, "validation_failed"),
        (get("/v1/reservations?order_id=7"), 422, "validation_failed"),
    ];
    for ((method, path, body), status, code) in cases {
        let what = format!("{method} {path} {body}");
        refusal(&what, stack.inventory(method, path).json(&body), status, code).await;
    }
    stack.is_unchanged(5).await;
}

fn reservation(token: Option<&Value>, observed: &Value) -> Value {
    let mut line = json!({"sku": "chair", "quantity": 1, "observed_available": observed});
    if let Some(token) = token {
        line["fencing_token"] = token.clone();
    }
    json!({"order_id": Uuid::now_v7(), "lines": [line], "hold_seconds": 60})
}
