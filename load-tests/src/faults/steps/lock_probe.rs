//! Which locks a lock node stores.

use testbed::{RedisNode, TestbedError, redis_command};

use crate::faults::context::FaultContext;

/// A lock that is held at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLock {
    /// The SKU that is locked.
    pub(crate) sku: String,
    /// Owner, token and expiry: different for every grant.
    pub(crate) value: String,
}

/// The key of a SKU's lock.
pub(crate) fn lock_key(sku: &str) -> String {
    format!("lock:{{sku:{sku}}}")
}

/// The key of a SKU's wait list.
pub(crate) fn wait_key(sku: &str) -> String {
    format!("wait:{{sku:{sku}}}")
}

/// The locks of this context's SKUs at this node.
pub(crate) async fn stored_locks(
    context: &FaultContext<'_>,
    node: &RedisNode,
) -> Result<Vec<StoredLock>, TestbedError> {
    let skus: Vec<_> = context.targets.iter().flat_map(|target| target.skus.iter().map(String::as_str)).collect();
    locks_of(&skus, &node.url()).await
}

/// The locks of these SKUs at the node with this URL.
pub(crate) async fn locks_of(skus: &[&str], url: &str) -> Result<Vec<StoredLock>, TestbedError> {
    if skus.is_empty() {
        return redis_command(url, &["PING"]).await.map(|_| Vec::new());
    }
    let keys: Vec<String> = skus.iter().map(|sku| lock_key(sku)).collect();
    let command: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    let values = redis_command(url, &command).await?;
    let stored = |(sku, value): (&&str, &str)| {
        (!value.is_empty()).then(|| StoredLock { sku: (*sku).to_owned(), value: value.to_owned() })
    };
    // One line a key, an empty one for an absent key.
    Ok(skus.iter().zip(values.split('\n')).filter_map(stored).collect())
}
