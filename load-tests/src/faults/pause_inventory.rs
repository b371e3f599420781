//! The paper's paused client, made certain: an inventory replica stops itself as it enters a write, before it begins a
//! transaction, and is continued once that write is stale. One replica at a time: the others have to go on selling.
//!
//! Stale means that the lease has lapsed and somebody else has sold that SKU. Two strategies want it otherwise:
//! `redlock-write-fence` is met right after the lapse, when the next holder has read and not yet written: what it checks
//! is not there yet. The lock of `postgres-advisory` does not lapse, so the session that holds it is terminated.
//!
//! Fired means: that write was then attempted. Whether it landed or was refused is what the row is about.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use super::seen::{LOOK_AGAIN, locks_held, stops_itself};
use super::{Field, LaneField, Struck};
use crate::cluster::control::Control;
use crate::cluster::lab_client::Parked;
use crate::scenario::plan::Strike;
use crate::scenario::strategy::Strategy;

/// How long a continued write may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// Nobody sold for so many leases: continued all the same. A write that nobody answered is looked up by order after
/// three of them, and must have ended by then; unless a newer claim shuts it out for good.
const LONGEST_PAUSE_IN_LEASES: f64 = 2.5;
const LONGEST_PAUSE_IN_LEASES_FENCED: f64 = 6.0;
/// Within which the next holder has read what it is going to write.
const READS_WITHIN: Duration = Duration::from_millis(60);
/// A write that was not made stale proves nothing, so a strike is repeated.
const MOST_TRIES: usize = 3;

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let mut struck = Vec::new();
    for strike in &field.strikes {
        if !field.time_for(strike).await {
            break;
        }
        let Some(lane) = field.lane(strike, |_| true) else { break };
        for attempt in 0..MOST_TRIES {
            let paused =
                once(field, lane, strike, attempt).await.with_context(|| format!("pause {}", strike.number + 1))?;
            let decided = paused.as_ref().is_some_and(|struck| decides(lane.strategy, struck));
            struck.extend(paused);
            if decided || field.is_over() {
                break;
            }
        }
    }
    Ok(struck)
}

/// Whether the strike met what it was after. A fenced order whose own second try was faster than its paused write is
/// told that it is done; nothing was refused then.
fn decides(strategy: Strategy, struck: &Struck) -> bool {
    struck.fired && (!strategy.claims() || struck.outcome == "stale_fencing_token")
}

/// One pause; `None` if no write came.
async fn once(field: &Field<'_>, lane: &LaneField, strike: &Strike, attempt: usize) -> anyhow::Result<Option<Struck>> {
    let replica = (strike.replica + attempt) % field.inventory.count();
    let control = field.controls.inventory.get(replica).context("inventory's processes are out of reach")?;
    for sku in lane.skus_from(strike.sku + attempt) {
        let pause = Pause { field, lane, replica, control, sku };
        if let Some(struck) = pause.happen().await? {
            return Ok(Some(struck));
        }
        if field.is_over() {
            break;
        }
    }
    Ok(None)
}

struct Pause<'a> {
    field: &'a Field<'a>,
    lane: &'a LaneField,
    replica: usize,
    control: &'a Control,
    sku: &'a str,
}

