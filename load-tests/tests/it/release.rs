//! Units that come back, in a sale that really took place: orders are cancelled and their units sold again. The auditor's
//! general search has to find an order of all the answers, and must not find one where nothing came back.

use std::sync::Arc;
use std::time::Duration;

use contract::Strategy;

use load_tests::audit::{self, Evidence, Item, LedgerKind, Quiescence, Scope, wait_until_quiescent};
use load_tests::cluster::stack::Stack;
use load_tests::interrupt::Interrupt;
use load_tests::runner::environment::Environment;
use load_tests::runner::sale::Sale;
use load_tests::workload::{Attack, DuplicateMode, Workload};
use tokio::time::Instant;
use uuid::Uuid;

use crate::faults::environment::{binaries, stack_config};

/// Nothing here takes so long, on any machine.
const PATIENCE: Duration = Duration::from_mins(1);
const UNITS: u64 = 6;
const CUSTOMERS: u64 = 4;

/// They want a unit each, at the same time.
async fn sell(environment: &Environment<'_>, workload: Workload) {
    let (limit, duplicates) = (stack_config().answer_limit(), Arc::new(DuplicateMode::default()));
    let attack = Attack::new(&environment.target.orders, vec![workload], limit, duplicates, &Interrupt::never());
    attack.expect("an attack").closed_until(CUSTOMERS, Instant::now() + PATIENCE).await;
}

async fn cancel(environment: &Environment<'_>, order: Uuid) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/v1/orders/{order}/cancel", environment.target.orders[0]);
    assert_eq!(client.post(url).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn answers_of_a_sale_in_which_units_came_back_are_explained_by_that_and_by_nothing_less() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = Stack::start(&stack_config(), &binaries(), None).await.expect("a stack");
    let environment = Environment::own_stack(&stack, folder.path()).await.expect("a environment");
    let file = "history.jsonl".to_owned();
    let sale = Sale::open(&environment, Strategy::RedlockFenced, "1", &[UNITS], file).await.expect("a sale");

    sell(&environment, sale.workload(&[0; 10])).await;
    let scope = Scope::Skus(sale.skus.clone());
    let orders = environment.auditor.read(&scope).await.expect("the snapshot").orders;
    let held: Vec<_> = orders.iter().filter(|order| order.is_live()).map(|order| order.id).collect();
    assert_eq!(held.len() as u64, UNITS, "all of it is sold");
    for &order in &held[..2] {
        cancel(&environment, order).await;
    }
    sell(&environment, Workload { prefix: format!("{}-again", sale.prefix), ..sale.workload(&[0; 5]) }).await;

    let quiescence =
        wait_until_quiescent(&environment.auditor, Some(&environment.inventory), PATIENCE).await.expect("a look");
    assert!(matches!(quiescence, Quiescence::Reached), "{quiescence:?}");
    let mut snapshot = environment.auditor.read(&scope).await.expect("the snapshot");
    let history = sale.history.finish().expect("a history");
    let sold = history.iter().filter(|one| one.answered.as_ref().is_some_and(|(_, answer)| answer.status == Some(201)));
    assert_eq!((history.len(), sold.count() as u64), (15, UNITS + 2));
    let findings = audit::audit(&Evidence { snapshot: &snapshot, history: Some(&history) });
    assert!(findings.passed(), "{findings:?}");

    let rows = snapshot.ledger.len();
    snapshot.ledger.retain(|row| row.kind != LedgerKind::Cancel);
    assert_eq!(snapshot.ledger.len(), rows - 2, "{:?}", snapshot.ledger);
    let findings = audit::audit(&Evidence { snapshot: &snapshot, history: Some(&history) });
    assert!(findings.violations.iter().any(|violation| violation.item() == Item::SoldOutJustified), "{findings:?}");
    drop(environment);
    stack.shut_down().await;
}
