//! Nodes with a password, with a user that has only the documented permissions, and with TLS.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use fenced_lock::{FailureKind, LockError, Locks, NodeUrl, Nodes, ReleaseOutcome, Token, UnsuitableNode, Wait};
use tempfile::TempDir;
use testbed::{Mode, RedisNode};

use crate::support::{
    eventually, granted, granted_in_time, keys, long_lease, long_timeout, long_wait, nodes, resource,
};

/// The permissions that the protocol needs, as the crate's README documents them.
const LEAST_PRIVILEGE: &[&str] = &[
    "resetchannels",
    "resetkeys",
    "~lock:*",
    "~fence:*",
    "~wait:*",
    "&wake:*",
    "-@all",
    "+ping",
    "+hello",
    "+script|load",
    "+evalsha",
    "+subscribe",
    "+publish",
    "+get",
    "+set",
    "+del",
    "+incr",
    "+pttl",
    "+pexpire",
    "+zadd",
    "+zrem",
    "+zpopmin",
];

#[test]
fn the_readme_documents_exactly_these_permissions() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("ACL SETUSER lock on >password ").expect("the command");
    let (command, _) = rest.split_once("```").expect("its end");
    let mut documented: Vec<_> = command.split_whitespace().collect();
    let mut used = LEAST_PRIVILEGE.to_vec();
    documented.sort_unstable();
    used.sort_unstable();
    assert_eq!(documented, used);
}

async fn allow_only_what_is_needed(nodes: &[RedisNode]) {
    for node in nodes {
        let mut command = vec!["ACL", "SETUSER", "lock", "on", ">s3cret"];
        command.extend(LEAST_PRIVILEGE);
        node.command(&command).await.expect("a user");
    }
}

fn as_user(nodes: &[RedisNode], user: &str) -> Locks {
    let url = |node: &RedisNode| NodeUrl::parse(&format!("redis://{user}@{}", node.addr())).expect("an address");
    let options = long_timeout();
    Locks::redlock(Nodes::new(nodes.iter().map(url).collect()).expect("odd"), options)
}

#[tokio::test]
async fn the_least_privileged_user_can_do_all_that_the_protocol_does() {
    let nodes = nodes(3).await;
    allow_only_what_is_needed(&nodes).await;
    // Unequal counters, so that a token is sealed too.
    nodes[1].command(&["SET", "fence:{sku:1}", "7"]).await.expect("a counter");
    nodes[2].command(&["SET", "fence:{sku:1}", "3"]).await.expect("a counter");
    let (ours, theirs) = (as_user(&nodes, "lock:s3cret"), as_user(&nodes, "lock:s3cret"));
    ours.ready().await.expect("a quorum");
    let grant = granted(&ours, &resource("sku:1"), long_lease()).await;
    grant.extend(long_lease()).await.expect("still held");
    let waiting = tokio::spawn(async move { granted_in_time(&theirs, &resource("sku:1"), long_lease()).await });
    eventually("the waiter is registered", async || {
        nodes[0].command(&["ZCARD", "wait:{sku:1}"]).await.expect("a count") == "1"
    })
    .await;
    assert_eq!(grant.release().await.expect("a quorum"), ReleaseOutcome::Released);
    waiting.await.expect("no panic").release().await.expect("a quorum");
    ours.raise_floor(&resource("sku:1"), Token::new(50).expect("a token")).await.expect("a quorum");
    let both = [resource("sku:1"), resource("sku:2")];
    drop(ours.try_lock_all(&both, long_wait(), long_lease()).await.expect("a quorum").expect("free"));
    eventually("all is released", async || keys(&nodes, "sku:1").await.is_empty()).await;
    for node in &nodes {
        let denied = node.command(&["ACL", "LOG"]).await.expect("the log of denials");
        assert_eq!(denied, "", "no command was denied");
    }
}

