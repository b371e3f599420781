//! The behaviour of every backend when its servers cannot be reached: an error, never a grant and never contention.
//! The servers keep running; the proxies in front of them fail.

use std::time::Duration;

use fenced_lock::{FailureKind, Grant, LockError, Locks, Options, ReleaseOutcome, Resource, Token, Wait};
use testbed::Proxy;

use crate::fixtures::Fixture;
use crate::support::{
    assert_contended, eventually, granted, granted_in_time, long_lease, long_wait, node_timeout, token,
};

/// A client with its own proxies in front of the servers.
struct Network {
    locks: Locks,
    proxies: Vec<Proxy>,
}

impl Network {
    /// Resolves when the client is connected to all servers.
    async fn of<F: Fixture>(backend: &F, warm_up: &Resource) -> Self {
        let mut proxies = Vec::new();
        for addr in backend.addrs() {
            proxies.push(Proxy::start(addr).await.expect("a proxy"));
        }
        let addrs: Vec<_> = proxies.iter().map(Proxy::addr).collect();
        let options = Options::default().with_node_timeout(node_timeout(500));
        let network = Self { locks: backend.client_at(&addrs, options), proxies };
        network.wait_until_usable(warm_up).await;
        network
    }

    fn all(&self, fault: impl Fn(&Proxy)) {
        self.proxies.iter().for_each(fault);
    }

    async fn wait_until_usable(&self, resource: &Resource) {
        eventually("the backend is used again", async || {
            match self.locks.try_lock(resource, Wait::none(), long_lease()).await {
                Ok(Some(grant)) => grant.release().await.is_ok(),
                Ok(None) | Err(_) => false,
            }
        })
        .await;
    }
}

fn assert_unavailable(outcome: Result<Option<Grant>, LockError>) {
    let error = outcome.expect_err("no answer");
    assert!(error.retryable(), "{error}");
    let node_errors: Vec<_> = match &error {
        LockError::QuorumUnavailable { nodes, .. } => nodes.iter().collect(),
        LockError::Unavailable { source, .. } => vec![source],
        other => panic!("expected an unavailable backend, not: {other}"),
    };
    assert!(!node_errors.is_empty());
    for node in node_errors {
        assert_ne!(node.kind(), FailureKind::WrongAnswer, "{node:?}");
    }
}

pub(crate) async fn a_backend_that_does_not_answer_is_an_error_and_leaves_nothing_behind<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let network = Network::of(&backend, &backend.resource("warm-up")).await;
    network.all(|proxy| proxy.drop_to_client(true));
    assert_unavailable(network.locks.try_lock(&sku, Wait::none(), long_lease()).await);
    assert_unavailable(network.locks.try_lock(&sku, long_wait(), long_lease()).await);
    network.all(Proxy::heal);
    network.wait_until_usable(&sku).await;
    eventually("grants whose answers were lost are released", async || {
        backend.remaining_entries(&sku).await.is_empty()
    })
    .await;
}

pub(crate) async fn an_unreachable_backend_is_an_error_and_is_used_again_later<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let network = Network::of(&backend, &sku).await;
    network.all(Proxy::cut);
    assert_unavailable(network.locks.try_lock(&sku, Wait::none(), long_lease()).await);
    network.locks.ready().await.expect_err("no connection");
    network.locks.holder(&sku).await.expect_err("no connection");
    network.all(Proxy::heal);
    network.wait_until_usable(&sku).await;
    eventually("nothing is left behind", async || backend.remaining_entries(&sku).await.is_empty()).await;
}

pub(crate) async fn a_wait_ends_when_the_backend_is_lost<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let network = Network::of(&backend, &backend.resource("warm-up")).await;
    let holder = granted(&backend.client(), &sku, long_lease()).await;
    let (locks, wanted) = (network.locks.clone(), sku.clone());
    // Longer than the test: only the loss of the backend can end this wait.
    let wait = Wait::up_to(Duration::from_hours(1));
    let waiting = tokio::spawn(async move { locks.try_lock(&wanted, wait, long_lease()).await });
    eventually("the waiter is queued", async || backend.remaining_entries(&sku).await.len() > backend.addrs().len())
        .await;
    network.all(Proxy::cut);
    assert_unavailable(waiting.await.expect("no panic"));
    holder.release().await.expect("an answer");
    network.all(Proxy::heal);
    network.wait_until_usable(&sku).await;
}

pub(crate) async fn an_unanswered_extension_keeps_the_lock<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let network = Network::of(&backend, &backend.resource("warm-up")).await;
    let grant = granted_in_time(&network.locks, &sku, long_lease()).await;
    network.all(|proxy| proxy.drop_to_client(true));
    let error = grant.extend(long_lease()).await.expect_err("no answer");
    assert!(matches!(error, LockError::QuorumUnavailable { .. } | LockError::Unavailable { .. }), "{error}");
    network.all(Proxy::heal);
    eventually("the lock is extended", async || grant.extend(long_lease()).await.is_ok()).await;
    assert_contended(&backend.client(), &sku).await;
    assert_eq!(grant.release().await.expect("an answer"), ReleaseOutcome::Released);
}

/// The client has neither destructors nor tasks nor connections any more.
pub(crate) async fn the_lock_of_a_dead_client_is_granted_again<F: Fixture>() {
    let backend = F::start().await;
    let sku = backend.resource("sku:1");
    let (locks, wanted, lease) = (backend.client(), sku.clone(), backend.short_lease());
    let died = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let grant = runtime.block_on(granted_in_time(&locks, &wanted, lease));
        let token = grant.token();
        std::mem::forget(grant);
        runtime.shutdown_background();
        token
    });
    let last = died.join().expect("no panic");
    let next = granted_in_time(&backend.client(), &sku, long_lease()).await;
    assert!(last.is_none_or(|last| token(&next) > last.get()));
}

pub(crate) async fn a_floor_is_raised_or_reported_out_of_reach<F: Fixture>() {
    let backend = F::start().await;
    let (locks, sku) = (backend.client(), backend.resource("sku:1"));
    let floor = Token::new(Token::MAX / 2).expect("a token");
    let raised = locks.raise_floor(&sku, floor).await;
    match (F::NO_TOKENS, F::COUNTS_BY_ITSELF) {
        (Some(_), _) => assert!(matches!(raised, Err(LockError::NoTokens { .. })), "{raised:?}"),
        (None, true) => assert!(matches!(raised, Err(LockError::FloorOutOfReach { .. })), "{raised:?}"),
        (None, false) => raised.expect("a quorum"),
    }
    let grant = granted_in_time(&locks, &sku, long_lease()).await;
    if F::NO_TOKENS.is_none() {
        assert_eq!(token(&grant) > floor.get(), !F::COUNTS_BY_ITSELF);
        // A token that the backend has issued is no floor to raise.
        locks.raise_floor(&sku, grant.token().expect("a token")).await.expect("the floor is reached already");
    }
}
