//! Units that come back, in a sale that really took place: orders are cancelled and their units sold again. The auditor's
//! general search has to find an order of all the answers, and must not find one where nothing came back.

use std::sync::Arc;
use std::time::Duration;

use load_tests::audit::{self, Evidence, Quiet, Scope, until_quiet};
use load_tests::cluster::stack::Stack;
use load_tests::interrupt::Interrupt;
use load_tests::runner::environment::Ground;
use load_tests::runner::sale::Sale;
use load_tests::scenario::plan::answer_limit;
use load_tests::scenario::strategy::Strategy;
use load_tests::workload::{Attack, Lane, Mischief};
use tokio::time::Instant;
use uuid::Uuid;

use crate::faults::environment::{binaries, shape};

/// Nothing here takes so long, on any machine.
const PATIENCE: Duration = Duration::from_mins(1);
const UNITS: u64 = 6;
const CUSTOMERS: u64 = 4;

/// They want a unit each, at the same time.
async fn sell(ground: &Ground<'_>, lane: Lane) {
    let (limit, mischief) = (answer_limit(&shape()), Arc::new(Mischief::default()));
    let attack = Attack::new(&ground.target.orders, vec![lane], limit, mischief, &Interrupt::never());
    attack.expect("an attack").crowd(CUSTOMERS, Instant::now() + PATIENCE).await;
}

async fn cancel(ground: &Ground<'_>, order: Uuid) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/v1/orders/{order}/cancel", ground.target.orders[0]);
    assert_eq!(client.post(url).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn answers_of_a_sale_in_which_units_came_back_are_explained_by_that_and_by_nothing_less() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = Stack::start(&shape(), &binaries(), None).await.expect("a stack");
    let ground = Ground::own(&stack, folder.path()).await.expect("a ground");
    let file = "history.jsonl".to_owned();
    let sale = Sale::open(&ground, Strategy::RedlockFenced, "1", &[UNITS], file).await.expect("a sale");

    sell(&ground, sale.lane(&[0; 10])).await;
    let scope = Scope::Skus(sale.skus.clone());
    let orders = ground.auditor.read(&scope).await.expect("the books").orders;
    let held: Vec<_> = orders.iter().filter(|order| order.stands()).map(|order| order.id).collect();
    assert_eq!(held.len() as u64, UNITS, "all of it is sold");
    for &order in &held[..2] {
        cancel(&ground, order).await;
    }
    sell(&ground, Lane { prefix: format!("{}-again", sale.prefix), ..sale.lane(&[0; 5]) }).await;

    let quiet = until_quiet(&ground.auditor, Some(&ground.inventory), PATIENCE).await.expect("a look");
    assert!(matches!(quiet, Quiet::Yes), "{quiet:?}");
    let mut books = ground.auditor.read(&scope).await.expect("the books");
    let history = sale.history.finish().expect("a history");
    let sold = history.iter().filter(|one| one.answered.as_ref().is_some_and(|(_, answer)| answer.status == Some(201)));
    assert_eq!((history.len(), sold.count() as u64), (15, UNITS + 2));
    let findings = audit::audit(&Evidence { books: &books, history: Some(&history) });
    assert!(findings.passed(), "{findings:?}");

    let rows = books.ledger.len();
    books.ledger.retain(|row| row.kind != "cancel");
    assert_eq!(books.ledger.len(), rows - 2, "{:?}", books.ledger);
    let findings = audit::audit(&Evidence { books: &books, history: Some(&history) });
    assert!(findings.violations.iter().any(|violation| violation.item == 9), "{findings:?}");
    drop(ground);
    stack.shut_down().await;
}
