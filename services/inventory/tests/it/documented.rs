//! The OpenAPI document in `docs/` is the one that the service serves.

use std::path::Path;

use serde_json::Value;

use crate::service::{Inventory, answer};

const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/inventory.json");

/// The checked-in document. `HOLDFAST_UPDATE_OPENAPI=1 cargo test -p inventory documented` regenerates it first.
fn checked_in() -> Value {
    if std::env::var_os("HOLDFAST_UPDATE_OPENAPI").is_some() {
        let written = inventory::http::router::document().to_pretty_json().expect("JSON");
        std::fs::create_dir_all(Path::new(CHECKED_IN).parent().expect("a folder")).expect("a folder");
        std::fs::write(CHECKED_IN, written + "\n").expect("written");
    }
    let read = std::fs::read(CHECKED_IN).expect("docs/openapi/inventory.json");
    serde_json::from_slice(&read).expect("JSON")
}

#[test]
fn the_checked_in_document_is_the_generated_one() {
    let made = serde_json::to_value(inventory::http::router::document()).expect("JSON");
    let checked_in = checked_in();
    assert_eq!(checked_in, made, "regenerate it with HOLDFAST_UPDATE_OPENAPI=1 and review the difference");
    assert_eq!(checked_in["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
}

#[tokio::test]
async fn the_checked_in_document_is_the_one_that_is_served_without_a_token() {
    let inventory = Inventory::start().await;
    let served = answer(inventory.anonymous(reqwest::Method::GET, "/openapi.json")).await;
    assert_eq!(served.ok(), checked_in());
}

#[test]
fn every_operation_requires_the_bearer_token_and_documents_401() {
    let document = serde_json::to_value(inventory::http::router::document()).expect("JSON");
    assert_eq!(document["security"], serde_json::json!([{ "bearer": [] }]));
    for (path, calls) in document["paths"].as_object().expect("paths") {
        for (method, call) in calls.as_object().expect("calls") {
            assert!(call["responses"]["401"].is_object(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_documentation_page_needs_no_token() {
    let inventory = Inventory::start().await;
    assert_eq!(answer(inventory.anonymous(reqwest::Method::GET, "/docs/")).await.status, 200);
}
