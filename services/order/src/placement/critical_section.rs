//! The critical section: acquire → claim → decide → reserve → release, once,
//! for one order or for several that share the grant. Read `pass` and
//! `while_held` and you have read it.
//!
//! Invariant: every call made while the lock is held ends by `valid_until`, and
//! nothing is written after it was seen to have passed. That is good manners
//! and narrows the window; what closes it is the token, at inventory.
//! Not here: who shares a grant (`crowd.rs`), trying again (`placing.rs`),
//! anything about HTTP or idempotency.

use std::time::Duration;

use fenced_lock::{Grants, Lease, Token, Wait};
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::domain::allocation::{self, Decision, Remaining, StockSnapshot};
use crate::domain::error::OrderError;
use crate::domain::order::{OrderLine, Reservation, Sku};
use crate::http::lab::Lab;
use crate::inventory::client::{
    BatchOrder, BatchStock, CallError, ClaimLine, InventoryClient, Reserve, ReserveBatch, ReserveLine,
};
use crate::placement::batch::{AttemptResult, Batch};
use crate::placement::locks::LockSet;
use crate::placement::outcome::{AttemptError, live, lock_failed, not_written};
use crate::placement::timings::{Step, Timings};
use crate::store::payments::PaymentProvider;
use crate::strategy::{Proof, Strategy};

/// One order on its way through the critical section, perhaps more than once.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The same on every retry of the same request.
    pub order_id: Uuid,
    /// Sorted by SKU, each once.
    pub lines: Vec<OrderLine>,
    /// How stock is guarded.
    pub strategy: Strategy,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// An earlier write of this order may have been received: look it up
    /// before deciding anything.
    pub maybe_written: bool,
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
    pub payments: PaymentProvider,
    /// How long the lock may be kept.
    pub lease: Lease,
    /// How long the lock is waited for, at most.
    pub wait: Duration,
    /// How long units are set aside.
    pub hold: Duration,
    /// There only while the lab is switched on.
    pub lab: Option<Lab>,
}

impl CriticalSection {
    /// Asks for the lock on all these SKUs.
    ///
    /// # Errors
    /// It was not granted, so nothing was written.
    pub async fn acquire(
        &self,
        strategy: Strategy,
        lines: &[OrderLine],
        wait: Duration,
    ) -> Result<Grants, AttemptError> {
        let resources = crate::placement::locks::resources(lines).map_err(AttemptError::Refused)?;
        let locks = self.locks.of(strategy).map_err(AttemptError::Refused)?;
        let span = tracing::info_span!("acquire", strategy = strategy.name());
        match locks.try_lock_all(&resources, Wait::up_to(wait), self.lease).instrument(span).await {
            Ok(Some(grants)) => Ok(grants),
            Ok(None) => Err(AttemptError::Refused(OrderError::LockTimeout { waited: wait })),
            Err(error) => Err(lock_failed(error)),
        }
    }

    /// With the lock in hand: does the work for everybody, gives the lock back.
    /// Each member of the party knows how it ended then.
    ///
    /// # Cancel safety
    /// The lock is released; a write that was sent goes on.
    pub async fn pass(&self, batch: &mut Batch, grants: Grants) {
        let held_since = Instant::now();
        self.while_held(batch, &grants).await;
        release(batch, grants).await;
        let strategy = batch.strategy().name();
        metrics::histogram!("order_lock_hold_seconds", "strategy" => strategy).record(held_since.elapsed());
    }

    async fn while_held(&self, batch: &mut Batch, grants: &Grants) {
        let observed = match self.claim(batch, grants).await {
            Ok(observed) => observed,
            Err(error_before) => return batch.finish_all(&error_before),
        };
        self.query_reservation(batch, grants).await;
        self.decide(batch, &observed).await;
        if grants.valid_until() <= Instant::now() {
            return batch.finish_all(&AttemptError::Retry(OrderError::LeaseLapsed));
        }
        if let Some(lab) = &self.lab {
            lab.stop_before_write(batch.skus());
        }
        self.reserve(batch, grants, &observed).await;
        refuse_those_behind(batch, &observed);
    }

