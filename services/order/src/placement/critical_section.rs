//! The critical section: acquire → claim → decide → reserve → release, once,
//! for one order or for a batch that shares the grant. Start with `run`
//! and `while_locked`.
//!
//! Invariant: every call made under the lock ends by `valid_until`, and no write
//! is sent once it has passed. Payments alone may take longer: the lock is extended
//! while they are under way. That narrows the window; the fencing token, which
//! inventory checks, closes it.
//! Absence: no retry (`place_order`), no choice of the orders that share a grant (`batcher`),
//! no HTTP and no idempotency key.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use contract::{LockKind, Proof, Sku, Strategy};
use fenced_lock::{Grants, Lease, Locks, Resource, Token, Wait};
use strum::VariantArray as _;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    domain::{
        allocation::{Allocator, Decision, Remaining, StockSnapshot},
        error::OrderError,
        order::Reservation,
    },
    inventory::{
        call_error::CallError,
        client::{BatchOrder, GuardedLine, InventoryClient, Reserve, ReserveBatch},
    },
    placement::{
        attempt_error::{AttemptError, AttemptResult, lock_failed, not_written, write_failed},
        batch::{Attempt, Batch, BatchKey, Step},
        pauses::WritePauses,
    },
    store::{key_records::EarlierWrite, payments::PaymentProvider},
};

/// The critical section, with the clients that it calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CriticalSection {
    /// The locks whose servers are configured.
    pub locks: Arc<HashMap<LockKind, Locks>>,
    /// The stock.
    pub inventory: InventoryClient,
    /// Authorises payments between read and write.
    pub payments: PaymentProvider,
    /// How long a grant is valid.
    pub lease: Lease,
    /// How long an attempt waits for the lock, at most.
    pub wait: Duration,
    /// How long units are set aside.
    pub hold: Duration,
    /// Pauses of this replica; `None` where the lab is switched off.
    pub pauses: Option<WritePauses>,
}

impl CriticalSection {
    /// Acquires the lock of these SKUs, then runs the batch that `form_batch`
    /// returns: every member has ended when this returns. `None`: nothing was
    /// waiting any more.
    ///
    /// # Errors
    /// The lock was not acquired within `wait`, or failed: nothing was written.
    ///
    /// # Cancel safety
    /// The lock is released; a write that was sent goes on.
    pub async fn run(
        &self,
        key: &BatchKey,
        wait: Duration,
        form_batch: impl FnOnce() -> Option<Batch>,
    ) -> Result<Option<Batch>, AttemptError> {
        let grants = self.acquire(key, wait).await?;
        let Some(mut batch) = form_batch() else {
            let _released = grants.release().await; // if not on every node, the lease ends it there
            return Ok(None);
        };
        let trace = batch.trace();
        let locked = async move {
            let (span, acquired) = (batch.span(), Instant::now());
            let steps = async {
                self.while_locked(&mut batch, &grants).await;
                release(&batch, grants).await;
            };
            steps.instrument(span).await;
            let held = acquired.elapsed();
            metrics::histogram!("order_lock_hold_seconds", "strategy" => key.strategy.name()).record(held);
            batch
        };
        Ok(Some(trace.instrument(locked).await))
    }

    async fn while_locked(&self, batch: &mut Batch, grants: &Grants) {
        let start = Instant::now();
        let claimed = self.claim(batch.key(), grants).await;
        batch.add_time(Step::Claim, start.elapsed());
        let observed = match claimed {
            Ok(observed) => observed,
            Err(error) => return batch.finish_all(&error),
        };
        self.query_earlier_writes(batch, grants).await;
        self.decide(batch, grants, &observed).await;
        if grants.valid_until() <= Instant::now() {
            return batch.finish_all(&AttemptError::Retry(OrderError::LeaseLapsed));
        }
        if let Some(pauses) = &self.pauses {
            pauses.pause_before_write(batch.skus());
        }
        self.reserve(batch, grants, &observed).await;
        decide_deferred(batch, &observed);
    }

    /// Those whose lock is configured.
    pub fn strategies(&self) -> Arc<[Strategy]> {
        Strategy::VARIANTS.iter().copied().filter(|strategy| self.lock(*strategy).is_ok()).collect()
    }

