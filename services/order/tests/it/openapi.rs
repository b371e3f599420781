//! What is documented is what is served.

use std::path::Path;

use serde_json::{Value, json};

use crate::stack::Stack;

const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/order.json");

/// `HOLDFAST_UPDATE_OPENAPI=1 cargo test -p order documented` writes it anew.
fn checked_in() -> Value {
    if std::env::var_os("HOLDFAST_UPDATE_OPENAPI").is_some() {
        let written = order::http::router::document().to_pretty_json().expect("JSON");
        std::fs::create_dir_all(Path::new(CHECKED_IN).parent().expect("a folder")).expect("a folder");
        std::fs::write(CHECKED_IN, written + "\n").expect("written");
    }
    let read = std::fs::read(CHECKED_IN).expect("docs/openapi/order.json");
    serde_json::from_slice(&read).expect("JSON")
}

#[test]
fn the_checked_in_document_is_the_one_the_code_makes() {
    let made = serde_json::to_value(order::http::router::document()).expect("JSON");
    let checked_in = checked_in();
    assert_eq!(checked_in, made, "run the test with HOLDFAST_UPDATE_OPENAPI=1 and look at the difference");
    assert_eq!(checked_in["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
}

#[tokio::test]
async fn the_checked_in_document_is_the_one_that_is_served() {
    let stack = Stack::start().await;
    assert_eq!(stack.get("/openapi.json").await.body, checked_in());
}

#[tokio::test]
async fn the_page_to_browse_it_needs_no_network() {
    let stack = Stack::start().await;

    let page = stack.get("/docs/").await;

    let html = String::from_utf8(page.bytes).expect("text");
    assert_eq!((page.status, page.body), (200, json!(null)));
    assert!(html.contains("swagger-ui") && !html.contains("https://") && !html.contains("http://"), "{html}");
}
