//! The critical section: acquire → claim → decide → reserve → release, once.
//! Read `pass` and `while_held` and you have read it.
//!
//! Invariant: every call made while the lock is held ends by `valid_until`, and
//! nothing is written after it was seen to have passed. That is good manners
//! and narrows the window; what closes it is the token, at inventory.
//! Not here: trying again (`placing.rs`), anything about HTTP or idempotency.

use std::time::Duration;

use fenced_lock::{Grants, Lease, Token, Wait};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    decide::{self, Snapshot},
    inventory_client::{CallError, ClaimLine, InventoryClient, Reserve, ReserveLine},
    locks::LockSet,
    order::{Line, Reservation, Sku},
    order_error::OrderError,
    payment::Provider,
    setback::{Setback, not_granted, nothing_written, standing},
    strategy::Strategy,
    timings::{Step, Timings},
};

/// One order on its way through the critical section, perhaps more than once.
#[derive(Debug)]
pub struct Attempt {
    /// The same on every retry of the same request.
    pub order_id: Uuid,
    /// Sorted by SKU, each once.
    pub lines: Vec<Line>,
    /// How stock is guarded.
    pub strategy: Strategy,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// An earlier write of this order may have been received: look it up
    /// before deciding anything.
    pub maybe_sent: bool,
    /// Where the time went.
    pub timings: Timings,
}

/// What the critical section needs.
#[derive(Debug, Clone)]
pub struct CriticalSection {
    /// One lock for each kind.
    pub locks: LockSet,
    /// Where stock is.
    pub inventory: InventoryClient,
    /// Who is asked for the money.
    pub payments: Provider,
    /// How long the lock may be kept.
    pub lease: Lease,
    /// How long the lock is waited for, at most.
    pub wait: Duration,
    /// How long units are set aside.
    pub hold: Duration,
}

impl CriticalSection {
    /// Takes the lock on all the order's SKUs, does the work, gives it back.
    ///
    /// # Errors
    /// Tells what was written: nothing, or nobody knows.
    ///
    /// # Cancel safety
    /// The lock is released; a write that was sent goes on.
    pub async fn pass(&self, attempt: &mut Attempt) -> Result<Reservation, Setback> {
        let grants = self.acquire(attempt).await?;
        let held_since = Instant::now();
        let ended = self.while_held(attempt, &grants).await;
        release(attempt.strategy, grants, &ended).await;
        metrics::histogram!("order_lock_hold_seconds", "strategy" => attempt.strategy.name())
            .record(held_since.elapsed());
        ended
    }

    /// The same without deciding or writing: did the order's earlier write
    /// arrive? `None` is final if the strategy claims; otherwise it means not yet.
    ///
    /// # Errors
    /// As `pass`, except that it sends no write.
    pub async fn find_out(&self, attempt: &mut Attempt) -> Result<Option<Reservation>, Setback> {
        let grants = self.acquire(attempt).await?;
        let found = match self.claim(attempt, &grants).await {
            Ok(_observed) => self.look_up(attempt, &grants).await,
            Err(setback) => Err(setback),
        };
        let _released = grants.release().await; // if not everywhere, the lease ends it
        found
    }

    async fn while_held(&self, attempt: &mut Attempt, grants: &Grants) -> Result<Reservation, Setback> {
        let observed = self.claim(attempt, grants).await?;
        if let Some(earlier) = self.look_up(attempt, grants).await? {
            return standing(earlier);
        }
        self.decide(attempt, &observed).await?;
        if grants.valid_until() <= Instant::now() {
            return Err(Setback::TryAgain(OrderError::LeaseLapsed));
        }
        self.reserve(attempt, grants, &observed).await
    }

    async fn acquire(&self, attempt: &mut Attempt) -> Result<Grants, Setback> {
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let wait = self.wait.min(left);
        let locks = self.locks.of(attempt.strategy);
        let resources = crate::locks::resources(&attempt.lines).map_err(Setback::Refused)?;
        let asking = locks.try_lock_all(&resources, Wait::up_to(wait), self.lease);
        match attempt.timings.measure(Step::Lock, asking).await {
            Ok(Some(grants)) => Ok(grants),
            Ok(None) => Err(Setback::Refused(OrderError::LockTimeout { waited: wait })),
            Err(error) => Err(not_granted(error)),
        }
    }

