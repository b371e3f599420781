//! One Redis node, in the manner of Redisson's `RLock`: the same scripts and the same waiting as
//! Redlock with a quorum of one. It issues no tokens: a counter on a single node is lost with the node,
//! so its tokens could not be guaranteed to grow.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::redlock::Redlock;
use crate::cleanups::Cleanups;
use crate::lock_backend::{Acquired, LockBackend, LockFuture, Notification};
use crate::request::Request;
use crate::{Holder, Locks, NodeUrl, Options, Resource, UnsuitableNode};

impl Locks {
    /// One Redis node, without tokens, in the manner of Redisson's `RLock`.
    ///
    /// Connects at its first use; never fails because the node is down.
    pub fn redis(node: NodeUrl, options: Options) -> Self {
        Self::new(Arc::new(SingleNode(Redlock::new([node], &options))), &options)
    }
}

#[derive(Debug)]
struct SingleNode(Redlock);

impl LockBackend for SingleNode {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn acquire<'a>(&'a self, request: &'a Request) -> LockFuture<'a, Option<Acquired>> {
        let without_tokens = |acquired: Acquired| Acquired { tokens: vec![None; request.resources.len()], ..acquired };
        let acquire = self.0.acquire(request);
        async move { Ok(acquire.await?.map(without_tokens)) }.boxed()
    }

    fn read_holder<'a>(&'a self, resource: &'a Resource) -> LockFuture<'a, (Option<Holder>, Notification)> {
        let read = self.0.read_holder(resource);
        async move {
            let (holder, changed) = read.await?;
            Ok((holder.map(|holder| Holder { token: None, ..holder }), changed))
        }
        .boxed()
    }

    fn ready(&self) -> LockFuture<'_, ()> {
        self.0.ready()
    }

    fn check_nodes(&self) -> BoxFuture<'_, Result<(), UnsuitableNode>> {
        self.0.check_nodes()
    }

    fn cleanups(&self) -> Cleanups {
        self.0.cleanups()
    }
}
