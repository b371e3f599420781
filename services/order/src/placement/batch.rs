//! Those who pass the critical section together: orders of one replica that
//! want the same SKUs under the same strategy and share one grant. Each ends by
//! itself. Decides nothing and calls nobody.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::error::OrderError;
use crate::domain::order::{OrderLine, Reservation, Sku};
use crate::placement::critical_section::Attempt;
use crate::placement::outcome::AttemptError;
use crate::placement::timings::Step;
use crate::strategy::Strategy;

/// How a pass ends for one order.
pub type AttemptResult = Result<Reservation, AttemptError>;

/// Where one of the party stands.
#[derive(Debug, Clone)]
enum MemberState {
    /// Nothing has been said against it yet.
    Active,
    /// It gets what those before it leave: known after the write.
    Deferred,
    /// This is how it ends.
    Done(AttemptResult),
}

/// One order and how far it got.
#[derive(Debug)]
pub struct BatchMember {
    /// The order.
    pub attempt: Attempt,
    state: MemberState,
}

/// One order or more; never none.
#[derive(Debug)]
pub struct Batch(Vec<BatchMember>);

impl BatchMember {
    fn active(&self) -> bool {
        matches!(self.state, MemberState::Active)
    }

    /// It ends so.
    pub fn end(&mut self, ended: AttemptResult) {
        self.state = MemberState::Done(ended);
    }

    /// It waits for what the others leave.
    pub fn defer(&mut self) {
        self.state = MemberState::Deferred;
    }
}

impl Batch {
    /// # Panics
    /// Without anybody: there is nothing to take a lock for.
    pub fn of(attempts: impl IntoIterator<Item = Attempt>) -> Self {
        let member = |attempt| BatchMember { attempt, state: MemberState::Active };
        let members: Vec<_> = attempts.into_iter().map(member).collect();
        assert!(!members.is_empty(), "a party of nobody");
        Self(members)
    }

    /// The same for all of them.
    pub fn strategy(&self) -> Strategy {
        self.0[0].attempt.strategy
    }

    /// The same for all of them; quantities differ.
    pub fn skus(&self) -> impl Iterator<Item = &Sku> + Clone {
        self.0[0].attempt.lines.iter().map(|line| &line.sku)
    }

    /// One line for each SKU.
    pub fn lines(&self) -> &[OrderLine] {
        &self.0[0].attempt.lines
    }

    /// How many.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Those nothing has been said against, in the order in which they came.
    pub fn active(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter().filter(|member| member.active()).map(|member| &member.attempt)
    }

    /// Likewise.
    pub fn active_mut(&mut self) -> impl Iterator<Item = &mut BatchMember> {
        self.0.iter_mut().filter(|member| member.active())
    }

    /// Likewise, by id.
    pub fn active_ids(&self) -> Vec<Uuid> {
        self.active().map(|attempt| attempt.order_id).collect()
    }

    /// Everybody who has not ended yet, ends so.
    pub fn finish_all(&mut self, error_before: &AttemptError) {
        for member in self.0.iter_mut().filter(|member| !matches!(member.state, MemberState::Done(_))) {
            member.end(Err(error_before.clone()));
        }
    }

    /// Those who go on end one by one, as `ends` has it, in order.
    pub fn finish_each(&mut self, ends: impl IntoIterator<Item = AttemptResult>) {
        for (member, ended) in self.active_mut().zip(ends) {
            member.end(ended);
        }
    }

    /// Those who waited for what the others leave.
    pub fn deferred_mut(&mut self) -> impl Iterator<Item = &mut BatchMember> {
        self.0.iter_mut().filter(|member| matches!(member.state, MemberState::Deferred))
    }

    /// What stands now.
    pub fn held(&self) -> impl Iterator<Item = &Attempt> {
        let held = |member: &&BatchMember| matches!(member.state, MemberState::Done(Ok(_)));
        self.0.iter().filter(held).map(|member| &member.attempt)
    }

    /// Somebody's write was sent and not answered.
    pub fn outcome_unknown(&self) -> bool {
        self.0.iter().any(|member| matches!(member.state, MemberState::Done(Err(AttemptError::OutcomeUnknown))))
    }

    /// What all of them waited for goes to everybody's account.
    pub fn spent(&mut self, step: Step, spent: Duration) {
        self.0.iter_mut().for_each(|member| member.attempt.timings.add(step, spent));
    }

    /// Everybody, with the way it ended. Whoever nobody said anything about may
    /// try again.
    pub fn into_results(self) -> impl Iterator<Item = (Attempt, AttemptResult)> {
        self.0.into_iter().map(|BatchMember { attempt, state }| match state {
            MemberState::Done(ended) => (attempt, ended),
            MemberState::Active | MemberState::Deferred => (attempt, Err(AttemptError::Retry(OrderError::Overtaken))),
        })
    }
}
