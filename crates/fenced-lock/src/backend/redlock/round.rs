//! One command to many nodes at once; the answers are returned in the order in which they arrive.
//! Absence: nothing about locks; the reader decides how many answers are enough.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Cmd;
use tokio::time::{Instant, Sleep};

use super::node::{Answer, Node};
use super::node_set::NodeSet;
use crate::NodeError;

/// The calls that have not been answered yet. Dropping it cancels the calls that have not been sent.
pub(super) struct Round {
    calls: Vec<Call>,
    started: Instant,
    has_unsent: bool,
    /// Whether a call failed in the background.
    has_failed: bool,
}

struct Call {
    node: Arc<Node>,
    index: usize,
    state: CallState,
}

enum CallState {
    Waiting(BoxFuture<'static, Answer>),
    Answered(Answer),
    /// The reader has the answer.
    Delivered,
}

impl Round {
    /// Sends `cmd` to the nodes of `picked`, at once to each that is connected: a later round over the same
    /// connection is executed later.
    ///
    /// Must be called inside a runtime.
    pub(super) fn send(nodes: &[Arc<Node>], picked: NodeSet, cmd: &Arc<Cmd>) -> Self {
        let mut context = Context::from_waker(Waker::noop());
        let mut calls = Vec::with_capacity(nodes.len());
        let mut has_unsent = false;
        for (index, node) in nodes.iter().enumerate().filter(|(index, _)| picked.contains(*index)) {
            has_unsent |= !node.is_connected();
            let mut call: BoxFuture<'static, Answer> = Box::pin(Arc::clone(node).call(Arc::clone(cmd)));
            let state = match call.as_mut().poll(&mut context) {
                Poll::Ready(answer) => CallState::Answered(answer),
                Poll::Pending => CallState::Waiting(call),
            };
            calls.push(Call { node: Arc::clone(node), index, state });
        }
        Self { calls, started: Instant::now(), has_unsent, has_failed: false }
    }

    /// The next answer, or `None` after the last one and when `alarm` has elapsed.
    pub(super) async fn next(&mut self, mut alarm: Pin<&mut Sleep>) -> Option<(usize, Answer)> {
        poll_fn(|cx| {
            let mut waiting = false;
            for call in &mut self.calls {
                if let Some(answer) = call.poll(cx) {
                    return Poll::Ready(Some((call.index, answer)));
                }
                waiting |= matches!(call.state, CallState::Waiting(_));
            }
            if waiting { alarm.as_mut().poll(cx).map(|()| None) } else { Poll::Ready(None) }
        })
        .await
    }

    /// The nodes that have not answered, as errors.
    pub(super) fn timed_out(&self) -> impl Iterator<Item = NodeError> {
        let waited = self.started.elapsed();
        self.waiting().map(move |call| call.node.overdue(waited))
    }

    /// The nodes that have not answered.
    pub(super) fn unanswered(&self) -> NodeSet {
        self.waiting().fold(NodeSet::NONE, |set, call| set.with(call.index))
    }

    fn waiting(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| matches!(call.state, CallState::Waiting(_)))
    }

    pub(super) fn has_unanswered(&self) -> bool {
        self.waiting().next().is_some()
    }

    /// Whether some calls had to wait for a connection when the round was sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.has_unsent
    }

    /// Polls every call once. Whether every call has been answered or has failed.
    pub(super) fn poll_once(&mut self) -> bool {
        self.poll_all(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Whether every call has been answered, and none that was left to the background has failed.
    pub(super) fn is_complete(&self) -> bool {
        !self.has_failed && !self.has_unanswered()
    }

    /// Resolves when every call has been answered or has failed.
    pub(super) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for call in &mut self.calls {
            if let Some(Err(error)) = call.poll(cx) {
                self.has_failed = true;
                tracing::debug!(%error, "background call to a lock node failed");
            }
        }
        if self.has_unanswered() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Waits for the remaining answers, for at most `limit`, and discards them.
    pub(super) async fn finish(&mut self, limit: Duration) {
        let _ = tokio::time::timeout(limit, poll_fn(|cx| self.poll_all(cx))).await;
    }
}

impl Call {
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Answer> {
        match &mut self.state {
            CallState::Waiting(call) => match call.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    self.state = CallState::Delivered;
                    Some(answer)
                }
                Poll::Pending => None,
            },
            CallState::Answered(_) => match std::mem::replace(&mut self.state, CallState::Delivered) {
                CallState::Answered(answer) => Some(answer),
                CallState::Waiting(_) | CallState::Delivered => None,
            },
            CallState::Delivered => None,
        }
    }
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Round(unanswered: {:?})", self.unanswered())
    }
}
