//! The limits of numbers and names, which are refused before any node is asked; and the backend `off`.

use std::task::{Context, Waker};
use std::time::Duration;

use fenced_lock::{
    ClientName, CounterTtl, InvalidNodes, Lease, LockError, Locks, NodeTimeout, NodeUrl, Nodes, Options,
    ReleaseOutcome, Resource, Token, Wait,
};

use crate::support::{granted, granted_in_time, lease, long_lease, nodes, redlock, redlock_with, resource};

#[test]
fn a_one_millisecond_lease_is_refused() {
    assert!(Lease::new(Duration::from_millis(1)).is_err());
    assert!(Lease::new(Lease::MIN.saturating_sub(Duration::from_nanos(1))).is_err());
    assert!(Lease::new(Lease::MIN).is_ok());
}

#[test]
fn a_lease_longer_than_the_nodes_can_count_is_refused() {
    assert!(Lease::new(Duration::from_millis(u64::MAX)).is_err());
    assert!(Lease::new(Duration::MAX).is_err());
    assert!(Lease::new(Lease::MAX).is_ok());
}

#[test]
fn an_unlimited_wait_is_cut_to_the_maximum() {
    assert_eq!(Wait::up_to(Duration::MAX).get(), Wait::MAX);
}

#[test]
fn an_even_number_of_nodes_is_refused() {
    assert!(matches!(Nodes::parse("redis://a,redis://b"), Err(InvalidNodes::Even(2))));
    assert!(matches!(Nodes::parse(""), Err(InvalidNodes::Even(0))));
    assert!(Nodes::parse("redis://a, redis://b, redis://c").is_ok());
}

#[test]
fn a_node_named_twice_is_refused() {
    let refused = Nodes::parse("redis://a,redis://b,redis://user:secret@a:6379").expect_err("a is a:6379");
    assert!(matches!(&refused, InvalidNodes::Duplicate(name) if name == "a:6379"), "{refused}");
}

#[test]
fn an_address_of_something_else_is_refused() {
    assert!(matches!(NodeUrl::parse("http://a:6379"), Err(InvalidNodes::NotANode { .. })));
    assert!(matches!(NodeUrl::parse("6379"), Err(InvalidNodes::NotAUrl { .. })));
}

#[test]
fn a_password_is_never_shown() {
    let url = NodeUrl::parse("rediss://lock:hunter2@node-1:6380").expect("an address");
    let refused = NodeUrl::parse("http://lock:hunter2@node-1:6380").expect_err("not a node");
    let broken = NodeUrl::parse("redis://lock:hunter2@node-1:port").expect_err("not a port");
    for shown in [format!("{url} {url:?}"), format!("{refused} {refused:?}"), format!("{broken} {broken:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn names_that_would_break_a_key_or_a_value_are_refused() {
    for name in ["", "a b", "a\nb", "ä", &"x".repeat(257)] {
        assert!(Resource::new(name).is_err(), "{name:?}");
    }
    assert!(ClientName::new("order:1").is_err(), "a colon separates the parts of a value");
    assert!(ClientName::new("order-1").is_ok());
}

#[test]
fn numbers_outside_of_their_range_are_refused() {
    assert!(NodeTimeout::new(Duration::ZERO).is_err());
    assert!(CounterTtl::new(Duration::from_secs(1)).is_err(), "shorter than a lease");
    assert!(Token::new(0).is_err() && Token::new(1 << 53).is_err());
    assert!(Token::new(Token::MAX).is_ok());
}

#[tokio::test]
async fn the_longest_and_the_shortest_lease_are_granted() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    locks.ready().await.expect("five nodes answer");
    let longest = Lease::new(Lease::MAX).expect("a lease");
    granted(&locks, &resource("sku:1"), longest).await.release().await.expect("a quorum");
    // On a busy machine nothing may be left of 10 ms when the nodes have answered; that is a retryable error.
    match locks.try_lock(&resource("sku:2"), Wait::none(), lease(10)).await {
        Ok(Some(grant)) => grant.lost().await,
        Ok(None) => panic!("the lock is free"),
        Err(error) => assert!(error.retryable(), "{error}"),
    }
}

#[tokio::test]
async fn an_empty_or_oversized_set_is_refused() {
    let locks = Locks::off();
    let none = locks.try_lock_all(&[], Wait::none(), long_lease()).await;
    assert!(matches!(none, Err(LockError::ResourceCount { requested: 0, .. })));
    let many: Vec<_> = (0..=Locks::MAX_RESOURCES).map(|number| resource(&format!("sku:{number}"))).collect();
    let many = locks.try_lock_all(&many, Wait::none(), long_lease()).await;
    assert!(matches!(many, Err(LockError::ResourceCount { requested: 129, limit: 128 })));
}

#[tokio::test]
async fn a_full_queue_is_an_error() {
    let nodes = nodes(1).await;
    let options = Options::default().with_max_waiters(std::num::NonZeroUsize::MIN);
    let locks = redlock_with(&nodes, options);
    let holder = granted(&locks, &resource("sku:1"), long_lease()).await;
    let waiter = locks.clone();
    let mut waiting = Box::pin(async move { granted_in_time(&waiter, &resource("sku:1"), long_lease()).await });
    // The first poll joins the queue, which has room for one caller.
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let error = locks.try_lock(&resource("sku:1"), Wait::none(), long_lease()).await.expect_err("no room");
    assert!(matches!(error, LockError::TooManyWaiters { limit: 1, .. }) && error.retryable(), "{error}");
    holder.release().await.expect("an answer");
    waiting.await.release().await.expect("an answer");
}

#[tokio::test]
async fn off_grants_every_request_at_once_and_has_no_tokens() {
    let locks = Locks::off();
    locks.ready().await.expect("off is always ready");
    let first = granted(&locks, &resource("sku:1"), long_lease()).await;
    let second = granted(&locks, &resource("sku:1"), lease(20)).await;
    assert_eq!((first.token(), second.token()), (None, None));
    second.lost().await;
    first.extend(long_lease()).await.expect("always");
    assert_eq!(first.release().await.expect("always"), ReleaseOutcome::Released);
    let floor = locks.raise_floor(&resource("sku:1"), Token::new(1).expect("a token")).await;
    assert!(matches!(floor, Err(LockError::NoTokens { backend: "off" })));
}
