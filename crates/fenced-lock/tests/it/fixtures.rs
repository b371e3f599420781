//! The backends as the conformance suite uses them: how to start one, and how to read what its servers store.
//! A new backend is one struct here and one line in `main.rs`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use etcd_client::GetOptions;
use fenced_lock::{
    AdvisoryDatabase, EtcdEndpoints, Lease, Locks, NodeUrl, Nodes, Options, Resource, ZookeeperEnsemble,
};
use sqlx::{Connection as _, PgConnection};
use testbed::{Etcd, Postgres, RedisNode, Zookeeper};
use tokio::sync::OnceCell;

use crate::support;

/// A backend with its own servers, or with its own names on shared servers.
pub(crate) trait Fixture: Sized {
    /// Why the backend issues no tokens. `None` where it issues them.
    const NO_TOKENS: Option<&'static str>;

    /// Whether the backend counts by itself, so that its tokens cannot be raised.
    const COUNTS_BY_ITSELF: bool = false;

    /// Whether a dropped lock ends with a socket, so that the server learns of it by itself.
    const ENDS_WITH_SOCKET: bool = false;

    /// Starts its servers.
    async fn start() -> Self;

    /// The addresses of its servers.
    fn addrs(&self) -> Vec<SocketAddr>;

    /// A new client with its own connections and queues, as another process would have.
    fn client(&self) -> Locks {
        self.client_at(&self.addrs(), support::long_timeout())
    }

    /// A new client that reaches the servers at other addresses.
    fn client_at(&self, addrs: &[SocketAddr], options: Options) -> Locks;

    /// A resource that no other test uses; the test calls it `name`.
    fn resource(&self, name: &str) -> Resource {
        support::resource(name)
    }

    /// The shortest lease that the backend does not round up.
    fn short_lease(&self) -> Lease {
        support::lease(1_000)
    }

    /// The entries of holders and waiters of `resource` on the servers.
    async fn remaining_entries(&self, resource: &Resource) -> Vec<String>;
}

/// One test's names on a server that other tests use as well.
#[derive(Debug)]
pub(crate) struct NameScope(u32);

impl NameScope {
    fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    fn resource(&self, name: &str) -> Resource {
        support::resource(&format!("test:{}:{name}", self.0))
    }
}

/// Redlock.
pub(crate) struct FiveNodes(Vec<RedisNode>);

impl Fixture for FiveNodes {
    const NO_TOKENS: Option<&'static str> = None;

    async fn start() -> Self {
        Self(support::nodes(5).await)
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.0.iter().map(RedisNode::addr).collect()
    }

    fn client_at(&self, addrs: &[SocketAddr], options: Options) -> Locks {
        let urls = addrs.iter().map(|addr| NodeUrl::parse(&format!("redis://{addr}")).expect("an address"));
        Locks::redlock(Nodes::new(urls.collect()).expect("an odd number"), options)
    }

    async fn remaining_entries(&self, resource: &Resource) -> Vec<String> {
        support::keys(&self.0, resource.as_str()).await
    }
}

/// Redlock over nodes with cluster mode enabled, each of which has all hash slots.
pub(crate) struct SingleShardNodes(FiveNodes);

impl Fixture for SingleShardNodes {
    const NO_TOKENS: Option<&'static str> = None;

    async fn start() -> Self {
        Self(FiveNodes(testbed::single_shard_nodes(5).await.expect("redis nodes")))
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.0.addrs()
    }

    fn client_at(&self, addrs: &[SocketAddr], options: Options) -> Locks {
        self.0.client_at(addrs, options)
    }

    async fn remaining_entries(&self, resource: &Resource) -> Vec<String> {
        self.0.remaining_entries(resource).await
    }
}

/// One Redis node.
pub(crate) struct SingleNode(Vec<RedisNode>);

impl Fixture for SingleNode {
    const NO_TOKENS: Option<&'static str> = Some("a counter on one node is lost with the node");

    async fn start() -> Self {
        Self(support::nodes(1).await)
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.0.iter().map(RedisNode::addr).collect()
    }

    fn client_at(&self, addrs: &[SocketAddr], options: Options) -> Locks {
        Locks::redis(NodeUrl::parse(&format!("redis://{}", addrs[0])).expect("an address"), options)
    }

