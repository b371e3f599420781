//! Servers that cannot vote as lock nodes: refused by the check at the start of a service, and never counted.

use fenced_lock::{LockError, Locks, NodeUrl, Nodes, UnsuitableNode, Wait};
use testbed::{Mode, RedisNode};

use crate::support::{connected, eventually, granted, keys, long_lease, long_timeout, nodes, resource};

fn locks_at(urls: &[String]) -> Locks {
    let urls = urls.iter().map(|url| NodeUrl::parse(url).expect("an address"));
    Locks::redlock(Nodes::new(urls.collect()).expect("odd"), long_timeout())
}

/// What acquiring a lock reports.
async fn refusal(locks: &Locks) -> String {
    let error = locks.try_lock(&resource("sku:1"), Wait::none(), long_lease()).await.expect_err("no quorum");
    assert!(matches!(error, LockError::QuorumUnavailable { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn one_server_under_two_names_is_refused_with_both_names() {
    let servers = nodes(2).await;
    let addr = servers[0].addr();
    for name in ["localhost", "LOCALHOST", "127.1"] {
        let name = format!("{name}:{}", addr.port());
        let locks = locks_at(&[servers[0].url(), format!("redis://{name}"), servers[1].url()]);
        let flaw = locks.check_nodes().await.expect_err("one server");
        let UnsuitableNode::SameServer { first, second } = &flaw else { panic!("{flaw}") };
        assert_eq!((first.to_string(), second.to_string()), (addr.to_string(), name));
        let error = refusal(&locks).await;
        assert!(error.contains(&flaw.to_string()), "{error}");
        eventually("what was granted is released", async || keys(&servers, "sku:1").await.is_empty()).await;
    }
}

#[tokio::test]
async fn a_server_that_answers_under_a_second_name_later_is_not_counted_twice() {
    let mut servers = nodes(2).await;
    let second_name = format!("redis://localhost:{}", servers[0].addr().port());
    let locks = locks_at(&[servers[0].url(), second_name, servers[1].url()]);
    servers[0].kill().await;
    locks.check_nodes().await.expect("only one server answers");
    servers[0].restart().await.expect("a restart");
    eventually("the server answers under both names", async || locks.check_nodes().await.is_err()).await;
    let error = refusal(&locks).await;
    assert!(error.contains(&format!("lock nodes {} and localhost", servers[0].addr())), "{error}");
}

#[tokio::test]
async fn servers_that_were_restarted_are_still_independent() {
    let mut servers = nodes(3).await;
    let locks = locks_at(&servers.iter().map(RedisNode::url).collect::<Vec<_>>());
    for _ in 0..3 {
        locks.check_nodes().await.expect("three servers");
        connected(&locks, &servers).await;
        for server in &mut servers {
            server.restart().await.expect("a restart");
        }
    }
    connected(&locks, &servers).await;
    locks.check_nodes().await.expect("three servers");
}

#[tokio::test]
async fn a_shard_and_a_replica_of_a_cluster_are_refused_with_the_reason() {
    if !matches!(RedisNode::mode().await.expect("a mode"), Mode::Native) {
        println!("skipped: the nodes of a cluster in containers do not reach one another");
        return;
    }
    let cluster = testbed::redis_cluster().await.expect("a cluster");
    let shards = locks_at(&cluster.iter().map(RedisNode::url).collect::<Vec<_>>());
    let flaw = shards.check_nodes().await.expect_err("shards");
    assert!(matches!(flaw, UnsuitableNode::Shard { .. }), "{flaw}");
    let error = refusal(&shards).await;
    assert_eq!(error.matches("has only some of the hash slots of its cluster").count(), 3, "{error}");

    // A shard without slots becomes a replica of another.
    let id = cluster[0].command(&["CLUSTER", "MYID"]).await.expect("an id");
    cluster[2].command(&["CLUSTER", "DELSLOTSRANGE", "10923", "16383"]).await.expect("no slots");
    cluster[2].command(&["CLUSTER", "REPLICATE", &id]).await.expect("a replica");
    let independent = nodes(2).await;
    let locks = locks_at(&[independent[0].url(), cluster[2].url(), independent[1].url()]);
    let flaw = locks.check_nodes().await.expect_err("a replica");
    assert_eq!(flaw, UnsuitableNode::Replica { node: cluster[2].addr().to_string().into() });
    // The two others are a quorum.
    granted(&locks, &resource("sku:1"), long_lease()).await.release().await.expect("a quorum");
}
