//! Expires holds: whole reservations, a batch at a time, under the locks of their SKUs and with their tokens, one
//! summed write for each SKU. Every replica runs a sweeper; the elected one works.
//! Invariant: the election saves work, and no safety depends on it. A leader that was paused and then replaced
//! writes with tokens that are too old, and Postgres refuses them.

use std::{collections::BTreeSet, error::Error, pin::pin, time::Duration};

use contract::Sku;
use fenced_lock::{Election, LockError, Resource, Wait};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        error::StockError,
        release::{EndedHold, ReleaseRequest},
    },
    maintenance::{changes::ReservationChanges, stuck_skus::StuckSkus},
    outages,
};

/// The resource that the replicas campaign for.
pub const ELECTION: &str = "inventory:sweeper";
/// One campaign waits this long; the next follows at once. A leader that resigns wakes the campaigns early.
const CAMPAIGN_WAIT: Duration = Duration::from_secs(30);

/// The sweeper of one replica.
#[derive(Debug, Clone)]
pub struct Sweeper {
    changes: ReservationChanges,
    interval: Duration,
    batch: i64,
    election: Resource,
    /// The SKUs whose holds cannot expire at present. Known to this replica alone: the next leader finds out by itself.
    stuck: StuckSkus,
    /// The last sweep failed. A failure is logged when it begins and when it ends.
    failing: bool,
}

impl Sweeper {
    /// A sweeper that looks for ended holds once per `interval`, at most `batch` of them at a time, while it leads
    /// the `election`.
    pub fn new(changes: ReservationChanges, interval: Duration, batch: i64, election: Resource) -> Self {
        Self { changes, interval, batch, election, stuck: StuckSkus::default(), failing: false }
    }

    /// Runs until `stop`, and then finishes its current batch.
    pub async fn run(mut self, stop: CancellationToken) {
        // A run before this one may have ended in a panic while it led.
        metrics::gauge!("inventory_sweeper_leads").set(0);
        let locks = self.changes.locks.redlock().cloned();
        let election = locks.map(|locks| Election::new(locks, self.election.clone(), self.changes.locks.lease()));
        while !stop.is_cancelled() {
            match &election {
                // Without locks every replica sweeps: they wait for each other's rows, and no hold expires twice.
                None => self.sweep_until(&stop).await,
                Some(election) => {
                    if let Err(error) = self.lead(election, &stop).await {
                        outages::record_failure(&StockError::LockQuorumUnavailable(error));
                        let pause = sleep(self.interval);
                        tokio::select! { () = stop.cancelled() => {}, () = pause => {} }
                    }
                }
            }
        }
    }

