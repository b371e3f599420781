//! The lock nodes of the examples: those in `LOCK_NODES` (addresses separated by commas), or five Redis nodes of
//! their own that end with the example.

use fenced_lock::{Locks, NodeTimeout, Nodes, Options};
use std::error::Error;
use std::time::Duration;
use testbed::RedisNode;

/// The addresses, and the servers that were started for them.
pub(crate) struct LockNodes {
    nodes: Nodes,
    _servers: Vec<RedisNode>,
}

impl LockNodes {
    /// Reads `LOCK_NODES`, or starts five nodes.
    pub(crate) async fn get() -> Result<Self, Box<dyn Error>> {
        if let Ok(list) = std::env::var("LOCK_NODES") {
            println!("lock nodes: {list}");
            return Ok(Self { nodes: Nodes::parse(&list)?, _servers: Vec::new() });
        }
        let servers = testbed::redis_nodes(5).await?;
        let list: Vec<_> = servers.iter().map(RedisNode::url).collect();
        println!("lock nodes: five Redis servers started on ports {}", ports(&servers));
        Ok(Self { nodes: Nodes::parse(&list.join(","))?, _servers: servers })
    }

    /// A client with its own connections, as another process would have.
    pub(crate) fn client(&self) -> Result<Locks, Box<dyn Error>> {
        let options = Options::default().with_node_timeout(NodeTimeout::new(Duration::from_secs(2))?);
        Ok(Locks::redlock(self.nodes.clone(), options))
    }
}

fn ports(servers: &[RedisNode]) -> String {
    servers.iter().map(|server| server.addr().port().to_string()).collect::<Vec<_>>().join(", ")
}
