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

use crate::domain::allocation::{self, Left, Snapshot, Verdict};
use crate::domain::error::OrderError;
use crate::domain::order::{Line, Reservation, Sku};
use crate::http::lab::Lab;
use crate::inventory::client::{
    BatchOrder, BatchStock, CallError, ClaimLine, InventoryClient, Reserve, ReserveBatch, ReserveLine,
};
use crate::placement::batch::{Ended, Party};
use crate::placement::locks::LockSet;
use crate::placement::outcome::{Setback, not_granted, nothing_written, standing};
use crate::placement::timings::{Step, Timings};
use crate::store::payments::Provider;
use crate::strategy::{Proof, Strategy};

/// One order on its way through the critical section, perhaps more than once.
#[derive(Debug, Clone)]
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
    /// There only while the lab is switched on.
    pub lab: Option<Lab>,
}

impl CriticalSection {
    /// Asks for the lock on all these SKUs.
    ///
    /// # Errors
    /// It was not granted, so nothing was written.
    pub async fn acquire(&self, strategy: Strategy, lines: &[Line], wait: Duration) -> Result<Grants, Setback> {
        let resources = crate::placement::locks::resources(lines).map_err(Setback::Refused)?;
        let locks = self.locks.of(strategy).map_err(Setback::Refused)?;
        let span = tracing::info_span!("acquire", strategy = strategy.name());
        match locks.try_lock_all(&resources, Wait::up_to(wait), self.lease).instrument(span).await {
            Ok(Some(grants)) => Ok(grants),
            Ok(None) => Err(Setback::Refused(OrderError::LockTimeout { waited: wait })),
            Err(error) => Err(not_granted(error)),
        }
    }

    /// With the lock in hand: does the work for everybody, gives the lock back.
    /// Each member of the party knows how it ended then.
    ///
    /// # Cancel safety
    /// The lock is released; a write that was sent goes on.
    pub async fn pass(&self, party: &mut Party, grants: Grants) {
        let held_since = Instant::now();
        self.while_held(party, &grants).await;
        release(party, grants).await;
        let strategy = party.strategy().name();
        metrics::histogram!("order_lock_hold_seconds", "strategy" => strategy).record(held_since.elapsed());
    }

    async fn while_held(&self, party: &mut Party, grants: &Grants) {
        let observed = match self.claim(party, grants).await {
            Ok(observed) => observed,
            Err(setback) => return party.all_end(&setback),
        };
        self.look_up(party, grants).await;
        self.decide(party, &observed).await;
        if grants.valid_until() <= Instant::now() {
            return party.all_end(&Setback::TryAgain(OrderError::LeaseLapsed));
        }
        if let Some(lab) = &self.lab {
            lab.stop_before_write(party.skus());
        }
        self.reserve(party, grants, &observed).await;
        refuse_those_behind(party, &observed);
    }

    /// Did the order's earlier write arrive? Decides and writes nothing.
    /// `None` is final if the strategy claims; otherwise it means not yet.
    ///
    /// # Errors
    /// As `pass`, except that it sends no write.
    pub async fn find_out(&self, attempt: &Attempt) -> Result<Option<Reservation>, Setback> {
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let grants = self.acquire(attempt.strategy, &attempt.lines, self.wait.min(left)).await?;
        let mut party = Party::of([attempt.clone()]);
        let found = match self.claim(&mut party, &grants).await {
            Ok(_observed) => self.find(attempt.order_id, &grants).await,
            Err(setback) => Err(setback),
        };
        let _released = grants.release().await; // if not everywhere, the lease ends it
        found
    }

    /// Registers the tokens and reads in one call: whoever claimed before is
    /// shut out from here on. Strategies that do not claim only read, or leave
    /// even that to the database.
    async fn claim(&self, party: &mut Party, grants: &Grants) -> Result<Vec<Snapshot>, Setback> {
        let (by, began, strategy) = (grants.valid_until(), Instant::now(), party.strategy());
        let observed = if strategy.claims() {
            let claims = claim_lines(party, grants).map_err(Setback::Refused)?;
            self.inventory.claim(&claims, strategy, by).await
        } else if strategy.reads() {
            self.inventory.observe(party.lines(), by).await
        } else {
            Ok(Vec::new())
        };
        party.spent(Step::Claim, began.elapsed());
        observed.map_err(nothing_written)
    }

    /// Did earlier writes of these orders arrive? After a claim the answer is
    /// final, since those writes can not arrive any more.
    async fn look_up(&self, party: &mut Party, grants: &Grants) {
        let final_then = party.strategy().claims();
        let unsure = party.going_mut().filter(|member| member.attempt.maybe_sent);
        let asking = unsure.map(|member| async move {
            match self.find(member.attempt.order_id, grants).await {
                Ok(Some(earlier)) => member.end(standing(earlier)),
                Ok(None) => member.attempt.maybe_sent = !final_then,
                Err(setback) => member.end(Err(setback)),
            }
        });
        let began = Instant::now();
        futures_util::future::join_all(asking).await;
        party.spent(Step::Claim, began.elapsed());
    }

    async fn find(&self, order: Uuid, grants: &Grants) -> Result<Option<Reservation>, Setback> {
        self.inventory.find_reservation(order, grants.valid_until()).await.map_err(nothing_written)
    }