#[tokio::test]
async fn the_least_privileged_user_locks_sets_on_nodes_in_cluster_mode_too() {
    let nodes = testbed::single_shard_nodes(3).await.expect("redis nodes");
    allow_only_what_is_needed(&nodes).await;
    let locks = as_user(&nodes, "lock:s3cret");
    locks.check_nodes().await.expect("three servers");
    let both = [resource("sku:1"), resource("sku:2")];
    let grants = locks.try_lock_all(&both, Wait::none(), long_lease()).await.expect("a quorum").expect("free");
    assert_eq!(grants.release().await.expect("a quorum"), ReleaseOutcome::Released);
}

#[tokio::test]
async fn the_least_privileged_user_has_one_server_under_two_names_refused() {
    let nodes = nodes(2).await;
    allow_only_what_is_needed(&nodes).await;
    let hosts =
        [nodes[0].addr().to_string(), format!("localhost:{}", nodes[0].addr().port()), nodes[1].addr().to_string()];
    let urls = hosts.map(|host| NodeUrl::parse(&format!("redis://lock:s3cret@{host}")).expect("an address"));
    let locks = Locks::redlock(Nodes::new(urls.into()).expect("odd"), long_timeout());
    let flaw = locks.check_nodes().await.expect_err("one server");
    assert!(matches!(flaw, UnsuitableNode::SameServer { .. }), "{flaw}");
}

#[tokio::test]
async fn a_node_that_refuses_the_password_is_reported_as_unreachable() {
    let nodes = nodes(3).await;
    allow_only_what_is_needed(&nodes).await;
    let locks = as_user(&nodes, "lock:wrong");
    let error = locks.try_lock(&resource("sku:1"), Wait::none(), long_lease()).await.expect_err("refused");
    let LockError::QuorumUnavailable { answered: 0, nodes: errors, .. } = &error else { panic!("{error:?}") };
    assert!(errors.iter().all(|error| error.kind() == FailureKind::Unreachable), "{errors:?}");
    assert!(error.to_string().contains("WRONGPASS") && !error.to_string().contains("wrong@"), "{error}");
}

/// A self-signed certificate for 127.0.0.1, in files for the nodes.
fn certificate() -> (TempDir, String) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("key.pem"), signed.signing_key.serialize_pem()).expect("a file");
    std::fs::write(folder.path().join("cert.pem"), signed.cert.pem()).expect("a file");
    (folder, signed.cert.pem())
}

/// Makes a running node listen for TLS as well.
async fn listen_for_tls(node: &RedisNode, folder: &TempDir) -> SocketAddr {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let addr = free.local_addr().expect("its address");
    drop(free);
    let settings = [
        ("tls-cert-file", file("cert.pem")),
        ("tls-key-file", file("key.pem")),
        ("tls-ca-cert-file", file("cert.pem")),
        ("tls-auth-clients", "no".to_owned()),
        ("tls-port", addr.port().to_string()),
    ];
    let mut command = vec!["CONFIG", "SET"];
    command.extend(settings.iter().flat_map(|(name, value)| [*name, value.as_str()]));
    node.command(&command).await.expect("a node that listens for TLS");
    addr
}

#[tokio::test]
async fn nodes_are_reached_over_tls_and_only_if_their_certificate_is_trusted() {
    if !matches!(RedisNode::mode().await.expect("a mode"), Mode::Native) {
        println!("skipped: containers cannot read the files of the certificate");
        return;
    }
    let nodes = nodes(3).await;
    allow_only_what_is_needed(&nodes).await;
    let (folder, pem) = certificate();
    let mut urls = Vec::new();
    for node in &nodes {
        let addr = listen_for_tls(node, &folder).await;
        urls.push(NodeUrl::parse(&format!("rediss://lock:s3cret@{addr}")).expect("an address"));
    }
    let urls = Nodes::new(urls).expect("three nodes");
    let options = long_timeout();
    let trusting = Locks::redlock(urls.clone(), options.clone().with_root_certificate(pem));
    let grant = granted(&trusting, &resource("sku:1"), long_lease()).await;
    assert_eq!(grant.release().await.expect("a quorum"), ReleaseOutcome::Released);
    let error = Locks::redlock(urls, options).ready().await.expect_err("an untrusted certificate");
    assert!(matches!(&error, LockError::QuorumUnavailable { answered: 0, .. }), "{error}");
}
