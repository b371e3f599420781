//! The behaviour of every backend towards waiters: they are woken, in order, and leave nothing behind.

use std::task::{Context, Waker};
use std::time::Duration;

use fenced_lock::Locks;

use crate::fixtures::Fixture;
use crate::support::{eventually, granted, granted_in_time, long_lease, long_wait};

pub(crate) async fn a_release_wakes_a_waiter_of_another_client<F: Fixture>() {
    let backend = F::start().await;
    wakes(&backend, backend.client(), backend.client()).await;
}

pub(crate) async fn a_release_wakes_a_waiter_of_the_same_client<F: Fixture>() {
    let backend = F::start().await;
    let client = backend.client();
    wakes(&backend, client.clone(), client).await;
}

/// The lease is so long that a waiter without a wake-up is not granted the lock before the test times out.
async fn wakes<F: Fixture>(backend: &F, holder: Locks, waiter: Locks) {
    let sku = backend.resource("sku:1");
    let grant = granted(&holder, &sku, long_lease()).await;
    let wanted = sku.clone();
    let waiting = tokio::spawn(async move { granted_in_time(&waiter, &wanted, long_lease()).await });
    // The waiter must not miss the release, whatever it is doing at this moment.
    tokio::time::sleep(Duration::from_millis(50)).await;
    grant.release().await.expect("an answer");
    waiting.await.expect("no panic").release().await.expect("an answer");
    eventually("nothing is left behind", async || backend.remaining_entries(&sku).await.is_empty()).await;
}

pub(crate) async fn a_cancelled_waiter_leaves_nothing_behind<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let holder = granted(&backend.client(), &sku, long_lease()).await;
    let waiter = backend.client();
    let waiting = waiter.try_lock(&sku, long_wait(), long_lease());
    assert!(tokio::time::timeout(Duration::from_millis(100), waiting).await.is_err(), "it must still be waiting");
    holder.release().await.expect("an answer");
    eventually("nothing is left behind", async || backend.remaining_entries(&sku).await.is_empty()).await;
}

pub(crate) async fn waiters_of_a_client_are_served_in_order<F: Fixture>() {
    let backend = F::start().await;
    assert_eq!(order_of_service(&backend, &[]).await, [0, 1, 2, 3, 4]);
}

pub(crate) async fn a_cancelled_waiter_does_not_change_the_order<F: Fixture>() {
    let backend = F::start().await;
    assert_eq!(order_of_service(&backend, &[0, 2]).await, [1, 3, 4]);
}

/// Five waiters of one client queue behind a holder, those in `cancelled` give up, the holder releases. Returns the
/// order in which the others were granted the lock.
async fn order_of_service<F: Fixture>(backend: &F, cancelled: &[usize]) -> Vec<usize> {
    let (client, sku) = (backend.client(), backend.resource("sku:1"));
    let holder = granted(&client, &sku, long_lease()).await;
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    let mut waiters = Vec::new();
    for number in 0..5 {
        let (client, served, sku) = (client.clone(), served.clone(), sku.clone());
        let mut waiter = Box::pin(async move {
            let grant = granted_in_time(&client, &sku, long_lease()).await;
            served.send(number).expect("the test receives");
            grant.release().await.expect("an answer");
        });
        // The first poll joins the queue.
        let first = waiter.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(first.is_pending());
        waiters.push(tokio::spawn(waiter));
    }
    drop(served);
    for &number in cancelled {
        waiters[number].abort();
    }
    holder.release().await.expect("an answer");
    let mut numbers = Vec::new();
    while let Some(number) = order.recv().await {
        numbers.push(number);
    }
    numbers
}
