//! One Redis node, in the manner of Redisson's `RLock`: the same scripts and the same waiting as
//! Redlock with a quorum of one. It issues no tokens — a counter on a single node is lost with
//! it, and would promise what it cannot keep.

use std::sync::Arc;

use crate::backend::redlock::Redlock;
use crate::grant::Acquired;
use crate::locks::Request;
use crate::{Holder, LockError, NodeUrl, Options, Resource};

/// A lock on one node.
#[derive(Clone, Debug)]
pub(crate) struct RedisSingle(Arc<Redlock>);

impl RedisSingle {
    pub(crate) fn new(node: NodeUrl, options: &Options) -> Self {
        Self(Redlock::of(vec![node], options))
    }

    pub(crate) async fn acquire(&self, request: &Request, queued: bool) -> Result<Option<Acquired>, LockError> {
        let mut acquired = self.0.acquire(request, queued).await?;
        if let Some(acquired) = &mut acquired {
            acquired.tokens.fill(None);
        }
        Ok(acquired)
    }

    pub(crate) async fn holder(&self, resource: &Resource) -> Result<Option<Holder>, LockError> {
        let holder = self.0.holder(resource).await?;
        Ok(holder.map(|holder| Holder::new(holder.name().to_owned(), None)))
    }

    pub(crate) async fn ready(&self) -> Result<(), LockError> {
        self.0.ready().await
    }
}
