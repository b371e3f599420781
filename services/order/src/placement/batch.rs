//! Those who pass the critical section together: orders of one replica that
//! want the same SKUs under the same strategy and share one grant. Each ends by
//! itself. Decides nothing and calls nobody.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::error::OrderError;
use crate::domain::order::{Line, Reservation, Sku};
use crate::placement::critical_section::Attempt;
use crate::placement::outcome::Setback;
use crate::placement::timings::Step;
use crate::strategy::Strategy;

/// How a pass ends for one order.
pub type Ended = Result<Reservation, Setback>;

/// Where one of the party stands.
#[derive(Debug, Clone)]
enum Standing {
    /// Nothing has been said against it yet.
    Going,
    /// It gets what those before it leave: known after the write.
    Behind,
    /// This is how it ends.
    Ended(Ended),
}

/// One order and how far it got.
#[derive(Debug)]
pub struct Member {
    /// The order.
    pub attempt: Attempt,
    standing: Standing,
}

/// One order or more; never none.
#[derive(Debug)]
pub struct Party(Vec<Member>);

impl Member {
    fn going(&self) -> bool {
        matches!(self.standing, Standing::Going)
    }

    /// It ends so.
    pub fn end(&mut self, ended: Ended) {
        self.standing = Standing::Ended(ended);
    }

    /// It waits for what the others leave.
    pub fn fall_behind(&mut self) {
        self.standing = Standing::Behind;
    }
}

impl Party {
    /// # Panics
    /// Without anybody: there is nothing to take a lock for.
    pub fn of(attempts: impl IntoIterator<Item = Attempt>) -> Self {
        let member = |attempt| Member { attempt, standing: Standing::Going };
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
    pub fn lines(&self) -> &[Line] {
        &self.0[0].attempt.lines
    }

    /// How many.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Those nothing has been said against, in the order in which they came.
    pub fn going(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter().filter(|member| member.going()).map(|member| &member.attempt)
    }

    /// Likewise.
    pub fn going_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.0.iter_mut().filter(|member| member.going())
    }

    /// Likewise, by id.
    pub fn going_ids(&self) -> Vec<Uuid> {
        self.going().map(|attempt| attempt.order_id).collect()
    }

    /// Everybody who has not ended yet, ends so.
    pub fn all_end(&mut self, setback: &Setback) {
        for member in self.0.iter_mut().filter(|member| !matches!(member.standing, Standing::Ended(_))) {
            member.end(Err(setback.clone()));
        }
    }

    /// Those who go on end one by one, as `ends` has it, in order.
    pub fn end_each(&mut self, ends: impl IntoIterator<Item = Ended>) {
        for (member, ended) in self.going_mut().zip(ends) {
            member.end(ended);
        }
    }

    /// Those who waited for what the others leave.
    pub fn behind_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.0.iter_mut().filter(|member| matches!(member.standing, Standing::Behind))
    }

    /// What stands now.
    pub fn held(&self) -> impl Iterator<Item = &Attempt> {
        let held = |member: &&Member| matches!(member.standing, Standing::Ended(Ok(_)));
        self.0.iter().filter(held).map(|member| &member.attempt)
    }

    /// Somebody's write was sent and not answered.
    pub fn unheard(&self) -> bool {
        self.0.iter().any(|member| matches!(member.standing, Standing::Ended(Err(Setback::Unheard))))
    }

    /// What all of them waited for goes to everybody's account.
    pub fn spent(&mut self, step: Step, spent: Duration) {
        self.0.iter_mut().for_each(|member| member.attempt.timings.add(step, spent));
    }

    /// Everybody, with the way it ended. Whoever nobody said anything about may
    /// try again.
    pub fn disband(self) -> impl Iterator<Item = (Attempt, Ended)> {
        self.0.into_iter().map(|Member { attempt, standing }| match standing {
            Standing::Ended(ended) => (attempt, ended),
            Standing::Going | Standing::Behind => (attempt, Err(Setback::TryAgain(OrderError::Overtaken))),
        })
    }
}