    /// The lock of a strategy.
    ///
    /// # Errors
    /// Its server is not configured.
    pub fn lock(&self, strategy: Strategy) -> Result<&Locks, OrderError> {
        self.locks.get(&strategy.lock()).ok_or(OrderError::StrategyNotConfigured(strategy))
    }

    /// Whether the lock of a strategy could be granted now.
    ///
    /// # Errors
    /// Fewer than a quorum answer, or its server is not configured.
    pub async fn lock_ready(&self, strategy: Strategy) -> Result<(), OrderError> {
        let ready = self.lock(strategy)?.ready().await;
        ready.map_err(|error| OrderError::LockQuorum { lock: strategy.lock(), error })
    }

    /// Acquires no lock from now on, and waits until what was released has reached every server, for at most `within`.
    pub async fn close_locks(&self, within: Duration) {
        let closes = self.locks.values().map(async |locks| {
            if let Err(error) = locks.close(within).await {
                tracing::warn!(backend = locks.backend(), %error, "locks not released everywhere at the end");
            }
        });
        futures_util::future::join_all(closes).await;
    }

    async fn acquire(&self, key: &BatchKey, wait: Duration) -> Result<Grants, AttemptError> {
        let resources: Result<Vec<_>, _> = key.skus.iter().map(resource).collect();
        let resources = resources.map_err(AttemptError::Refused)?;
        let locks = self.lock(key.strategy).map_err(AttemptError::Refused)?;
        let span = tracing::info_span!("acquire", strategy = key.strategy.name());
        match locks.try_lock_all(&resources, Wait::up_to(wait), self.lease).instrument(span).await {
            Ok(Some(grants)) => Ok(grants),
            Ok(None) => Err(AttemptError::Refused(OrderError::LockTimeout { waited: wait })),
            Err(error) => Err(lock_failed(key.strategy.lock(), error)),
        }
    }

    /// Registers the tokens and reads stock in one call: older writes are shut
    /// out from here on. Strategies that do not claim only read; those that leave
    /// the decision to the database do not even read.
    async fn claim(&self, key: &BatchKey, grants: &Grants) -> Result<Vec<StockSnapshot>, AttemptError> {
        let (strategy, by) = (key.strategy, grants.valid_until());
        let observed = if strategy.claims() {
            let lines: Result<Vec<_>, _> =
                key.skus.iter().map(|sku| guarded_line(sku, strategy, grants, &[])).collect();
            self.inventory.claim(&lines?, strategy, by).await
        } else if strategy.reads() {
            self.inventory.read_stock(&key.skus, by).await
        } else {
            Ok(Vec::new())
        };
        observed.map_err(not_written)
    }

    /// Ends the members whose earlier write has arrived. After a claim its absence is final, since it cannot arrive any
    /// more; without a claim, once it has had the time to arrive.
    async fn query_earlier_writes(&self, batch: &mut Batch, grants: &Grants) {
        let absence_is_final = batch.strategy().claims();
        let unsure = batch.active_mut().filter(|member| member.attempt.earlier_write != EarlierWrite::None);
        let queries = unsure.map(|member| async move {
            match self.find_reservation(member.attempt.order_id, grants).await {
                Ok(Some(earlier)) => member.finish(live(earlier)),
                Ok(None) if absence_is_final || member.attempt.earlier_write == EarlierWrite::Over => {
                    member.attempt.earlier_write = EarlierWrite::None;
                }
                Ok(None) => {}
                Err(error) => member.finish(Err(error)),
            }
        });
        let start = Instant::now();
        futures_util::future::join_all(queries).await;
        batch.add_time(Step::Claim, start.elapsed());
    }

    async fn find_reservation(&self, order: Uuid, grants: &Grants) -> Result<Option<Reservation>, AttemptError> {
        self.inventory.find_reservation(order, grants.valid_until()).await.map_err(not_written)
    }

    /// Allocates what was read, and authorises the payments.
    async fn decide(&self, batch: &mut Batch, grants: &Grants, observed: &[StockSnapshot]) {
        let start = Instant::now();
        if batch.strategy().reads() {
            let mut allocator = Allocator::new(observed);
            for member in batch.active_mut() {
                match allocator.decide(&member.attempt.lines) {
                    Decision::Allocated => {}
                    Decision::Deferred => member.defer(),
                    Decision::OutOfStock(shortage) => member.finish(Err(shortage.into())),
                }
            }
        }
        self.authorise(batch, grants).await;
        batch.add_time(Step::Decide, start.elapsed());
    }