impl Pause<'_> {
    async fn happen(&self) -> anyhow::Result<Option<Struck>> {
        let Self { field, lane, replica, control, sku } = *self;
        let known = field.inventory.parked(replica).await?.len();
        if !stops_itself(field, field.inventory, replica, control, sku).await? {
            return Ok(None);
        }
        let (stopped_at, from_ms) = (Instant::now(), field.now_ms());
        let stopped = control.continued_later();
        let stale = match lane.strategy {
            Strategy::RedlockWriteFence => self.until_the_next_has_read(stopped_at).await?,
            Strategy::PostgresAdvisory => {
                terminate_holders(field.postgres).await?;
                self.until_others_sold(stopped_at).await?
            }
            Strategy::Off
            | Strategy::Redis
            | Strategy::Redlock
            | Strategy::RedlockFenced
            | Strategy::EtcdFenced
            | Strategy::ZookeeperFenced
            | Strategy::Optimistic
            | Strategy::RowLock
            | Strategy::Atomic => self.until_others_sold(stopped_at).await?,
        };
        drop(stopped);
        let to_ms = field.now_ms();
        let parked = self.outcome(known).await?;
        let ended = parked.as_ref().and_then(|parked| parked.outcome.clone());
        let outcome = ended.clone().unwrap_or_else(|| "not attempted".to_owned());
        let outcome = if stale { outcome } else { format!("{outcome}, but nobody else had come") };
        Ok(Some(Struck {
            strategy: Some(lane.strategy),
            replica: control.name().to_owned(),
            sku: sku.to_owned(),
            from_ms,
            to_ms,
            fired: ended.is_some() && stale,
            outcome,
            order_id: parked.as_ref().map(|parked| parked.order_id),
            fencing_token: parked.and_then(|parked| parked.fencing_token),
        }))
    }

    /// Waits until the lease has lapsed and somebody else has sold; `false` if nobody did.
    async fn until_others_sold(&self, stopped_at: Instant) -> anyhow::Result<bool> {
        let (field, sku) = (self.field, self.sku);
        let seq = field.auditor.last_seq().await?;
        tokio::time::sleep_until(stopped_at + field.lease).await;
        let others_sell = async {
            while !field.auditor.sold_since(sku, seq).await? {
                sleep(LOOK_AGAIN).await;
            }
            anyhow::Ok(())
        };
        self.within_patience(stopped_at, others_sell).await
    }

    /// Waits until somebody else has the lock, and has read; `false` if nobody came.
    async fn until_the_next_has_read(&self, stopped_at: Instant) -> anyhow::Result<bool> {
        let node = self.field.yard()?.redis[0].lock().await;
        let holder = async || {
            let held = locks_held(self.field, &node).await?;
            anyhow::Ok(held.into_iter().find(|lock| lock.sku == self.sku).map(|lock| lock.value))
        };
        let first = holder().await?;
        let another = async {
            loop {
                let now = holder().await?;
                if now.is_some() && now != first {
                    return anyhow::Ok(());
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        let came = self.within_patience(stopped_at, another).await?;
        sleep(READS_WITHIN).await;
        Ok(came)
    }

    async fn within_patience(
        &self,
        stopped_at: Instant,
        event: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<bool> {
        let longest =
            if self.lane.strategy.claims() { LONGEST_PAUSE_IN_LEASES_FENCED } else { LONGEST_PAUSE_IN_LEASES };
        let left = self.field.lease.mul_f64(longest).saturating_sub(stopped_at.elapsed());
        match timeout(left, event).await {
            Ok(happened) => happened.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// How the parked write ended, once it has.
    async fn outcome(&self, known: usize) -> anyhow::Result<Option<Parked>> {
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            let parked = self.field.inventory.parked(self.replica).await?.into_iter().nth(known);
            let ended = parked.as_ref().is_some_and(|parked| parked.outcome.is_some());
            if ended || Instant::now() >= deadline {
                return Ok(parked);
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Ends every session that holds an advisory lock: a failover, an administrator, a proxy that recycles connections.
async fn terminate_holders(postgres: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(postgres).await.context("nobody can see to the sessions of Postgres")?;
    let terminate = "select pg_terminate_backend(pid) from pg_locks
                      where locktype = 'advisory' and granted and pid <> pg_backend_pid()";
    sqlx::query(terminate).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_strike_is_decided_by_a_refusal_and_by_nothing_less() {
        let struck = |outcome: &str| Struck {
            strategy: None,
            replica: String::new(),
            sku: String::new(),
            from_ms: 0,
            to_ms: 0,
            fired: true,
            outcome: outcome.to_owned(),
            order_id: None,
            fencing_token: None,
        };
        assert!(decides(Strategy::RedlockFenced, &struck("stale_fencing_token")));
        assert!(!decides(Strategy::RedlockFenced, &struck("written")));
        assert!(decides(Strategy::Redlock, &struck("written")));
    }
}
