//! The servers of a stack: lock nodes, Postgres, etcd, ZooKeeper, and the proxies before them.
//!
//! Absence: no service is started here.

use futures_util::future::try_join_all;
use testbed::{Etcd, Mode, Postgres, PostgresOptions, RedisNode, Zookeeper};
use tokio::sync::Mutex;

use super::config::StackConfig;
use super::proxies::Proxies;

/// The servers of a stack. Each is behind a mutex: one fault at a time breaks it.
#[derive(Debug)]
pub struct Servers {
    /// The lock nodes, first the one of strategy `redis`.
    pub redis: Vec<Mutex<RedisNode>>,
    /// The server of both databases.
    pub postgres: Mutex<Postgres>,
    /// The proxies; absent if the stack was started without.
    pub proxies: Option<Proxies>,
    pub(super) etcd: Option<Etcd>,
    pub(super) zookeeper: Option<Zookeeper>,
}

impl Servers {
    /// Starts those that the configuration asks for, and no proxies yet.
    pub(super) async fn start(config: &StackConfig) -> anyhow::Result<Self> {
        let nodes = try_join_all((0..config.redis_nodes).map(|_| RedisNode::start_in(Mode::Native)));
        let postgres = Postgres::start_in(Mode::Native, PostgresOptions::default());
        let etcd = async { if config.etcd { Etcd::start_in(Mode::Native).await.map(Some) } else { Ok(None) } };
        let zookeeper =
            async { if config.zookeeper { Zookeeper::start_in(Mode::Native).await.map(Some) } else { Ok(None) } };
        let (redis, postgres, etcd, zookeeper) = tokio::try_join!(nodes, postgres, etcd, zookeeper)?;
        let redis = redis.into_iter().map(Mutex::new).collect();
        Ok(Self { redis, postgres: Mutex::new(postgres), proxies: None, etcd, zookeeper })
    }

    /// Starts a proxy before each lock node, and one before Postgres for each replica of each service.
    pub(super) async fn start_proxies(&mut self, replicas: usize) -> anyhow::Result<()> {
        let postgres = self.postgres.get_mut().addr();
        let redis = self.redis.iter_mut().map(|node| node.get_mut().addr()).collect();
        self.proxies = Some(Proxies::start(redis, postgres, replicas).await?);
        Ok(())
    }

    /// The smallest majority of the lock nodes.
    pub fn quorum(&self) -> usize {
        self.redis.len() / 2 + 1
    }

    /// The URLs of the lock nodes, through the proxies if there are any.
    pub(super) fn redis_urls(&mut self) -> Vec<String> {
        match &self.proxies {
            Some(proxies) => proxies.redis_urls(),
            None => self.redis.iter_mut().map(|node| node.get_mut().url()).collect(),
        }
    }

    /// The process ids by name; a server without one is left out.
    pub(super) fn pids(&mut self) -> Vec<(String, u32)> {
        let mut pids: Vec<_> = (1..)
            .zip(&mut self.redis)
            .filter_map(|(n, node)| Some((format!("redis-{n}"), node.get_mut().pid()?)))
            .collect();
        pids.extend(self.postgres.get_mut().pid().map(|pid| ("postgres".to_owned(), pid)));
        pids.extend(self.etcd.as_ref().and_then(Etcd::pid).map(|pid| ("etcd".to_owned(), pid)));
        pids.extend(self.zookeeper.as_ref().and_then(Zookeeper::pid).map(|pid| ("zookeeper".to_owned(), pid)));
        pids
    }
}
