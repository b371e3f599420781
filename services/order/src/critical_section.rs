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
    inventory_client::{CallError, ClaimLine, InventoryClient, Refusal, Reserve, ReserveLine},
    locks::LockSet,
    order::{Line, Reservation},
    order_error::OrderError,
    payment::Provider,
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

/// How a pass ends without a reservation.
#[derive(Debug)]
pub enum Setback {
    /// This pass wrote nothing, and another would not either.
    Refused(OrderError),
    /// This pass wrote nothing; another grant may do better.
    TryAgain(OrderError),
    /// The write was sent, and nobody answered.
    Unheard,
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

    async fn while_held(
        &self,
        attempt: &mut Attempt,
        grants: &Grants,
    ) -> Result<Reservation, Setback> {
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
        let wait = self
            .wait
            .min(attempt.deadline.saturating_duration_since(Instant::now()));
        let locks = self.locks.of(attempt.strategy);
        let resources = crate::locks::resources(&attempt.lines).map_err(Setback::Refused)?;
        let asking = locks.try_lock_all(&resources, Wait::up_to(wait), self.lease);
        match attempt.timings.measure(Step::Lock, asking).await {
            Ok(Some(grants)) => Ok(grants),
            Ok(None) => Err(Setback::Refused(OrderError::LockTimeout { waited: wait })),
            Err(error) => Err(Setback::Refused(OrderError::LockQuorum(error))),
        }
    }

    /// Registers the tokens and reads in one call: whoever claimed before is
    /// shut out from here on. Strategies that do not claim only read.
    async fn claim(
        &self,
        attempt: &mut Attempt,
        grants: &Grants,
    ) -> Result<Vec<Snapshot>, Setback> {
        let Attempt {
            lines,
            strategy,
            timings,
            ..
        } = attempt;
        let by = grants.valid_until();
        let observed = if strategy.claims() {
            let claims: Vec<_> = lines
                .iter()
                .map(|Line { sku, .. }| {
                    Some(ClaimLine {
                        sku: sku.clone(),
                        fencing_token: token(grants, sku)?.get(),
                    })
                })
                .collect::<Option<_>>()
                .ok_or(Setback::Refused(OrderError::Defect(
                    "a lock that claims must issue tokens",
                )))?;
            timings
                .measure(Step::Claim, self.inventory.claim(&claims, *strategy, by))
                .await
        } else {
            timings
                .measure(Step::Claim, self.inventory.observe(lines, by))
                .await
        };
        observed.map_err(nothing_written)
    }

    /// Did an earlier write of this order arrive? After a claim the answer is
    /// final, since that write can not arrive any more.
    async fn look_up(
        &self,
        attempt: &mut Attempt,
        grants: &Grants,
    ) -> Result<Option<Reservation>, Setback> {
        if !attempt.maybe_sent {
            return Ok(None);
        }
        let asking = self
            .inventory
            .find_reservation(attempt.order_id, grants.valid_until());
        let found = attempt
            .timings
            .measure(Step::Claim, asking)
            .await
            .map_err(nothing_written)?;
        attempt.maybe_sent = !attempt.strategy.claims();
        Ok(found)
    }

    /// Enough units, and the customer can pay. The authorisation is not cut
    /// short: one that lands late would stay open.
    async fn decide(&self, attempt: &mut Attempt, observed: &[Snapshot]) -> Result<(), Setback> {
        decide::decide(&attempt.lines, observed).map_err(|short| {
            Setback::Refused(OrderError::OutOfStock {
                sku: short.sku,
                available: short.available,
            })
        })?;
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
        let lines = attempt.lines.iter().map(|line| {
            let seen = observed.iter().find(|seen| seen.sku == line.sku);
            ReserveLine {
                sku: line.sku.clone(),
                quantity: line.quantity,
                fencing_token: token(grants, &line.sku)
                    .filter(|_| attempt.strategy.sends_token())
                    .map(Token::get),
                observed_available: seen.map(|seen| seen.available),
                observed_version: seen.and_then(|seen| seen.version),
            }
        });
        let write = Reserve {
            order_id: attempt.order_id,
            lines: lines.collect(),
            hold_seconds: self.hold.as_secs(),
        };
        let keep_open = 3 * self.lease.get();
        let asking =
            self.inventory
                .reserve(write, attempt.strategy, grants.valid_until(), keep_open);
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

fn token(grants: &Grants, sku: &crate::order::Sku) -> Option<Token> {
    crate::locks::resource(sku)
        .ok()
        .and_then(|resource| grants.token_of(&resource))
}

fn standing(reservation: Reservation) -> Result<Reservation, Setback> {
    if reservation.stands() {
        Ok(reservation)
    } else {
        Err(Setback::Refused(OrderError::ReservationExpired))
    }
}

/// What a failed call means where it certainly wrote nothing.
fn nothing_written(error: CallError) -> Setback {
    let CallError::Refused(refusal) = &error else {
        return match error {
            CallError::NoAnswer(_) => Setback::TryAgain(OrderError::Inventory(error)),
            _ => Setback::Refused(OrderError::Inventory(error)),
        };
    };
    let Refusal {
        status,
        code,
        sku,
        available,
        token,
        current,
    } = refusal.clone();
    match (
        code.as_str(),
        current.and_then(|current| Token::new(current).ok()),
    ) {
        ("stale_fencing_token", Some(current)) => Setback::TryAgain(OrderError::StaleToken {
            sku,
            token: token.unwrap_or(0),
            current,
        }),
        ("out_of_stock", _) => match sku {
            Some(sku) => Setback::Refused(OrderError::OutOfStock {
                sku,
                available: available.unwrap_or(0),
            }),
            None => Setback::Refused(OrderError::Unforeseen(error)),
        },
        ("not_found", _) => Setback::Refused(OrderError::UnknownSku(sku)),
        ("token_source_mismatch", _) => Setback::Refused(OrderError::TokenSourceMismatch),
        ("overloaded", _) => Setback::Refused(OrderError::Overloaded),
        _ if status == 409 => Setback::Refused(OrderError::Conflict),
        _ => Setback::Refused(OrderError::Unforeseen(error)),
    }
}