    /// Sweeps from the election until the leadership is lost or the service stops.
    async fn lead(&mut self, election: &Election, stop: &CancellationToken) -> Result<(), LockError> {
        let elected = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            elected = election.campaign(Wait::up_to(CAMPAIGN_WAIT)) => elected?,
        };
        let Some(leadership) = elected else { return Ok(()) };
        tracing::info!("elected: this replica expires holds");
        metrics::gauge!("inventory_sweeper_leads").set(1);
        let until = stop.child_token();
        let lost = {
            let mut sweeping = pin!(self.sweep_until(&until));
            let lost = tokio::select! {
                () = leadership.lost() => true,
                () = &mut sweeping => false,
            };
            // The current batch is finished: if it comes too late, Postgres refuses its tokens.
            until.cancel();
            if lost {
                sweeping.await;
            }
            lost
        };
        metrics::gauge!("inventory_sweeper_leads").set(0);
        if lost {
            tracing::info!("leadership lost: this replica no longer expires holds, the next leader does");
        }
        leadership.resign().await.map(drop)
    }

    async fn sweep_until(&mut self, stop: &CancellationToken) {
        let mut every = interval(self.interval);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
            let swept = self.sweep(stop).await;
            let outcome = if swept.is_ok() { "done" } else { "failed" };
            metrics::counter!("inventory_sweeps_total", "outcome" => outcome).increment(1);
            self.record_sweep(swept.err());
        }
    }

    /// Expires every hold that has ended by now, except those of stuck SKUs, and returns how many that were.
    ///
    /// # Errors
    /// Postgres or the lock quorum is unavailable; or some holds could not be expired, and the others were.
    pub async fn sweep(&mut self, stop: &CancellationToken) -> Result<usize, StockError> {
        let (mut expired, mut last_error) = (0, None);
        loop {
            self.retry_stuck().await?;
            let now = Instant::now();
            let holds = self.changes.db.ended_holds(self.batch, &self.stuck.paused(now)).await?;
            let Some(batch) = ReleaseRequest::expire_batch(&holds) else {
                // Those that are not left out any more have no ended hold either.
                self.stuck.forget(&self.stuck.due(now));
                break;
            };
            if self.retry_locked_rows(&batch, now).await? {
                continue;
            }
            match self.changes.release(&batch).await {
                Ok(ended) => {
                    metrics::counter!("inventory_holds_expired_total").increment(ended.len() as u64);
                    expired += ended.len();
                    self.stuck.forget(&batch.skus);
                }
                Err(error) => {
                    let (blamed, error) = self.blame(error, &batch, holds, now.elapsed()).await?;
                    if !self.pause(&blamed) {
                        return Err(error);
                    }
                    last_error = Some(error);
                }
            }
            if stop.is_cancelled() {
                break;
            }
        }
        last_error.map_or(Ok(expired), Err)
    }

    /// The SKUs that a batch could not be released for, with the reason; an error if it is none of theirs.
    async fn blame(
        &self,
        error: StockError,
        batch: &ReleaseRequest,
        holds: Vec<EndedHold>,
        waited: Duration,
    ) -> Result<(BTreeSet<Sku>, StockError), StockError> {
        let (locks, db) = (&self.changes.locks, &self.changes.db);
        match error {
            StockError::LockQuorumUnavailable(_) => Err(error),
            StockError::PostgresUnavailable(_) => {
                let locked = db.locked_skus(&batch.ids).await?;
                if locked.is_empty() { Err(error) } else { Ok((locked, StockError::LockTimeout { waited })) }
            }
            StockError::SkuBusy { ref sku, .. } => Ok(([sku.clone()].into(), error)),
            _ => {
                let mut taken = locks.taken(db, &batch.skus).await?;
                if taken.is_empty() {
                    // The oldest hold goes to the back if no lock tells what the batch waited for.
                    taken.extend(holds.into_iter().take(1).flat_map(|hold| hold.skus));
                }
                Ok((taken, error))
            }
        }
    }

    /// Tries the locks of the SKUs whose pause has ended, without waiting: a batch never waits twice for a lock that
    /// somebody keeps.
    async fn retry_stuck(&mut self) -> Result<(), StockError> {
        let due = self.stuck.due(Instant::now());
        if !due.is_empty() {
            let taken = self.changes.locks.taken(&self.changes.db, &due).await?;
            self.pause(&taken);
        }
        Ok(())
    }

    /// Asks for the rows of SKUs whose pause has ended, without waiting, if the batch has such SKUs. True if somebody has
    /// still locked one, and another batch has to be made.
    async fn retry_locked_rows(&mut self, batch: &ReleaseRequest, now: Instant) -> Result<bool, StockError> {
        let retried: BTreeSet<_> = self.stuck.due(now).intersection(&batch.skus).cloned().collect();
        if retried.is_empty() {
            return Ok(false);
        }
        let locked = self.changes.db.locked_skus(&batch.ids).await?.intersection(&retried).cloned().collect();
        self.pause(&locked);
        Ok(!locked.is_empty())
    }

    /// False if too many SKUs are paused already.
    fn pause(&mut self, skus: &BTreeSet<Sku>) -> bool {
        let now = Instant::now();
        let paused = skus.iter().filter(|sku| self.stuck.pause(sku, now)).count();
        paused == skus.len()
    }

    fn record_sweep(&mut self, error: Option<StockError>) {
        match &error {
            Some(error @ (StockError::PostgresUnavailable(_) | StockError::LockQuorumUnavailable(_))) => {
                return outages::record_failure(error);
            }
            Some(error) if !self.failing => {
                let error = error as &dyn Error;
                tracing::warn!(error, "sweep failed: ended holds keep their units until a later sweep succeeds");
            }
            // While a SKU is paused, the sweeps without it succeed, and the failure has not ended.
            None if !self.stuck.is_empty() => return,
            None if self.failing => tracing::info!("sweep succeeded: holds expire again"),
            None | Some(_) => {}
        }
        self.failing = error.is_some();
    }
}