    /// Authorises the payments of the members that are left, and extends the lock
    /// meanwhile. Ends those whose payment took too long, and all if the lock is lost.
    async fn authorise(&self, batch: &mut Batch, grants: &Grants) {
        let orders: Vec<_> = batch.active().map(|attempt| attempt.order_id).collect();
        if orders.is_empty() {
            return;
        }
        let start = Instant::now();
        let authorised = {
            let mut authorising = pin!(self.payments.authorise(&orders, batch.skus()));
            // A payment that ends in the first half of the lease costs no extension, and half is enough to extend in.
            match timeout_at(grants.valid_until() - self.lease.get() / 2, &mut authorising).await {
                Ok(authorised) => Some(authorised),
                Err(_not_yet) => grants.keep_while(self.lease, authorising).await,
            }
        };
        batch.postpone_deadlines(start.elapsed());
        match authorised {
            Some(Ok(overdue)) => {
                let limit = self.payments.limit();
                let late = batch.active_mut().filter(|member| overdue.contains(&member.attempt.order_id));
                late.for_each(|member| member.finish(Err(AttemptError::Refused(OrderError::PaymentTimeout { limit }))));
            }
            Some(Err(error)) => batch.finish_active(&AttemptError::Refused(error.into())),
            None => batch.finish_active(&AttemptError::Retry(OrderError::LeaseLapsed)),
        }
    }

    /// Sends one write for all members that are left, each in full or not at all.
    async fn reserve(&self, batch: &mut Batch, grants: &Grants, observed: &[StockSnapshot]) {
        let start = Instant::now();
        let attempts: Vec<_> = batch.active().collect();
        let mut results = match attempts[..] {
            [] => return,
            [attempt] => HashMap::from([(attempt.order_id, self.reserve_one(attempt, grants, observed).await)]),
            [..] => match self.reserve_several(batch, &attempts, grants, observed).await {
                Ok(results) => results,
                Err(error) => attempts.iter().map(|attempt| (attempt.order_id, Err(error.clone()))).collect(),
            },
        };
        for member in batch.active_mut() {
            let result = results.remove(&member.attempt.order_id);
            member.finish(result.unwrap_or(Err(AttemptError::OutcomeUnknown)));
        }
        batch.add_time(Step::Reserve, start.elapsed());
    }

    async fn reserve_one(&self, attempt: &Attempt, grants: &Grants, observed: &[StockSnapshot]) -> AttemptResult {
        let strategy = attempt.strategy;
        let lines: Result<Vec<_>, AttemptError> = attempt
            .lines
            .iter()
            .map(|line| {
                let guarded = guarded_line(&line.sku, strategy, grants, observed)?;
                Ok(GuardedLine { quantity: Some(line.quantity), ..guarded })
            })
            .collect();
        let write = Reserve { order_id: attempt.order_id, lines: lines?, hold_seconds: self.hold.as_secs() };
        let written = self.inventory.reserve(write, strategy, grants.valid_until(), self.arrival()).await;
        reserved(written)
    }

    async fn reserve_several(
        &self,
        batch: &Batch,
        attempts: &[&Attempt],
        grants: &Grants,
        observed: &[StockSnapshot],
    ) -> Result<HashMap<Uuid, AttemptResult>, AttemptError> {
        let strategy = batch.strategy();
        let stock: Result<Vec<_>, _> =
            batch.skus().iter().map(|sku| guarded_line(sku, strategy, grants, observed)).collect();
        let order = |attempt: &&Attempt| BatchOrder { order_id: attempt.order_id, lines: attempt.lines.clone() };
        let orders = attempts.iter().map(order).collect();
        let write = ReserveBatch { stock: stock?, orders, hold_seconds: self.hold.as_secs() };
        let written = self.inventory.reserve_batch(write, strategy, grants.valid_until(), self.arrival()).await;
        let results = written.map_err(write_failed)?;
        Ok(results.into_iter().map(|(order, written)| (order, reserved(written))).collect())
    }

    /// How long a write may take to arrive: its connection is closed after that.
    pub fn arrival(&self) -> Duration {
        3 * self.lease.get()
    }