    /// Did the order's earlier write arrive? Decides and writes nothing.
    /// `None` is final if the strategy claims; otherwise it means not yet.
    ///
    /// # Errors
    /// As `pass`, except that it sends no write.
    pub async fn query_outcome(&self, attempt: &Attempt) -> Result<Option<Reservation>, AttemptError> {
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let grants = self.acquire(attempt.strategy, &attempt.lines, self.wait.min(left)).await?;
        let mut batch = Batch::of([attempt.clone()]);
        let found = match self.claim(&mut batch, &grants).await {
            Ok(_observed) => self.find(attempt.order_id, &grants).await,
            Err(error_before) => Err(error_before),
        };
        let _released = grants.release().await; // if not everywhere, the lease ends it
        found
    }

    /// Registers the tokens and reads in one call: whoever claimed before is
    /// shut out from here on. Strategies that do not claim only read, or leave
    /// even that to the database.
    async fn claim(&self, batch: &mut Batch, grants: &Grants) -> Result<Vec<StockSnapshot>, AttemptError> {
        let (by, began, strategy) = (grants.valid_until(), Instant::now(), batch.strategy());
        let observed = if strategy.claims() {
            let claims = claim_lines(batch, grants).map_err(AttemptError::Refused)?;
            self.inventory.claim(&claims, strategy, by).await
        } else if strategy.reads() {
            self.inventory.observe(batch.lines(), by).await
        } else {
            Ok(Vec::new())
        };
        batch.spent(Step::Claim, began.elapsed());
        observed.map_err(not_written)
    }

    /// Did earlier writes of these orders arrive? After a claim the answer is
    /// final, since those writes can not arrive any more.
    async fn query_reservation(&self, batch: &mut Batch, grants: &Grants) {
        let final_then = batch.strategy().claims();
        let unsure = batch.active_mut().filter(|member| member.attempt.maybe_written);
        let asking = unsure.map(|member| async move {
            match self.find(member.attempt.order_id, grants).await {
                Ok(Some(earlier)) => member.end(live(earlier)),
                Ok(None) => member.attempt.maybe_written = !final_then,
                Err(error_before) => member.end(Err(error_before)),
            }
        });
        let began = Instant::now();
        futures_util::future::join_all(asking).await;
        batch.spent(Step::Claim, began.elapsed());
    }

    async fn find(&self, order: Uuid, grants: &Grants) -> Result<Option<Reservation>, AttemptError> {
        self.inventory.find_reservation(order, grants.valid_until()).await.map_err(not_written)
    }

    /// Enough units, and the customer can pay. The authorisation is not cut
    /// short: one that lands late would stay open.
    async fn decide(&self, batch: &mut Batch, observed: &[StockSnapshot]) {
        let began = Instant::now();
        if batch.strategy().reads() {
            let verdicts = allocation::decide(batch.active().map(|attempt| attempt.lines.as_slice()), observed);
            for (member, verdict) in batch.active_mut().zip(verdicts) {
                match verdict {
                    Decision::Allocated => {}
                    Decision::Deferred => member.defer(),
                    Decision::OutOfStock(short) => member.end(Err(out_of_stock(short))),
                }
            }
        }
        let served = batch.active_ids();
        if !served.is_empty()
            && let Err(error) = self.payments.authorise(&served).await
        {
            let error_before = AttemptError::Refused(error.into());
            batch.active_mut().for_each(|member| member.end(Err(error_before.clone())));
        }
        batch.spent(Step::Decide, began.elapsed());
    }

    /// One write for all who can be served, each in full or not at all.
    async fn reserve(&self, batch: &mut Batch, grants: &Grants, observed: &[StockSnapshot]) {
        let began = Instant::now();
        let ends = match batch.active_ids().len() {
            0 => return,
            1 => vec![self.reserve_one(batch, grants, observed).await],
            orders => self.reserve_batch(batch, grants, observed).await.unwrap_or_else(|ended| vec![ended; orders]),
        };
        batch.finish_each(ends);
        batch.spent(Step::Reserve, began.elapsed());
    }

    async fn reserve_one(&self, batch: &Batch, grants: &Grants, observed: &[StockSnapshot]) -> AttemptResult {
        let attempt = batch.active().next().ok_or(AttemptError::Refused(OrderError::Defect("a write for nobody")))?;
        let write = Reserve {
            order_id: attempt.order_id,
            lines: reserve_lines(attempt, grants, observed),
            hold_seconds: self.hold.as_secs(),
        };
        let (strategy, by) = (attempt.strategy, grants.valid_until());
        let written = self.inventory.reserve(write, strategy, by, self.keep_open()).await;
        written.map_err(write_failed).and_then(live)
    }

