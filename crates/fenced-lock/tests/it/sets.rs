//! Sets of resources over Redlock: one round trip, a token for each.

use fenced_lock::{ReleaseOutcome, Token, Wait};

use crate::support::{assert_contended, eventually, granted, keys, long_lease, nodes, redlock, resource, values};

#[tokio::test]
async fn each_resource_of_a_set_has_its_own_token() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    locks.raise_floor(&resource("sku:b"), Token::new(70).expect("a token")).await.expect("a quorum");
    eventually("all nodes have the floor", async || values(&nodes, "fence:{sku:b}").await == ["70"; 5]).await;
    let set = [resource("sku:b"), resource("sku:a")];
    let grants = locks.try_lock_all(&set, Wait::none(), long_lease()).await.expect("a quorum").expect("both free");
    let tokens: Vec<_> = grants.iter().map(|(resource, token)| (resource.to_string(), token.map(Token::get))).collect();
    assert_eq!(tokens, [("sku:a".to_owned(), Some(1)), ("sku:b".to_owned(), Some(71))]);
    assert_eq!(grants.token_of(&resource("sku:c")), None);
}

#[tokio::test]
async fn a_set_whose_counters_differ_is_sealed_resource_by_resource() {
    let nodes = nodes(3).await;
    for (i, node) in nodes.iter().enumerate() {
        node.command(&["SET", "fence:{sku:a}", &(10 * i).to_string()]).await.expect("a counter");
        node.command(&["SET", "fence:{sku:b}", &(100 - 10 * i).to_string()]).await.expect("a counter");
    }
    let set = [resource("sku:a"), resource("sku:b")];
    let grants = redlock(&nodes).try_lock_all(&set, Wait::none(), long_lease()).await.expect("a quorum").expect("free");
    let sealed = |name: &str| grants.token_of(&resource(name)).expect("a token").get();
    let (a, b) = (sealed("sku:a"), sealed("sku:b"));
    assert!([11, 21].contains(&a) && [91, 101].contains(&b), "the highest of a quorum for each: {a}, {b}");
    eventually("a quorum has counted up to both", async || {
        let (in_a, in_b) = (values(&nodes, "fence:{sku:a}").await, values(&nodes, "fence:{sku:b}").await);
        let both = |(x, y): &(&String, &String)| **x == a.to_string() && **y == b.to_string();
        in_a.iter().zip(&in_b).filter(both).count() >= 2
    })
    .await;
}

#[tokio::test]
async fn a_dropped_set_is_released_everywhere() {
    let nodes = nodes(5).await;
    let set = [resource("sku:a"), resource("sku:b")];
    let grants = redlock(&nodes).try_lock_all(&set, Wait::none(), long_lease()).await.expect("a quorum").expect("free");
    drop(grants);
    eventually("both are gone", async || {
        keys(&nodes, "sku:a").await.is_empty() && keys(&nodes, "sku:b").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_set_is_granted_extended_sealed_and_released_by_nodes_in_cluster_mode_and_braces_in_names_do_no_harm() {
    let nodes = testbed::single_shard_nodes(3).await.expect("redis nodes");
    // Unequal counters, so that tokens are sealed too.
    nodes[1].command(&["SET", "fence:{a}", "7"]).await.expect("a counter");
    let locks = redlock(&nodes);
    let names = ["a", "{a}", "}a", "}", "{}", "{}a", "a}", "a{b}"];
    let set = names.map(resource);
    let grants = locks.try_lock_all(&set, Wait::none(), long_lease()).await.expect("a quorum").expect("all free");
    for name in names {
        assert_contended(&locks, &resource(name)).await;
    }
    grants.extend(long_lease()).await.expect("still held");
    assert_eq!(grants.release().await.expect("a quorum"), ReleaseOutcome::Released);
    for name in names {
        granted(&locks, &resource(name), long_lease()).await.release().await.expect("a quorum");
    }
}
