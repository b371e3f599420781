//! Expires holds: whole reservations, a batch at a time, under the lock of their SKUs and with its tokens, one
//! summed write for each SKU. Every replica runs this; the one that is elected works.
//! Invariant: who leads is a matter of economy. A leader that was paused and is one no more brings tokens that
//! are too old, and Postgres refuses them.

use std::{collections::BTreeSet, error::Error, pin::pin, time::Duration};

use fenced_lock::{Election, LockError, Locks, Resource, Wait};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::error::StockError,
    maintenance::changes::{ReleaseReason, ReleaseRequest, ReservationChanges},
    outages,
    store::EndedHold,
};

/// What the replicas compete for.
pub const ELECTION: &str = "inventory:sweeper";
/// Whoever leads may sweep for as long as he lives; the others ask again this often, and are woken when he ends.
const CAMPAIGN_WAIT: Duration = Duration::from_secs(30);

/// The sweeper of one replica.
#[derive(Debug, Clone)]
pub struct Sweeper {
    changes: ReservationChanges,
    every: Duration,
    batch: i64,
    election_name: Resource,
    /// Trouble is told once, and its end.
    troubled: bool,
}

impl Sweeper {
    /// Looks for holds that have ended `every` so often, `batch` of them at a time, while it is elected to `office`.
    pub fn new(changes: ReservationChanges, every: Duration, batch: i64, election_name: Resource) -> Self {
        Self { changes, every, batch, election_name, troubled: false }
    }

    /// Until `stop`; the batch at hand is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        let locks = self.changes.locks.redlock().cloned();
        let election = locks.map(|locks| Election::new(locks, self.election_name.clone(), self.changes.locks.lease()));
        while !stop.is_cancelled() {
            match &election {
                // Two that sweep at once are in each other's way, and nothing worse.
                None => self.sweep_until(&stop).await,
                Some(election) => {
                    if let Err(error) = self.lead(election, &stop).await {
                        outages::LOCKS.record_failure(&error);
                        let pause = sleep(self.every);
                        tokio::select! { () = stop.cancelled() => {}, () = pause => {} }
                    }
                }
            }
        }
    }

    /// Sweeps from the election until the leadership is lost, or the service stops.
    async fn lead(&mut self, election: &Election, stop: &CancellationToken) -> Result<(), LockError> {
        let elected = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            elected = election.campaign(Wait::up_to(CAMPAIGN_WAIT)) => elected?,
        };
        let Some(leadership) = elected else { return Ok(()) };
        tracing::info!("this replica sweeps");
        metrics::gauge!("inventory_sweeper_leads").set(1);
        let until = stop.child_token();
        let lost = {
            let mut sweeping = pin!(self.sweep_until(&until));
            let lost = tokio::select! {
                () = leadership.lost() => true,
                () = &mut sweeping => false,
            };
            // The batch at hand is not torn apart: if it comes too late, its tokens say so.
            until.cancel();
            if lost {
                sweeping.await;
            }
            lost
        };
        metrics::gauge!("inventory_sweeper_leads").set(0);
        if lost {
            tracing::info!("this replica sweeps no more: its leadership was lost");
        }
        leadership.resign().await.map(drop)
    }

    async fn sweep_until(&mut self, stop: &CancellationToken) {
        let mut every = interval(self.every);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
            let swept = self.sweep(stop).await;
            let outcome = if swept.is_ok() { "done" } else { "failed" };
            metrics::counter!("inventory_sweeps_total", "outcome" => outcome).increment(1);
            self.tell(swept.err());
        }
    }

    /// Everything that is due now. Returns how many holds expired.
    ///
    /// # Errors
    /// Somebody is away, or a hold could not be ended; the others were.
    pub async fn sweep(&self, stop: &CancellationToken) -> Result<usize, StockError> {
        let mut expired = 0;
        loop {
            let due = self.changes.db.due(self.batch).await?;
            let Some(request) = release_batch(&due) else { return Ok(expired) };
            let ended = match self.changes.release(&request).await {
                Ok(ended) => ended.len(),
                Err(error) if request.ids.len() == 1 => return Err(error),
                Err(StockError::PostgresUnavailable(error)) => return Err(StockError::PostgresUnavailable(error)),
                Err(StockError::LockQuorumUnavailable(error)) => return Err(StockError::LockQuorumUnavailable(error)),
                // One SKU that is always busy must not keep all the others.
                Err(_) => self.expire_one_by_one(&due).await?,
            };
            metrics::counter!("inventory_holds_expired_total").increment(ended as u64);
            expired += ended;
            if stop.is_cancelled() {
                return Ok(expired);
            }
        }
    }

    async fn expire_one_by_one(&self, due: &[EndedHold]) -> Result<usize, StockError> {
        let (mut expired, mut last) = (0, None);
        for hold in due {
            let Some(request) = release_batch(std::slice::from_ref(hold)) else { continue };
            match self.changes.release(&request).await {
                Ok(ended) => expired += ended.len(),
                Err(error) => last = Some(error),
            }
        }
        last.map_or(Ok(expired), Err)
    }

    fn tell(&mut self, trouble: Option<StockError>) {
        match &trouble {
            Some(error @ StockError::PostgresUnavailable(_)) => return outages::POSTGRES.record_failure(error),
            Some(error @ StockError::LockQuorumUnavailable(_)) => return outages::LOCKS.record_failure(error),
            Some(error) if !self.troubled => {
                let error = error as &dyn Error;
                tracing::warn!(error, "holds do not expire in time");
            }
            None if self.troubled => tracing::info!("holds expire again"),
            None | Some(_) => {}
        }
        self.troubled = trouble.is_some();
    }
}

/// As many of these as one grant can cover.
fn release_batch(due: &[EndedHold]) -> Option<ReleaseRequest> {
    let (mut ids, mut skus) = (Vec::new(), BTreeSet::new());
    for hold in due {
        let more = hold.skus.iter().filter(|sku| !skus.contains(*sku)).count();
        if !ids.is_empty() && skus.len() + more > Locks::MAX_RESOURCES {
            break;
        }
        ids.push(hold.id);
        skus.extend(hold.skus.iter().cloned());
    }
    let (skus, reason) = (skus.into_iter().collect(), ReleaseReason::Expire);
    (!ids.is_empty()).then_some(ReleaseRequest { ids, skus, reason })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn hold(skus: std::ops::Range<usize>) -> EndedHold {
        EndedHold { id: Uuid::now_v7(), skus: skus.map(|n| format!("s{n}")).collect() }
    }

    #[test]
    fn a_batch_names_each_sku_once() {
        let request = release_batch(&[hold(0..3), hold(1..4)]).expect("two holds");
        assert_eq!((request.ids.len(), request.skus.len()), (2, 4));
    }

    #[test]
    fn a_batch_is_no_larger_than_one_grant_and_never_part_of_a_hold() {
        let request = release_batch(&[hold(0..100), hold(100..200), hold(0..1)]).expect("one hold");
        assert_eq!((request.ids.len(), request.skus.len()), (1, 100));
        assert!(release_batch(&[]).is_none());
    }
}