    /// Acquires the lock and claims, so that no earlier write of the order can
    /// arrive any more, then queries its reservation. Writes nothing. `None` is
    /// final if the strategy claims; otherwise the write may still arrive.
    ///
    /// # Errors
    /// As `run`; nothing was written.
    pub async fn query_outcome(&self, attempt: &Attempt) -> Result<Option<Reservation>, AttemptError> {
        let (key, order) = (BatchKey::of(attempt), attempt.order_id);
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let grants = self.acquire(&key, self.wait.min(left)).await?;
        let found = match self.claim(&key, &grants).await {
            Ok(_observed) => self.find_reservation(order, &grants).await,
            Err(error) => Err(error),
        };
        let _released = grants.release().await; // if not on every node, the lease ends it there
        found
    }

    /// Raises the token counters of the lock nodes to the token that the storage
    /// has registered: the nodes have lost their counters. Harmless where they have not.
    pub async fn raise_token_floor(&self, attempt: &Attempt, sku: Option<&Sku>, current: Token) {
        metrics::counter!("order_stale_tokens_total", "strategy" => attempt.strategy.name()).increment(1);
        let Ok(locks) = self.lock(attempt.strategy) else { return };
        let skus = attempt.lines.iter().map(|line| &line.sku).filter(|one| sku.is_none_or(|sku| sku == *one));
        for resource in skus.filter_map(|sku| resource(sku).ok()) {
            if let Err(error) = locks.raise_floor(&resource, current).await {
                tracing::warn!(%error, %resource, %current, "token floor not raised; the next attempt may be refused as stale");
            }
        }
    }
}

/// Decides on the members that waited for earlier ones: out of stock if those
/// took the units, to be retried if they did not.
fn decide_deferred(batch: &mut Batch, observed: &[StockSnapshot]) {
    let mut remaining = Remaining::new(observed);
    for attempt in batch.reserved() {
        let _taken = remaining.take(&attempt.lines);
    }
    for member in batch.deferred_mut() {
        let error = match remaining.check(&member.attempt.lines) {
            Ok(()) => AttemptError::Retry(OrderError::Overtaken),
            Err(shortage) => shortage.into(),
        };
        member.finish(Err(error));
    }
}

/// A write whose outcome is unknown may still arrive. Under a fence it does no
/// harm, and the lock is released at once; without one the lease has to lapse.
async fn release(batch: &Batch, grants: Grants) {
    if batch.outcome_unknown() && !batch.strategy().claims() {
        return grants.abandon();
    }
    if let Err(error) = grants.release().await {
        tracing::debug!(%error, "lock not released on every node; the lease ends it there");
    }
}

fn reserved(written: Result<Reservation, CallError>) -> AttemptResult {
    written.map_err(write_failed).and_then(live)
}

/// A reservation that was cancelled or has expired does not count.
fn live(reservation: Reservation) -> AttemptResult {
    if reservation.status.is_live() {
        Ok(reservation)
    } else {
        Err(AttemptError::Refused(OrderError::ReservationExpired))
    }
}

/// What the storage compares for one SKU of a claim or a write: the token or the
/// version, and the units that were read. The caller adds the quantity.
fn guarded_line(
    sku: &Sku,
    strategy: Strategy,
    grants: &Grants,
    observed: &[StockSnapshot],
) -> Result<GuardedLine, AttemptError> {
    let read = observed.iter().find(|stock| stock.sku == *sku);
    let (fencing_token, observed_version) = match strategy.proof() {
        Proof::Nothing => (None, None),
        Proof::Token => (Some(fencing_token(sku, grants).map_err(AttemptError::Refused)?), None),
        Proof::Version => (None, read.and_then(|stock| stock.version)),
    };
    let observed_available = read.map(|stock| stock.available);
    Ok(GuardedLine { sku: sku.clone(), quantity: None, fencing_token, observed_available, observed_version })
}

fn fencing_token(sku: &Sku, grants: &Grants) -> Result<u64, OrderError> {
    let token = grants.token_of(&resource(sku)?);
    token.map(Token::get).ok_or(OrderError::Defect("the grant has no fencing token"))
}

/// The name of a SKU's lock: `sku:{id}`.
fn resource(sku: &Sku) -> Result<Resource, OrderError> {
    Resource::new(format!("sku:{sku}")).map_err(|_| OrderError::Defect("a SKU is not a name of a lock"))
}
