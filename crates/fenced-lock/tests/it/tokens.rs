//! Fencing tokens: unique, growing, and raised again where nodes lost their counters.

use fenced_lock::{LockError, Locks, Token, Wait};

use tokio::time::Instant;

use crate::support::{
    TEST_TIMEOUT, eventually, granted, granted_in_time, keys, long_lease, long_timeout, nodes, proxied, redlock,
    resource, token, values,
};

async fn set_counters(nodes: &[testbed::RedisNode], counters: [&str; 5]) {
    for (node, counter) in nodes.iter().zip(counters) {
        node.command(&["SET", "fence:{sku:1}", counter]).await.expect("a counter");
    }
}

#[tokio::test]
async fn equal_counters_become_the_token_in_one_round_trip() {
    let nodes = nodes(5).await;
    set_counters(&nodes, ["41"; 5]).await;
    let grant = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    assert_eq!(token(&grant), 42);
}

#[tokio::test]
async fn unequal_counters_are_sealed_at_the_highest() {
    let nodes = nodes(5).await;
    set_counters(&nodes, ["10", "20", "30", "40", "50"]).await;
    let grant = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    let sealed = token(&grant);
    assert!([31, 41, 51].contains(&sealed), "the highest of a quorum of different counters: {sealed}");
    let expected = format!("owner:{}:token:{sealed}:expiry:", grant.owner());
    eventually("a quorum carries the sealed token, in the counter and in the lock", async || {
        let counters = values(&nodes, "fence:{sku:1}").await;
        let locks = values(&nodes, "lock:{sku:1}").await;
        let alike =
            |(counter, lock): &(&String, &String)| **counter == sealed.to_string() && lock.starts_with(&expected);
        counters.iter().zip(&locks).filter(alike).count() >= 3
    })
    .await;
    let floor = sealed;
    grant.release().await.expect("a quorum");
    let next = granted_in_time(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    assert!(token(&next) > floor);
}

#[tokio::test]
async fn tokens_are_unique_and_grow_whichever_quorum_grants_them() {
    let mut nodes = nodes(5).await;
    let locks = redlock(&nodes);
    locks.ready().await.expect("five nodes answer");
    let mut last = 0;
    // Another minority is stopped in each turn, so that the counters diverge and tokens are sealed.
    for turn in 0..10 {
        let (a, b) = (turn % 5, (turn + 2) % 5);
        nodes[a].pause();
        nodes[b].pause();
        let grant = granted_in_time(&locks, &resource("sku:1"), long_lease()).await;
        assert!(token(&grant) > last, "{} after {last}", token(&grant));
        last = token(&grant);
        grant.release().await.expect("three nodes answer");
        nodes[a].resume();
        nodes[b].resume();
        // The two nodes execute what they received during the stop before they answer this.
        eventually("all nodes are back", async || {
            nodes[a].command(&["PING"]).await.is_ok() && nodes[b].command(&["PING"]).await.is_ok()
        })
        .await;
    }
    nodes[0].kill().await;
    nodes[1].kill().await;
    let grant = granted_in_time(&locks, &resource("sku:1"), long_lease()).await;
    assert!(token(&grant) > last, "across the loss of a minority");
}

#[tokio::test]
async fn tokens_grow_under_one_way_and_cut_connections() {
    let (nodes, proxies, urls) = proxied(5).await;
    let options = long_timeout();
    let clients = [Locks::redlock(urls.clone(), options.clone()), Locks::redlock(urls, options)];
    let mut last = 0;
    for turn in 0..15 {
        // Every minority of two, and every kind of fault: lost answers, lost commands, cut connections.
        for node in [turn % 5, (turn + 2) % 5] {
            match turn % 3 {
                0 => proxies[node].drop_to_client(true),
                1 => proxies[node].drop_to_upstream(true),
                _ => proxies[node].cut(),
            }
        }
        let grant = granted_in_time(&clients[turn % 2], &resource("sku:1"), long_lease()).await;
        assert!(token(&grant) > last, "{} after {last}, in turn {turn}", token(&grant));
        last = token(&grant);
        grant.release().await.expect("three nodes answer");
        for proxy in &proxies {
            proxy.heal();
        }
    }
    eventually("nothing is left behind", async || keys(&nodes, "sku:1").await.is_empty()).await;
}

#[tokio::test]
async fn a_lock_that_expired_early_is_granted_again_with_a_higher_token() {
    let nodes = nodes(5).await;
    let early = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    eventually("it is on all nodes", async || keys(&nodes, "sku:1").await.len() == 5).await;
    for node in &nodes {
        node.command(&["PEXPIRE", "lock:{sku:1}", "1"]).await.expect("a shorter life");
    }
    let next = granted_in_time(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    // Both callers assume that they hold the lock. The tokens let the storage refuse the older one.
    assert!(token(&next) > token(&early));
}

#[tokio::test]
async fn tokens_grow_across_one_nodes_amnesia() {
    let mut nodes = nodes(5).await;
    set_counters(&nodes, ["100"; 5]).await;
    let locks = redlock(&nodes);
    let mut last = 100;
    for i in 0..5 {
        nodes[i].restart().await.expect("a node that starts");
        // Until this node counts again, so that only one node at a time has lost its memory.
        let deadline = Instant::now() + TEST_TIMEOUT;
        while values(&nodes[i..=i], "fence:{sku:1}").await[0].is_empty() {
            assert!(Instant::now() < deadline, "the node is not used again");
            let grant = granted_in_time(&locks, &resource("sku:1"), long_lease()).await;
            assert!(token(&grant) > last, "{} after {last}", token(&grant));
            last = token(&grant);
            grant.release().await.expect("a quorum");
        }
    }
    assert!(last > 100);
}

#[tokio::test]
async fn a_raised_floor_heals_counters_that_all_nodes_lost() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    let sku = resource("sku:1");
    for node in &nodes {
        node.command(&["FLUSHALL"]).await.expect("an empty node");
    }
    let stale = granted(&locks, &sku, long_lease()).await;
    assert_eq!(token(&stale), 1);
    stale.release().await.expect("a quorum");
    locks.raise_floor(&sku, Token::new(900).expect("a token")).await.expect("a quorum");
    let healed = granted_in_time(&locks, &sku, long_lease()).await;
    assert!(token(&healed) > 900);
    locks.raise_floor(&sku, Token::new(5).expect("a token")).await.expect("a quorum");
    healed.release().await.expect("a quorum");
    assert!(token(&granted_in_time(&locks, &sku, long_lease()).await) > 901, "a floor never lowers a counter");
}

#[tokio::test]
async fn a_floor_needs_a_quorum() {
    let mut nodes = nodes(3).await;
    let locks = redlock(&nodes);
    nodes[0].kill().await;
    let floor = Token::new(7).expect("a token");
    locks.raise_floor(&resource("sku:1"), floor).await.expect("two of three");
    nodes[1].kill().await;
    let error = locks.raise_floor(&resource("sku:1"), floor).await.expect_err("one of three");
    assert!(matches!(error, LockError::QuorumUnavailable { needed: 2, answered: 1, of: 3, .. }), "{error}");
}

#[tokio::test]
async fn an_exhausted_counter_grants_nothing() {
    let nodes = nodes(5).await;
    let last = Token::MAX.to_string();
    set_counters(&nodes, [&last; 5]).await;
    let error =
        redlock(&nodes).try_lock(&resource("sku:1"), Wait::none(), long_lease()).await.expect_err("no more tokens");
    assert!(matches!(error, LockError::TokensExhausted { .. }), "{error}");
    eventually("nothing is left behind", async || keys(&nodes, "sku:1").await.is_empty()).await;
}