    /// Registers the tokens and reads in one call: whoever claimed before is
    /// shut out from here on. Strategies that do not claim only read.
    async fn claim(&self, attempt: &mut Attempt, grants: &Grants) -> Result<Vec<Snapshot>, Setback> {
        let (by, lines) = (grants.valid_until(), &attempt.lines);
        let observed = if attempt.strategy.claims() {
            let claims = claim_lines(lines, grants).map_err(Setback::Refused)?;
            let claiming = self.inventory.claim(&claims, attempt.strategy, by);
            attempt.timings.measure(Step::Claim, claiming).await
        } else {
            let observing = self.inventory.observe(lines, by);
            attempt.timings.measure(Step::Claim, observing).await
        };
        observed.map_err(nothing_written)
    }

    /// Did an earlier write of this order arrive? After a claim the answer is
    /// final, since that write can not arrive any more.
    async fn look_up(&self, attempt: &mut Attempt, grants: &Grants) -> Result<Option<Reservation>, Setback> {
        if !attempt.maybe_sent {
            return Ok(None);
        }
        let (order, by) = (attempt.order_id, grants.valid_until());
        let asking = self.inventory.find_reservation(order, by);
        let found = attempt.timings.measure(Step::Claim, asking).await;
        let found = found.map_err(nothing_written)?;
        attempt.maybe_sent = !attempt.strategy.claims();
        Ok(found)
    }

    /// Enough units, and the customer can pay. The authorisation is not cut
    /// short: one that lands late would stay open.
    async fn decide(&self, attempt: &mut Attempt, observed: &[Snapshot]) -> Result<(), Setback> {
        decide::decide(&attempt.lines, observed)
            .map_err(|short| Setback::Refused(OrderError::OutOfStock { sku: short.sku, available: short.available }))?;
        let authorising = self.payments.authorise(attempt.order_id);
        let authorised = attempt.timings.measure(Step::Decide, authorising).await;
        authorised.map_err(|error| Setback::Refused(OrderError::Database(error)))
    }

    async fn reserve(
        &self,
        attempt: &mut Attempt,
        grants: &Grants,
        observed: &[Snapshot],
    ) -> Result<Reservation, Setback> {
        let write = Reserve {
            order_id: attempt.order_id,
            lines: reserve_lines(attempt, grants, observed),
            hold_seconds: self.hold.as_secs(),
        };
        let keep_open = 3 * self.lease.get();
        let (strategy, by) = (attempt.strategy, grants.valid_until());
        let asking = self.inventory.reserve(write, strategy, by, keep_open);
        match attempt.timings.measure(Step::Reserve, asking).await {
            Ok(reservation) => standing(reservation),
            Err(CallError::NoAnswer(_) | CallError::Failed { .. }) => Err(Setback::Unheard),
            Err(error) => Err(nothing_written(error)),
        }
    }
}

/// A write nobody answered may still come. Where a token guards, it does no
/// harm and the lock is free at once; where none does, the lease has to lapse.
async fn release(strategy: Strategy, grants: Grants, ended: &Result<Reservation, Setback>) {
    if matches!(ended, Err(Setback::Unheard)) && !strategy.claims() {
        return grants.abandon();
    }
    if let Err(error) = grants.release().await {
        tracing::debug!(%error, "a lock was not released everywhere; its lease will end it");
    }
}

fn claim_lines(lines: &[Line], grants: &Grants) -> Result<Vec<ClaimLine>, OrderError> {
    let claim = |Line { sku, .. }: &Line| {
        let token = token(grants, sku).ok_or(OrderError::Defect("a lock without a token"))?;
        let (sku, fencing_token) = (sku.clone(), token.get());
        Ok(ClaimLine { sku, fencing_token })
    };
    lines.iter().map(claim).collect()
}

fn reserve_lines(attempt: &Attempt, grants: &Grants, observed: &[Snapshot]) -> Vec<ReserveLine> {
    let reserve = |line: &Line| {
        let seen = observed.iter().find(|seen| seen.sku == line.sku);
        let token = token(grants, &line.sku).filter(|_| attempt.strategy.sends_token());
        ReserveLine {
            sku: line.sku.clone(),
            quantity: line.quantity,
            fencing_token: token.map(Token::get),
            observed_available: seen.map(|seen| seen.available),
            observed_version: seen.and_then(|seen| seen.version),
        }
    };
    attempt.lines.iter().map(reserve).collect()
}

fn token(grants: &Grants, sku: &Sku) -> Option<Token> {
    let resource = crate::locks::resource(sku).ok()?;
    grants.token_of(&resource)
}
