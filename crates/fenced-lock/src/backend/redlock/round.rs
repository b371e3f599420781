//! One command to many nodes at once, answers in the order in which they come.
//! Knows nothing of locks: who decides when enough was heard is the reader.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Cmd;
use tokio::time::{Instant, Sleep};

use crate::NodeError;
use crate::backend::redlock::node::{Answer, NoAnswerWithin, Node};

/// The calls that have not been answered yet. Dropping it cancels what has not been sent.
pub(crate) struct Round {
    calls: Vec<Call>,
    started: Instant,
    unsent: bool,
}

struct Call {
    node: Arc<Node>,
    index: usize,
    state: State,
}

enum State {
    Waiting(BoxFuture<'static, Answer>),
    Answered(Answer),
    Told,
}

impl Round {
    /// Sends `cmd` to the nodes picked, at once where there is a connection: what is sent by a
    /// later round over the same connection is executed later.
    ///
    /// Must be called inside a runtime.
    pub(crate) fn send(nodes: &[Arc<Node>], picked: NodeSet, cmd: &Arc<Cmd>) -> Self {
        let mut context = Context::from_waker(Waker::noop());
        let mut calls = Vec::with_capacity(nodes.len());
        let mut unsent = false;
        for (index, node) in nodes.iter().enumerate().filter(|(index, _)| picked.has(*index)) {
            unsent |= !node.is_up();
            let mut call: BoxFuture<'static, Answer> = Box::pin(Arc::clone(node).call(Arc::clone(cmd)));
            let state = match call.as_mut().poll(&mut context) {
                Poll::Ready(answer) => State::Answered(answer),
                Poll::Pending => State::Waiting(call),
            };
            calls.push(Call { node: Arc::clone(node), index, state });
        }
        Self { calls, started: Instant::now(), unsent }
    }

    /// The next answer, or `None` when all are in or `alarm` went off.
    pub(crate) async fn next(&mut self, mut alarm: Pin<&mut Sleep>) -> Option<(usize, Answer)> {
        poll_fn(|cx| {
            let mut waiting = false;
            for call in &mut self.calls {
                if let Some(answer) = call.poll(cx) {
                    return Poll::Ready(Some((call.index, answer)));
                }
                waiting |= matches!(call.state, State::Waiting(_));
            }
            if waiting { alarm.as_mut().poll(cx).map(|()| None) } else { Poll::Ready(None) }
        })
        .await
    }

    /// The nodes that have not answered, as errors.
    pub(crate) fn silent(&self) -> impl Iterator<Item = NodeError> {
        let waited = self.started.elapsed();
        self.waiting().map(move |call| call.node.silent(NoAnswerWithin(waited)))
    }

    /// The nodes that have not answered.
    pub(crate) fn unanswered(&self) -> NodeSet {
        self.waiting().fold(NodeSet::NONE, |set, call| set.with(call.index))
    }

    fn waiting(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| matches!(call.state, State::Waiting(_)))
    }

    /// Whether any call has not been answered.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting().next().is_some()
    }

    /// Whether some calls may still have to wait for a connection before they are sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent
    }

    /// Looks once who has answered. What is left of the round, if anything is.
    pub(crate) fn peek(mut self) -> Option<Self> {
        self.poll_all(&mut Context::from_waker(Waker::noop())).is_pending().then_some(self)
    }

    /// Resolves when every call has been answered, well or badly.
    pub(crate) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for call in &mut self.calls {
            if let Some(Err(error)) = call.poll(cx) {
                tracing::debug!(%error, "a lock node was not reached");
            }
        }
        if self.is_waiting() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Sees the calls through, for at most `limit`: the answers matter to nobody.
    pub(crate) async fn finish(mut self, limit: Duration) {
        let _ = tokio::time::timeout(limit, poll_fn(|cx| self.poll_all(cx))).await;
    }
}

impl Call {
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Answer> {
        match &mut self.state {
            State::Waiting(call) => match call.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    self.state = State::Told;
                    Some(answer)
                }
                Poll::Pending => None,
            },
            State::Answered(_) => match std::mem::replace(&mut self.state, State::Told) {
                State::Answered(answer) => Some(answer),
                State::Waiting(_) | State::Told => None,
            },
            State::Told => None,
        }
    }
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Round(unanswered: {:?})", self.unanswered())
    }
}

/// Some of the nodes, by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeSet(u32);

impl NodeSet {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(u32::MAX);

    pub(crate) fn with(self, index: usize) -> Self {
        Self(self.0 | 1 << index)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn with_only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}
