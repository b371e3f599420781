//! The proxies of a stack, one for each line that a fault may break: customers to order, order to each lock node, each
//! replica to its database.
//!
//! Absence: nothing is broken here; `faults` does that. The auditor takes none of these ways.

use std::net::SocketAddr;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use testbed::Proxy;
use url::Url;

use super::stack::Servers;

/// Every proxy, by what stands behind it.
#[derive(Debug)]
pub struct Proxies {
    /// Customers to each replica of order.
    pub orders: Vec<Proxy>,
    /// Order, all replicas, to each lock node.
    pub redis: Vec<Proxy>,
    /// Each replica of inventory to its database.
    pub inventory_postgres: Vec<Proxy>,
    /// Each replica of order to its database.
    pub order_postgres: Vec<Proxy>,
}

impl Proxies {
    pub(super) async fn start(servers: &mut Servers, replicas: usize) -> anyhow::Result<Self> {
        let postgres = servers.postgres.get_mut().addr();
        let nodes: Vec<SocketAddr> = servers.redis.iter_mut().map(|node| node.get_mut().addr()).collect();
        let to = |addrs: Vec<SocketAddr>| try_join_all(addrs.into_iter().map(Proxy::start));
        Ok(Self {
            orders: Vec::new(),
            redis: to(nodes).await?,
            inventory_postgres: to(vec![postgres; replicas]).await?,
            order_postgres: to(vec![postgres; replicas]).await?,
        })
    }

    /// Stands in front of the replicas of order; returns where customers go now.
    pub(super) async fn before_orders(&mut self, urls: &[String]) -> anyhow::Result<Vec<String>> {
        let addr =
            |url: &String| url.trim_start_matches("http://").parse().with_context(|| format!("{url} has no address"));
        let addrs: Vec<SocketAddr> = urls.iter().map(addr).collect::<anyhow::Result<_>>()?;
        self.orders = try_join_all(addrs.into_iter().map(Proxy::start)).await?;
        Ok(self.orders.iter().map(|proxy| format!("http://{}", proxy.addr())).collect())
    }

    pub(super) fn redis_urls(&self) -> Vec<String> {
        self.redis.iter().map(|proxy| format!("redis://{}", proxy.addr())).collect()
    }

    /// Ends every fault of every line.
    pub fn heal(&self) {
        for proxies in [&self.orders, &self.redis, &self.inventory_postgres, &self.order_postgres] {
            proxies.iter().for_each(Proxy::heal);
        }
    }
}

/// The same database, by way of the proxy if there is one.
pub(super) fn through(proxy: Option<&Proxy>, url: &str) -> anyhow::Result<String> {
    let Some(proxy) = proxy else { return Ok(url.to_owned()) };
    let mut url = Url::parse(url)?;
    url.set_port(Some(proxy.addr().port())).map_err(|()| anyhow::anyhow!("a database URL has a port"))?;
    Ok(url.into())
}
