//! An attempt to place an order, and the batch of attempts that share a grant:
//! how far each came, how it ended, and where its time went.
//!
//! Absence: nothing is decided here, and no service is called.

use std::{fmt::Write, time::Duration};

use contract::{Sku, Strategy};
use service_kit::trace::{self, Trace};
use strum::{IntoStaticStr, VariantArray};
use tokio::{sync::oneshot, time::Instant};
use tracing::Span;
use uuid::Uuid;

use crate::{
    domain::{error::OrderError, order::OrderLine},
    placement::attempt_error::{AttemptError, AttemptResult},
    store::key_records::EarlierWrite,
};

/// One order on its way through the critical section, perhaps more than once.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The same on every retry of the same request.
    pub order_id: Uuid,
    /// Sorted by SKU, each once.
    pub lines: Vec<OrderLine>,
    /// How stock is guarded.
    pub strategy: Strategy,
    /// When the order stops trying; time spent on its payment postpones it.
    pub deadline: Instant,
    /// How much longer payments may postpone the deadline.
    pub payment_allowance: Duration,
    /// Unless it is `None`, the reservation of this order is queried before anything is decided.
    pub earlier_write: EarlierWrite,
    /// A write was sent since the key was claimed, and has no answer.
    pub unanswered: bool,
    /// The time spent so far.
    pub timings: Timings,
}

/// The attempts that may share a grant: the same strategy and the same SKUs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchKey {
    /// How stock is guarded.
    pub strategy: Strategy,
    /// Sorted, each once.
    pub skus: Vec<Sku>,
}

impl BatchKey {
    /// The key of an attempt.
    pub fn of(attempt: &Attempt) -> Self {
        let skus = attempt.lines.iter().map(|line| line.sku.clone()).collect();
        Self { strategy: attempt.strategy, skus }
    }
}

/// Where the result of an attempt is sent.
pub type Reply = oneshot::Sender<(Attempt, AttemptResult)>;

/// How far an attempt has come.
#[derive(Debug)]
enum MemberState {
    /// It has not ended.
    Active,
    /// Its units are allocated to earlier members, whose write decides.
    Deferred,
    /// It ended.
    Done(AttemptResult),
}

/// An attempt of a batch.
#[derive(Debug)]
pub struct BatchMember {
    /// The attempt.
    pub attempt: Attempt,
    /// The request that it belongs to.
    pub trace: Trace,
    state: MemberState,
    reply: Reply,
}

impl BatchMember {
    /// An attempt on behalf of the current request, and where its result arrives.
    pub fn new(attempt: Attempt) -> (Self, oneshot::Receiver<(Attempt, AttemptResult)>) {
        let (reply, result) = oneshot::channel();
        (Self { attempt, trace: Trace::current(), state: MemberState::Active, reply }, result)
    }

    /// Ends the attempt.
    pub fn finish(&mut self, result: AttemptResult) {
        self.state = MemberState::Done(result);
    }

    /// Waits for the write of earlier members.
    pub fn defer(&mut self) {
        self.state = MemberState::Deferred;
    }

    /// Sends the result. A member without one may try again.
    pub fn send_result(self) {
        let result = match self.state {
            MemberState::Done(result) => result,
            MemberState::Active | MemberState::Deferred => Err(AttemptError::Retry(OrderError::Overtaken)),
        };
        let _nobody_waits = self.reply.send((self.attempt, result));
    }

    fn is_active(&self) -> bool {
        matches!(self.state, MemberState::Active)
    }

    fn is_done(&self) -> bool {
        matches!(self.state, MemberState::Done(_))
    }
}

/// Attempts that share a grant, in order of arrival.
#[derive(Debug)]
pub struct Batch {
    key: BatchKey,
    members: Vec<BatchMember>,
}

impl Batch {
    /// `None` without members.
    pub fn new(key: BatchKey, members: Vec<BatchMember>) -> Option<Self> {
        (!members.is_empty()).then_some(Self { key, members })
    }

    /// What all members have in common.
    pub fn key(&self) -> &BatchKey {
        &self.key
    }

    /// The strategy of every member.
    pub fn strategy(&self) -> Strategy {
        self.key.strategy
    }

    /// The SKUs of every member, sorted; quantities differ.
    pub fn skus(&self) -> &[Sku] {
        &self.key.skus
    }

    /// The number of members, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a batch has members")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Attempts that have not ended, in order of arrival.
    pub fn active(&self) -> impl Iterator<Item = &Attempt> {
        self.members.iter().filter(|member| member.is_active()).map(|member| &member.attempt)
    }

