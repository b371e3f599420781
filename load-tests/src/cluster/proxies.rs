//! The proxies of a stack, one for each connection that a fault may break: customers to order, order to each lock node,
//! each replica to its database.
//!
//! Absence: nothing is broken here; `faults` does that. The auditor connects to the databases directly.

use std::net::SocketAddr;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use testbed::Proxy;
use url::Url;

/// Every proxy, by what it connects.
#[derive(Debug)]
pub struct Proxies {
    /// Customers to each replica of order.
    pub orders: Vec<Proxy>,
    /// All replicas of order to each lock node.
    pub redis: Vec<Proxy>,
    /// Each replica of inventory to its database.
    pub inventory_postgres: Vec<Proxy>,
    /// Each replica of order to its database.
    pub order_postgres: Vec<Proxy>,
}

impl Proxies {
    /// Those before the servers; [`Self::start_before_orders`] adds the others once order runs.
    pub(super) async fn start(redis: Vec<SocketAddr>, postgres: SocketAddr, replicas: usize) -> anyhow::Result<Self> {
        let to = |addrs: Vec<SocketAddr>| try_join_all(addrs.into_iter().map(Proxy::start));
        Ok(Self {
            orders: Vec::new(),
            redis: to(redis).await?,
            inventory_postgres: to(vec![postgres; replicas]).await?,
            order_postgres: to(vec![postgres; replicas]).await?,
        })
    }

    /// Starts one before each replica of order; returns the URLs that customers use from now on.
    pub(super) async fn start_before_orders(&mut self, urls: &[String]) -> anyhow::Result<Vec<String>> {
        let addr = |url: &String| {
            url.trim_start_matches("http://").parse().with_context(|| format!("{url}: not http://ADDR:PORT"))
        };
        let addrs: Vec<SocketAddr> = urls.iter().map(addr).collect::<anyhow::Result<_>>()?;
        self.orders = try_join_all(addrs.into_iter().map(Proxy::start)).await?;
        Ok(self.orders.iter().map(|proxy| format!("http://{}", proxy.addr())).collect())
    }

    pub(super) fn redis_urls(&self) -> Vec<String> {
        self.redis.iter().map(|proxy| format!("redis://{}", proxy.addr())).collect()
    }

    /// Restores every connection.
    pub fn heal(&self) {
        for proxies in [&self.orders, &self.redis, &self.inventory_postgres, &self.order_postgres] {
            proxies.iter().for_each(Proxy::heal);
        }
    }
}

/// The URL of a database, through the proxy if there is one.
pub(super) fn through(proxy: Option<&Proxy>, url: &str) -> anyhow::Result<String> {
    let Some(proxy) = proxy else { return Ok(url.to_owned()) };
    let mut url = Url::parse(url)?;
    url.set_port(Some(proxy.addr().port())).map_err(|()| anyhow::anyhow!("{url}: a port cannot be set"))?;
    Ok(url.into())
}
