//! `held → confirmed | cancelled | expired`: the last three are final, and units are returned at most once.

use reqwest::Method;
use uuid::Uuid;

use crate::service::Inventory;

#[tokio::test]
async fn a_confirmed_reservation_keeps_its_units() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    let held = inventory.hold(&["a"]).await;
    let confirmed = inventory.transition(&held, "confirm").await.ok();
    assert_eq!(confirmed["status"], "confirmed");
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (2, 1));
}

#[tokio::test]
async fn a_cancelled_reservation_returns_every_unit_and_refuses_earlier_claims() {
    let inventory = Inventory::start().await;
    for sku in ["a", "b"] {
        inventory.put(sku, 3).await.ok();
    }
    let held = inventory.hold(&["a", "b"]).await;
    inventory.claim(&[("a", 50)]).await.ok();
    let cancelled = inventory.transition(&held, "cancel").await.ok();
    assert_eq!((cancelled["status"].as_str(), inventory.sold("a").await), (Some("cancelled"), 0));
    assert_eq!((inventory.available("a").await, inventory.available("b").await), (3, 3));
    let late = inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("a", Some(50), 2)]).await;
    late.is(409, "stale_fencing_token");
    let ledger = inventory.ledger("a").await;
    assert_eq!(ledger, [("put".into(), 3), ("reserve".into(), -1), ("cancel".into(), 1)]);
}

#[tokio::test]
async fn a_repeated_transition_gets_the_same_answer_byte_for_byte_and_changes_no_stock() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    for (verb, left) in [("confirm", 2), ("cancel", 2)] {
        let held = inventory.hold(&["a"]).await;
        let path = format!("/v1/reservations/{held}/{verb}");
        let mut answers = Vec::new();
        for _ in 0..3 {
            let answer = inventory.call(Method::POST, &path).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            answers.push(answer.bytes().await.expect("a body"));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        assert_eq!(inventory.available("a").await, left, "{verb}");
    }
}

#[tokio::test]
async fn a_repeated_reserve_gets_the_same_answer_byte_for_byte() {
    let inventory = Inventory::start().await;
    inventory.put("a", 1).await.ok();
    let line = serde_json::json!({ "sku": "a", "quantity": 1 });
    let body = serde_json::json!({ "order_id": Uuid::now_v7(), "lines": [line], "hold_seconds": 60 });
    let mut answers = Vec::new();
    for _ in 0..2 {
        let reserve = inventory.call(Method::POST, "/v1/reservations").header("lock-strategy", "atomic").json(&body);
        let answer = reserve.send().await.expect("an answer");
        let location = answer.headers()["location"].clone();
        answers.push((answer.status(), location, answer.bytes().await.expect("a body")));
    }
    assert_eq!((&answers[0], answers[0].0.as_u16()), (&answers[1], 201));
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (0, 1));
}

#[tokio::test]
async fn invalid_state_is_409_once_a_reservation_is_final() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    let confirmed = inventory.hold(&["a"]).await;
    inventory.transition(&confirmed, "confirm").await.ok();
    let refused = inventory.transition(&confirmed, "cancel").await;
    refused.is(409, "invalid_state");
    assert_eq!(refused.body["state"], "confirmed");
    let cancelled = inventory.hold(&["a"]).await;
    inventory.transition(&cancelled, "cancel").await.ok();
    inventory.transition(&cancelled, "confirm").await.is(409, "invalid_state");
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (2, 1));
}

#[tokio::test]
async fn reservation_expired_is_409_for_a_late_confirmation_swept_or_not() {
    let inventory = Inventory::with(&["--lab", "--sweep-ms=3600000"]).await;
    inventory.put("a", 3).await.ok();
    inventory.until("select count(*) from stock", 1).await;
    let held = inventory.hold(&["a"]).await;
    inventory.end_hold(&held).await;
    inventory.transition(&held, "confirm").await.is(409, "reservation_expired");
    assert_eq!(inventory.available("a").await, 2, "the units are returned by the sweep, not by the refusal");

    let sweeping = Inventory::on(inventory.database.clone(), &["--lab", "--sweep-ms=20"]).await;
    sweeping.until("select count(*) from reservations where status = 'expired'", 1).await;
    inventory.transition(&held, "confirm").await.is(409, "reservation_expired");
    inventory.transition(&held, "cancel").await.is(409, "invalid_state");
    assert_eq!(inventory.available("a").await, 3);
}

#[tokio::test]
async fn not_found_is_404_for_a_transition_of_an_unknown_reservation() {
    let inventory = Inventory::start().await;
    for verb in ["confirm", "cancel"] {
        inventory.transition(&Uuid::now_v7().to_string(), verb).await.is(404, "not_found");
        inventory.transition("not-an-id", verb).await.is(404, "not_found");
    }
}

#[tokio::test]
async fn of_concurrent_transitions_of_one_reservation_one_changes_stock() {
    let inventory = Inventory::start().await;
    inventory.put("a", 1).await.ok();
    for _ in 0..10 {
        let held = inventory.hold(&["a"]).await;
        let (first, second, third) = tokio::join!(
            inventory.transition(&held, "cancel"),
            inventory.transition(&held, "confirm"),
            inventory.transition(&held, "cancel"),
        );
        let confirmed = second.status == 200;
        assert_eq!((first.status == 200, third.status == 200), (!confirmed, !confirmed));
        assert_eq!(
            (inventory.available("a").await, inventory.sold("a").await),
            if confirmed { (0, 1) } else { (1, 0) }
        );
        if confirmed {
            break;
        }
    }
    inventory.ledger("a").await;
}
