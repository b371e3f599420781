//! Released units in a real sale: orders are cancelled and their units sold again, after the sale and during it. The auditor's
//! general search must find a sequence that explains all answers, and must find none if the ledger shows no released unit.

use std::sync::Arc;
use std::time::Duration;

use contract::Strategy;

use load_tests::audit::{self, Evidence, Item, LedgerKind, Quiescence, Scope, wait_until_quiescent};
use load_tests::cluster::config::StackConfig;
use load_tests::cluster::stack::Stack;
use load_tests::interrupt::Interrupt;
use load_tests::runner::environment::Environment;
use load_tests::runner::sale::Sale;
use load_tests::workload::operation::Operation;
use load_tests::workload::{Attack, DuplicateMode, Workload};
use tokio::time::Instant;
use uuid::Uuid;

use crate::small_stack::{binaries, stack_config};

/// Longer than anything here takes, on any machine.
const TIME_LIMIT: Duration = Duration::from_mins(1);
const UNITS: u64 = 6;
const CUSTOMERS: u64 = 4;

/// Several customers order a unit each, concurrently, until every order of the workload is placed.
async fn sell(environment: &Environment<'_>, workload: Workload) {
    let (limit, duplicates) = (stack_config().answer_limit(), Arc::new(DuplicateMode::default()));
    let attack = Attack::new(&environment.target.orders, vec![workload], limit, duplicates, &Interrupt::never());
    attack.expect("an attack").closed_until(CUSTOMERS, Instant::now() + TIME_LIMIT).await;
}

async fn cancel(environment: &Environment<'_>, order: Uuid) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/v1/orders/{order}/cancel", environment.target.orders[0]);
    assert_eq!(client.post(url).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn the_answers_of_a_sale_with_released_units_are_explained_by_the_release_and_only_by_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = Stack::start(&stack_config(), &binaries(), None).await.expect("a stack");
    let environment = Environment::own_stack(&stack, folder.path()).await.expect("an environment");
    let file = "history.jsonl".to_owned();
    let sale = Sale::open(&environment, Strategy::RedlockFenced, "1", &[UNITS], file).await.expect("a sale");

    sell(&environment, sale.workload(&[0; 10])).await;
    let scope = Scope::Skus(sale.skus.clone());
    let orders = environment.auditor.read(&scope).await.expect("a snapshot").orders;
    let held: Vec<_> = orders.iter().filter(|order| order.is_live()).map(|order| order.id).collect();
    assert_eq!(held.len() as u64, UNITS, "the whole stock is sold");
    for &order in &held[..2] {
        cancel(&environment, order).await;
    }
    sell(&environment, Workload { prefix: format!("{}-again", sale.prefix), ..sale.workload(&[0; 5]) }).await;

    let quiescence = wait_until_quiescent(&environment.auditor, Some(&environment.inventory), TIME_LIMIT)
        .await
        .expect("the databases answer");
    assert!(matches!(quiescence, Quiescence::Reached), "{quiescence:?}");
    let mut snapshot = environment.auditor.read(&scope).await.expect("a snapshot");
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

/// Nearly all of these are refused, most of them by a read that several share.
const RUSH: usize = 1_000;

/// So many more refusals before units are returned again.
const REFUSALS: u64 = 50;

/// Cancels an order that holds units, and now and then puts units into stock, once more orders were refused.
async fn return_units(environment: &Environment<'_>, sale: &Sale, turn: u64) {
    let mut tally = sale.history.tally();
    let refused = tally.borrow().sold_out + REFUSALS;
    tally.wait_for(|tally| tally.sold_out >= refused).await.expect("the history is being written");
    let orders = environment.auditor.read(&Scope::Skus(sale.skus.clone())).await.expect("a snapshot").orders;
    if let Some(held) = orders.iter().find(|order| order.is_live()) {
        cancel(environment, held.id).await;
    }
    if turn.is_multiple_of(3) {
        environment.inventory.put_stock(&sale.skus[0], UNITS + 1 + turn).await.expect("stock is put");
    }
}

#[tokio::test]
async fn refusals_while_orders_are_cancelled_and_stock_is_put_are_all_justified() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack_config = StackConfig { payment: Duration::from_millis(2), ..stack_config() };
    let stack = Stack::start(&stack_config, &binaries(), None).await.expect("a stack");
    let environment = Environment::own_stack(&stack, folder.path()).await.expect("an environment");
    let file = "history.jsonl".to_owned();
    let sale = Sale::open(&environment, Strategy::RedlockFenced, "1", &[UNITS], file).await.expect("a sale");

    let (mut selling, mut turn) = (Box::pin(sell(&environment, sale.workload(&[0; RUSH]))), 0);
    loop {
        tokio::select! {
            () = &mut selling => break,
            () = return_units(&environment, &sale, turn) => turn += 1,
        }
    }
    drop(selling);

    let quiescence = wait_until_quiescent(&environment.auditor, Some(&environment.inventory), TIME_LIMIT)
        .await
        .expect("the databases answer");
    assert!(matches!(quiescence, Quiescence::Reached), "{quiescence:?}");
    let snapshot = environment.auditor.read(&Scope::Skus(sale.skus.clone())).await.expect("a snapshot");
    let history = sale.history.finish().expect("a history");
    let answered = |status| {
        let is = |one: &&Operation| one.answered.as_ref().is_some_and(|(_, answer)| answer.status == Some(status));
        history.iter().filter(is).count()
    };
    let (sold, refused) = (answered(201), answered(409));
    assert_eq!(sold + refused, RUSH, "every order is sold or refused");
    assert!(sold as u64 > UNITS && refused > sold, "units are sold again, and most orders refused: {sold}, {refused}");
    let findings = audit::audit(&Evidence { snapshot: &snapshot, history: Some(&history) });
    assert!(findings.passed(), "{findings:?}");
    drop(environment);
    stack.shut_down().await;
}