    /// Enough units, and the customer can pay. The authorisation is not cut
    /// short: one that lands late would stay open.
    async fn decide(&self, party: &mut Party, observed: &[Snapshot]) {
        let began = Instant::now();
        if party.strategy().reads() {
            let verdicts = allocation::decide(party.going().map(|attempt| attempt.lines.as_slice()), observed);
            for (member, verdict) in party.going_mut().zip(verdicts) {
                match verdict {
                    Verdict::Served => {}
                    Verdict::Behind => member.fall_behind(),
                    Verdict::Short(short) => member.end(Err(out_of_stock(short))),
                }
            }
        }
        let served = party.going_ids();
        if !served.is_empty()
            && let Err(error) = self.payments.authorise(&served).await
        {
            let setback = Setback::Refused(error.into());
            party.going_mut().for_each(|member| member.end(Err(setback.clone())));
        }
        party.spent(Step::Decide, began.elapsed());
    }

    /// One write for all who can be served, each in full or not at all.
    async fn reserve(&self, party: &mut Party, grants: &Grants, observed: &[Snapshot]) {
        let began = Instant::now();
        let ends = match party.going_ids().len() {
            0 => return,
            1 => vec![self.reserve_one(party, grants, observed).await],
            orders => self.reserve_batch(party, grants, observed).await.unwrap_or_else(|ended| vec![ended; orders]),
        };
        party.end_each(ends);
        party.spent(Step::Reserve, began.elapsed());
    }

    async fn reserve_one(&self, party: &Party, grants: &Grants, observed: &[Snapshot]) -> Ended {
        let attempt = party.going().next().ok_or(Setback::Refused(OrderError::Defect("a write for nobody")))?;
        let write = Reserve {
            order_id: attempt.order_id,
            lines: reserve_lines(attempt, grants, observed),
            hold_seconds: self.hold.as_secs(),
        };
        let (strategy, by) = (attempt.strategy, grants.valid_until());
        let written = self.inventory.reserve(write, strategy, by, self.keep_open()).await;
        written.map_err(not_written).and_then(standing)
    }

    async fn reserve_batch(&self, party: &Party, grants: &Grants, observed: &[Snapshot]) -> Result<Vec<Ended>, Ended> {
        let write = ReserveBatch {
            stock: batch_stock(party, grants, observed).map_err(|error| Err(Setback::Refused(error)))?,
            orders: party.going().map(batch_order).collect(),
            hold_seconds: self.hold.as_secs(),
        };
        let (strategy, by) = (party.strategy(), grants.valid_until());
        let written = self.inventory.reserve_batch(write, strategy, by, self.keep_open()).await;
        let each = |ended: Result<_, CallError>| ended.map_err(not_written).and_then(standing);
        written.map(|ends| ends.into_iter().map(each).collect()).map_err(|error| Err(not_written(error)))
    }

    fn keep_open(&self) -> Duration {
        3 * self.lease.get()
    }
}

/// Those who would have been served, had others not been before them: refused
/// if the others got it, and asked to come again if they did not.
fn refuse_those_behind(party: &mut Party, observed: &[Snapshot]) {
    let mut left = Left::of(observed);
    for attempt in party.held() {
        let _all_of_it = left.take(&attempt.lines);
    }
    for member in party.behind_mut() {
        let ended = match left.has(&member.attempt.lines) {
            Ok(()) => Setback::TryAgain(OrderError::Overtaken),
            Err(short) => out_of_stock(short),
        };
        member.end(Err(ended));
    }
}

/// A write nobody answered may still come. Where a token guards, it does no
/// harm and the lock is free at once; where none does, the lease has to lapse.
async fn release(party: &Party, grants: Grants) {
    if party.unheard() && !party.strategy().claims() {
        return grants.abandon();
    }
    if let Err(error) = grants.release().await {
        tracing::debug!(%error, "a lock was not released everywhere; its lease will end it");
    }
}

fn not_written(error: CallError) -> Setback {
    match error {
        CallError::NoAnswer(_) | CallError::Failed { .. } => Setback::Unheard,
        CallError::NotSent(_) | CallError::Refused(_) => nothing_written(error),
    }
}

fn out_of_stock(allocation::Short { sku, available }: allocation::Short) -> Setback {
    Setback::Refused(OrderError::OutOfStock { sku, available })
}

fn claim_lines(party: &Party, grants: &Grants) -> Result<Vec<ClaimLine>, OrderError> {
    let claim = |sku: &Sku| Ok(ClaimLine { sku: sku.clone(), fencing_token: certain_token(grants, sku)? });
    party.skus().map(claim).collect()
}

fn reserve_lines(attempt: &Attempt, grants: &Grants, observed: &[Snapshot]) -> Vec<ReserveLine> {
    let proof = attempt.strategy.proof();
    let reserve = |line: &Line| {
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

fn batch_stock(party: &Party, grants: &Grants, observed: &[Snapshot]) -> Result<Vec<BatchStock>, OrderError> {
    let basis = |sku: &Sku| {
        let seen = observed.iter().find(|seen| seen.sku == *sku).ok_or(OrderError::Defect("decided on nothing"))?;
        let fencing_token = certain_token(grants, sku)?;
        Ok(BatchStock { sku: sku.clone(), fencing_token, observed_available: seen.available })
    };
    party.skus().map(basis).collect()
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