    async fn remaining_entries(&self, resource: &Resource) -> Vec<String> {
        support::keys(&self.0, resource.as_str()).await
    }
}

/// One etcd server for all tests.
pub(crate) struct OneEtcd(&'static Etcd, NameScope);

impl Fixture for OneEtcd {
    const NO_TOKENS: Option<&'static str> = None;
    const COUNTS_BY_ITSELF: bool = true;

    async fn start() -> Self {
        static SHARED: OnceCell<Etcd> = OnceCell::const_new();
        let server = SHARED.get_or_init(async || Etcd::start().await.expect("an etcd server")).await;
        Self(server, NameScope::next())
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        vec![self.0.addr()]
    }

    fn client_at(&self, addrs: &[SocketAddr], options: Options) -> Locks {
        Locks::etcd(EtcdEndpoints::parse(&format!("http://{}", addrs[0])).expect("an address"), options)
    }

    fn resource(&self, name: &str) -> Resource {
        self.1.resource(name)
    }

    /// etcd counts in whole seconds.
    fn short_lease(&self) -> Lease {
        support::lease(1_000)
    }

    async fn remaining_entries(&self, resource: &Resource) -> Vec<String> {
        let mut etcd = etcd_client::Client::connect([self.0.url()], None).await.expect("a connection");
        let folder = format!("fenced-lock/{resource}/");
        let found = etcd.get(folder, Some(GetOptions::new().with_prefix())).await.expect("an answer");
        found.kvs().iter().map(|entry| entry.key_str().expect("a name").to_owned()).collect()
    }
}

/// One ZooKeeper server for all tests.
pub(crate) struct OneZookeeper(&'static Zookeeper, NameScope);

impl Fixture for OneZookeeper {
    const NO_TOKENS: Option<&'static str> = None;
    const COUNTS_BY_ITSELF: bool = true;

    async fn start() -> Self {
        static SHARED: OnceCell<Zookeeper> = OnceCell::const_new();
        let server = SHARED.get_or_init(async || Zookeeper::start().await.expect("a ZooKeeper server")).await;
        Self(server, NameScope::next())
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        vec![self.0.addr()]
    }

    fn client_at(&self, addrs: &[SocketAddr], options: Options) -> Locks {
        let ensemble = ZookeeperEnsemble::parse(&addrs[0].to_string()).expect("an address");
        Locks::zookeeper(ensemble.with_session(support::lease(4_000)), options)
    }

    fn resource(&self, name: &str) -> Resource {
        self.1.resource(name)
    }

    async fn remaining_entries(&self, resource: &Resource) -> Vec<String> {
        let zookeeper = zookeeper_client::Client::connect(&self.0.url()).await.expect("a session");
        match zookeeper.list_children(&format!("/fenced-lock/{resource}")).await {
            Ok(children) => children,
            Err(zookeeper_client::Error::NoNode) => Vec::new(),
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

/// Advisory locks of the one Postgres server for all tests.
pub(crate) struct OnePostgres(&'static Postgres, NameScope);

impl Fixture for OnePostgres {
    const NO_TOKENS: Option<&'static str> = Some("Postgres returns nothing with an advisory lock that grows");
    const ENDS_WITH_SOCKET: bool = true;

    async fn start() -> Self {
        Self(Postgres::shared().await, NameScope::next())
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        vec![self.0.addr()]
    }

    fn client_at(&self, addrs: &[SocketAddr], options: Options) -> Locks {
        let database = AdvisoryDatabase::parse(&format!("postgres://postgres@{}/postgres", addrs[0]));
        Locks::postgres_advisory(database.expect("an address"), options)
    }

    fn resource(&self, name: &str) -> Resource {
        self.1.resource(name)
    }

    async fn remaining_entries(&self, resource: &Resource) -> Vec<String> {
        let mut postgres = PgConnection::connect(&self.0.url("postgres")).await.expect("a connection");
        let ask = "select format('%s, granted: %s', pid, granted) from pg_locks
            where locktype = 'advisory' and ((classid::bigint << 32) | objid::bigint) = hashtextextended($1, 0)";
        let found = sqlx::query_scalar(ask).bind(resource.as_str()).fetch_all(&mut postgres).await;
        found.expect("an answer")
    }
}
