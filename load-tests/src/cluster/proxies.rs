//! The proxies of a stack, one for each connection that a fault may break: customers to order, order to each lock node
//! and to each replica of inventory, each replica to its database.
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
    /// All replicas of order to each replica of inventory.
    pub inventory: Vec<Proxy>,
    /// All replicas of order to each lock node.
    pub redis: Vec<Proxy>,
    /// Each replica of inventory to its database.
    pub inventory_postgres: Vec<Proxy>,
    /// Each replica of order to its database.
    pub order_postgres: Vec<Proxy>,
}

impl Proxies {
    /// Those before the servers; [`Self::start_before_inventory`] and [`Self::start_before_orders`] add the others once the
    /// services run.
    pub(super) async fn start(redis: Vec<SocketAddr>, postgres: SocketAddr, replicas: usize) -> anyhow::Result<Self> {
        let to = |addrs: Vec<SocketAddr>| try_join_all(addrs.into_iter().map(Proxy::start));
        Ok(Self {
            orders: Vec::new(),
            inventory: Vec::new(),
            redis: to(redis).await?,
            inventory_postgres: to(vec![postgres; replicas]).await?,
            order_postgres: to(vec![postgres; replicas]).await?,
        })
    }

    /// Starts one before each replica of inventory; returns the URLs for order.
    pub(super) async fn start_before_inventory(&mut self, urls: &[String]) -> anyhow::Result<Vec<String>> {
        self.inventory = before(urls).await?;
        Ok(self.inventory.iter().map(http_url).collect())
    }

    /// Starts one before each replica of order; returns the URLs that customers use from now on.
    pub(super) async fn start_before_orders(&mut self, urls: &[String]) -> anyhow::Result<Vec<String>> {
        self.orders = before(urls).await?;
        Ok(self.orders.iter().map(http_url).collect())
    }

    pub(super) fn redis_urls(&self) -> Vec<String> {
        self.redis.iter().map(|proxy| format!("redis://{}", proxy.addr())).collect()
    }

    /// Restores every connection.
    pub fn heal(&self) {
        let Self { orders, inventory, redis, inventory_postgres, order_postgres } = self;
        for proxies in [orders, inventory, redis, inventory_postgres, order_postgres] {
            proxies.iter().for_each(Proxy::heal);
        }
    }
}

/// Starts one before each service at these URLs.
async fn before(urls: &[String]) -> anyhow::Result<Vec<Proxy>> {
    let addr = |url: &String| {
        url.trim_start_matches("http://").parse().with_context(|| format!("{url}: not http://ADDR:PORT"))
    };
    let addrs: Vec<SocketAddr> = urls.iter().map(addr).collect::<anyhow::Result<_>>()?;
    Ok(try_join_all(addrs.into_iter().map(Proxy::start)).await?)
}

fn http_url(proxy: &Proxy) -> String {
    format!("http://{}", proxy.addr())
}

/// The URL of a database, through the proxy if there is one.
pub(super) fn through(proxy: Option<&Proxy>, url: &str) -> anyhow::Result<String> {
    let Some(proxy) = proxy else { return Ok(url.to_owned()) };
    let mut url = Url::parse(url)?;
    url.set_port(Some(proxy.addr().port())).map_err(|()| anyhow::anyhow!("{url}: a port cannot be set"))?;
    Ok(url.into())
}