    async fn reserve_batch(
        &self,
        batch: &Batch,
        grants: &Grants,
        observed: &[StockSnapshot],
    ) -> Result<Vec<AttemptResult>, AttemptResult> {
        let write = ReserveBatch {
            stock: batch_stock(batch, grants, observed).map_err(|error| Err(AttemptError::Refused(error)))?,
            orders: batch.active().map(batch_order).collect(),
            hold_seconds: self.hold.as_secs(),
        };
        let (strategy, by) = (batch.strategy(), grants.valid_until());
        let written = self.inventory.reserve_batch(write, strategy, by, self.keep_open()).await;
        let each = |ended: Result<_, CallError>| ended.map_err(write_failed).and_then(live);
        written.map(|ends| ends.into_iter().map(each).collect()).map_err(|error| Err(write_failed(error)))
    }

    fn keep_open(&self) -> Duration {
        3 * self.lease.get()
    }
}

/// Those who would have been served, had others not been before them: refused
/// if the others got it, and asked to come again if they did not.
fn refuse_those_behind(batch: &mut Batch, observed: &[StockSnapshot]) {
    let mut left = Remaining::of(observed);
    for attempt in batch.held() {
        let _all_of_it = left.take(&attempt.lines);
    }
    for member in batch.deferred_mut() {
        let ended = match left.has(&member.attempt.lines) {
            Ok(()) => AttemptError::Retry(OrderError::Overtaken),
            Err(short) => out_of_stock(short),
        };
        member.end(Err(ended));
    }
}

/// A write nobody answered may still come. Where a token guards, it does no
/// harm and the lock is free at once; where none does, the lease has to lapse.
async fn release(batch: &Batch, grants: Grants) {
    if batch.outcome_unknown() && !batch.strategy().claims() {
        return grants.abandon();
    }
    if let Err(error) = grants.release().await {
        tracing::debug!(%error, "a lock was not released everywhere; its lease will end it");
    }
}

fn write_failed(error: CallError) -> AttemptError {
    match error {
        CallError::NoAnswer(_) | CallError::Failed { .. } => AttemptError::OutcomeUnknown,
        CallError::NotSent(_) | CallError::Refused(_) => not_written(error),
    }
}

fn out_of_stock(allocation::Shortage { sku, available }: allocation::Shortage) -> AttemptError {
    AttemptError::Refused(OrderError::OutOfStock { sku, available })
}

fn claim_lines(batch: &Batch, grants: &Grants) -> Result<Vec<ClaimLine>, OrderError> {
    let claim = |sku: &Sku| Ok(ClaimLine { sku: sku.clone(), fencing_token: certain_token(grants, sku)? });
    batch.skus().map(claim).collect()
}

fn reserve_lines(attempt: &Attempt, grants: &Grants, observed: &[StockSnapshot]) -> Vec<ReserveLine> {
    let proof = attempt.strategy.proof();
    let reserve = |line: &OrderLine| {
        let seen = observed.iter().find(|seen| seen.sku == line.sku);
        let token = token(grants, &line.sku).filter(|_| proof == Proof::Token);
        ReserveLine {
            sku: line.sku.clone(),
            quantity: line.quantity,
            fencing_token: token.map(Token::get),
            observed_available: seen.map(|seen| seen.available),
            observed_version: seen.and_then(|seen| seen.version).filter(|_| proof == Proof::Version),
        }
    };
    attempt.lines.iter().map(reserve).collect()
}

fn batch_stock(batch: &Batch, grants: &Grants, observed: &[StockSnapshot]) -> Result<Vec<BatchStock>, OrderError> {
    let basis = |sku: &Sku| {
        let seen = observed.iter().find(|seen| seen.sku == *sku).ok_or(OrderError::Defect("decided on nothing"))?;
        let fencing_token = certain_token(grants, sku)?;
        Ok(BatchStock { sku: sku.clone(), fencing_token, observed_available: seen.available })
    };
    batch.skus().map(basis).collect()
}

fn batch_order(attempt: &Attempt) -> BatchOrder {
    BatchOrder { order_id: attempt.order_id, lines: attempt.lines.clone() }
}

fn certain_token(grants: &Grants, sku: &Sku) -> Result<u64, OrderError> {
    token(grants, sku).map(Token::get).ok_or(OrderError::Defect("a lock without a token"))
}

fn token(grants: &Grants, sku: &Sku) -> Option<Token> {
    let resource = crate::placement::locks::resource(sku).ok()?;
    grants.token_of(&resource)
}
