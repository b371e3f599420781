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
use contract::Strategy;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use super::lock_probe::{LOOK_AGAIN, locks_held, stops_itself};
use super::{FaultContext, FaultEvent, FaultTarget};
use crate::cluster::lab_client::PausedRequest;
use crate::cluster::process::ReplicaProcess;
use crate::scenario::plan::Injection;

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

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let mut events = Vec::new();
    for injection in &context.injections {
        if !context.time_for(injection).await {
            break;
        }
        let Some(target) = context.target(injection, |_| true) else { break };
        for attempt in 0..MOST_TRIES {
            let paused = once(context, target, injection, attempt)
                .await
                .with_context(|| format!("pause {}", injection.number + 1))?;
            let decided = paused.as_ref().is_some_and(|events| decides(target.strategy, events));
            events.extend(paused);
            if decided || context.is_over() {
                break;
            }
        }
    }
    Ok(events)
}

/// Whether the strike met what it was after. A fenced order whose own second try was faster than its paused write is
/// told that it is done; nothing was refused then.
fn decides(strategy: Strategy, events: &FaultEvent) -> bool {
    events.fired && (!strategy.claims() || events.outcome == "stale_fencing_token")
}

/// One pause; `None` if no write came.
async fn once(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    injection: &Injection,
    attempt: usize,
) -> anyhow::Result<Option<FaultEvent>> {
    let replica = (injection.replica + attempt) % context.inventory.count();
    let control = context.controls.inventory.get(replica).context("inventory's processes are out of reach")?;
    for sku in target.skus_from(injection.sku + attempt) {
        let pause = Pause { context, target, replica, control, sku };
        if let Some(events) = pause.happen().await? {
            return Ok(Some(events));
        }
        if context.is_over() {
            break;
        }
    }
    Ok(None)
}

struct Pause<'a> {
    context: &'a FaultContext<'a>,
    target: &'a FaultTarget,
    replica: usize,
    control: &'a ReplicaProcess,
    sku: &'a str,
}

impl Pause<'_> {
    async fn happen(&self) -> anyhow::Result<Option<FaultEvent>> {
        let Self { context, target, replica, control, sku } = *self;
        let known = context.inventory.parked(replica).await?.len();
        if !stops_itself(context, context.inventory, replica, control, sku).await? {
            return Ok(None);
        }
        let (stopped_at, from_ms) = (Instant::now(), context.now_ms());
        let stopped = control.continued_later();
        let stale = match target.strategy {
            Strategy::RedlockWriteFence => self.until_the_next_has_read(stopped_at).await?,
            Strategy::PostgresAdvisory => {
                terminate_holders(context.postgres).await?;
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
        let to_ms = context.now_ms();
        let parked = self.outcome(known).await?;
        let ended = parked.as_ref().and_then(|parked| parked.outcome.clone());
        let outcome = ended.clone().unwrap_or_else(|| "not attempted".to_owned());
        let outcome = if stale { outcome } else { format!("{outcome}, but nobody else had come") };
        Ok(Some(FaultEvent {
            strategy: Some(target.strategy),
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
        let (context, sku) = (self.context, self.sku);
        let seq = context.auditor.last_seq().await?;
        tokio::time::sleep_until(stopped_at + context.lease).await;
        let others_sell = async {
            while !context.auditor.sold_since(sku, seq).await? {
                sleep(LOOK_AGAIN).await;
            }
            anyhow::Ok(())
        };
        self.within_patience(stopped_at, others_sell).await
    }

    /// Waits until somebody else has the lock, and has read; `false` if nobody came.
    async fn until_the_next_has_read(&self, stopped_at: Instant) -> anyhow::Result<bool> {
        let node = self.context.servers()?.redis[0].lock().await;
        let holder = async || {
            let held = locks_held(self.context, &node).await?;
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
            if self.target.strategy.claims() { LONGEST_PAUSE_IN_LEASES_FENCED } else { LONGEST_PAUSE_IN_LEASES };
        let left = self.context.lease.mul_f64(longest).saturating_sub(stopped_at.elapsed());
        match timeout(left, event).await {
            Ok(happened) => happened.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// How the parked write ended, once it has.
    async fn outcome(&self, known: usize) -> anyhow::Result<Option<PausedRequest>> {
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            let parked = self.context.inventory.parked(self.replica).await?.into_iter().nth(known);
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
        let events = |outcome: &str| FaultEvent {
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
        assert!(decides(Strategy::RedlockFenced, &events("stale_fencing_token")));
        assert!(!decides(Strategy::RedlockFenced, &events("written")));
        assert!(decides(Strategy::Redlock, &events("written")));
    }
}