    /// Members that have not ended, in order of arrival.
    pub fn active_mut(&mut self) -> impl Iterator<Item = &mut BatchMember> {
        self.members.iter_mut().filter(|member| member.is_active())
    }

    /// Members that wait for the write of earlier members.
    pub fn deferred_mut(&mut self) -> impl Iterator<Item = &mut BatchMember> {
        self.members.iter_mut().filter(|member| matches!(member.state, MemberState::Deferred))
    }

    /// Attempts that ended with a reservation.
    pub fn reserved(&self) -> impl Iterator<Item = &Attempt> {
        let reserved = |member: &&BatchMember| matches!(member.state, MemberState::Done(Ok(_)));
        self.members.iter().filter(reserved).map(|member| &member.attempt)
    }

    /// The outcome of a write of this batch is unknown.
    pub fn outcome_unknown(&self) -> bool {
        self.members.iter().any(|member| matches!(member.state, MemberState::Done(Err(AttemptError::OutcomeUnknown))))
    }

    /// Ends the active members; deferred ones still wait.
    pub fn finish_active(&mut self, error: &AttemptError) {
        self.active_mut().for_each(|member| member.finish(Err(error.clone())));
    }

    /// Ends every member that has not ended, deferred ones included.
    pub fn finish_all(&mut self, error: &AttemptError) {
        self.members.iter_mut().filter(|member| !member.is_done()).for_each(|member| member.finish(Err(error.clone())));
    }

    /// Adds the time of a step to every member: all of them waited for it.
    pub fn add_time(&mut self, step: Step, spent: Duration) {
        self.members.iter_mut().for_each(|member| member.attempt.timings.add(step, spent));
    }

    /// A wait for payments postpones the deadlines, by the allowance of each order at most.
    pub fn postpone_deadlines(&mut self, spent: Duration) {
        for BatchMember { attempt, .. } in &mut self.members {
            let by = spent.min(attempt.payment_allowance);
            attempt.deadline += by;
            attempt.payment_allowance -= by;
        }
    }

    /// The request of the first member, in whose trace the batch runs.
    pub fn trace(&self) -> Trace {
        self.members.first().map_or_else(Trace::current, |member| member.trace.clone())
    }

    /// The span of the critical section: below the current span, and linked to
    /// the requests of all other members.
    pub fn span(&self) -> Span {
        let (strategy, trace_id) = (self.strategy().name(), trace::current_trace_id().map(tracing::field::display));
        let span = tracing::info_span!("critical_section", strategy, orders = self.len(), trace_id);
        self.members.iter().skip(1).for_each(|member| member.trace.link_from(&span));
        span
    }

    /// Sends every member its result.
    pub fn send_results(self) {
        self.members.into_iter().for_each(BatchMember::send_result);
    }
}

/// A step of the critical section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Step {
    /// Waiting for the lock.
    Lock,
    /// Registering the token and reading stock.
    Claim,
    /// Deciding, with the authorisation of the payment.
    Decide,
    /// Writing the reservation.
    Reserve,
}

/// The time that one order spent in each step, over all its attempts.
#[derive(Debug, Clone, Default)]
pub struct Timings([Duration; Step::VARIANTS.len()]);

impl Timings {
    /// Adds the time of one attempt.
    pub fn add(&mut self, step: Step, spent: Duration) {
        self.0[step as usize] += spent;
    }

    /// The time spent in a step so far.
    pub fn of(&self, step: Step) -> Duration {
        self.0[step as usize]
    }

    /// The value of the `Server-Timing` header: `lock;dur=1.204, claim;dur=…`, in milliseconds.
    pub fn header(&self) -> String {
        let mut header = String::with_capacity(80);
        for &step in Step::VARIANTS {
            let separator = if header.is_empty() { "" } else { ", " };
            let (name, ms): (&str, _) = (step.into(), self.of(step).as_secs_f64() * 1000.0);
            write!(header, "{separator}{name};dur={ms:.3}").expect("writing to a String cannot fail");
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_every_step_once_in_milliseconds() {
        let timings = Timings([Duration::from_micros(1500), Duration::ZERO, Duration::ZERO, Duration::from_secs(1)]);
        assert_eq!(timings.header(), "lock;dur=1.500, claim;dur=0.000, decide;dur=0.000, reserve;dur=1000.000");
    }
}
