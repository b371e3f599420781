//! The paused client of Kleppmann's "How to do distributed locking", reproduced on purpose: an inventory replica stops
//! itself as it enters a write, before its transaction begins, and is resumed once that write is stale. One replica at
//! a time: the other ones must continue to sell.
//!
//! A write is stale once the lease has lapsed and another order has sold that SKU. Two kinds of strategies need another
//! moment. The textbook fence (`redlock-write-fence`) is met right after the lapse, when the next holder has read and
//! not yet written: the newer write that the fence would compare with is not there yet. An advisory lock does not
//! lapse, so the session that holds it is terminated.
//!
//! Fired: the paused write was attempted after all. Whether the storage accepted it is what the row shows.

use std::time::Duration;

use anyhow::Context as _;
use contract::{LockKind, ProblemCode, Proof, Strategy, WriteCheck};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use super::context::{FaultContext, FaultTarget};
use super::event::{EventOutcome, FaultEvent};
use super::injection::Injection;
use super::spec::{FaultSpec, LONG_PAYMENT, Needs};
use super::steps::lock_probe::stored_locks;
use super::steps::poll::POLL_INTERVAL;
use super::steps::self_pause::arm_until_stopped;
use crate::cluster::lab_client::{PausedRequest, WriteOutcome};
use crate::cluster::process::ReplicaProcess;
use crate::cluster::target::on_connection;

/// A resumed write ends within this time.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// After this many leases without another sale the replica is resumed all the same. Order resolves a write without an
/// answer after three leases, and the write must have ended by then, unless a newer claim shuts it out for good.
const LONGEST_PAUSE_IN_LEASES: f64 = 2.5;
const LONGEST_PAUSE_IN_LEASES_FENCED: f64 = 6.0;
/// The next holder has read within this time.
const READS_WITHIN: Duration = Duration::from_millis(60);
/// A write that did not become stale proves nothing, so an injection is repeated.
const MOST_ATTEMPTS: usize = 3;

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Processes,
    makes_writes_stale: true,
    certain_to_oversell: |strategy, payment| match strategy.proof() {
        Proof::Nothing => true,
        // A token that was not claimed is refused only if a newer one has written.
        Proof::Token => !strategy.claims() && payment >= LONG_PAYMENT,
        Proof::Version => false,
    },
    why: "A write is paused until its lease has lapsed, and then executed: only the storage can refuse it. The textbook \
          check passes if the next holder has only read; an advisory lock ends with its session.",
    inject: |context| Box::pin(inject(context)),
};

async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let mut events = Vec::new();
    for injection in &context.injections {
        if !context.wait_until_due(injection).await {
            break;
        }
        let Some(target) = context.target(injection, |_| true) else { break };
        for attempt in 0..MOST_ATTEMPTS {
            let event = pause_once(context, target, injection, attempt)
                .await
                .with_context(|| format!("pause {}", injection.number + 1))?;
            let conclusive = event.as_ref().is_some_and(|event| is_conclusive(target.strategy, event));
            events.extend(event);
            if conclusive || context.is_over() {
                break;
            }
        }
    }
    Ok(events)
}

/// The injection showed what it is there for. The retry of a fenced order may have been faster than its own paused
/// write, which then succeeds as already done: no token was refused.
fn is_conclusive(strategy: Strategy, event: &FaultEvent) -> bool {
    let refused = WriteOutcome::Refused(ProblemCode::StaleFencingToken);
    let refused = matches!(&event.outcome, EventOutcome::PausedWrite { ended: Some(ended), .. } if *ended == refused);
    event.fired && (!strategy.claims() || refused)
}

/// One pause; absent if no write began.
async fn pause_once(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    injection: &Injection,
    attempt: usize,
) -> anyhow::Result<Option<FaultEvent>> {
    let replica = (injection.replica + attempt) % context.inventory.count();
    let process = context.processes.inventory.get(replica).context("the processes of inventory cannot be reached")?;
    for sku in target.skus_from(injection.sku + attempt) {
        let pause = Pause { context, target, replica, process, sku };
        if let Some(event) = pause.run().await? {
            return Ok(Some(event));
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
    process: &'a ReplicaProcess,
    sku: &'a str,
}

impl Pause<'_> {
    async fn run(&self) -> anyhow::Result<Option<FaultEvent>> {
        let Self { context, target, replica, process, sku } = *self;
        let earlier = context.inventory.paused_requests(replica).await?.len();
        if !arm_until_stopped(context, context.inventory, replica, process, sku).await? {
            return Ok(None);
        }
        let (stopped_at, from_ms) = (Instant::now(), context.now_ms());
        let stopped = process.resume_on_drop();
        let stale = self.wait_until_stale(stopped_at).await?;
        drop(stopped);
        let to_ms = context.now_ms();
        let request = self.wait_until_ended(earlier).await?;
        let ended = request.as_ref().and_then(|request| request.outcome.clone());
        Ok(Some(FaultEvent {
            strategy: Some(target.strategy),
            replica: process.name().to_owned(),
            sku: sku.to_owned(),
            from_ms,
            to_ms,
            fired: ended.is_some() && stale,
            outcome: EventOutcome::PausedWrite { ended, stale },
            order_id: request.as_ref().map(|request| request.order_id),
            fencing_token: request.and_then(|request| request.fencing_token),
        }))
    }

    /// Waits until the paused write is stale; `false` if it did not become so in time.
    async fn wait_until_stale(&self, stopped_at: Instant) -> anyhow::Result<bool> {
        let strategy = self.target.strategy;
        if strategy.check() == WriteCheck::Textbook {
            return self.wait_until_next_holder_has_read(stopped_at).await;
        }
        if strategy.lock() == LockKind::Advisory {
            terminate_advisory_holders(self.context.postgres).await?;
        }
        self.wait_until_others_sold(stopped_at).await
    }

    /// Waits until the lease has lapsed and another order has sold; `false` if none has in time.
    async fn wait_until_others_sold(&self, stopped_at: Instant) -> anyhow::Result<bool> {
        let (context, sku) = (self.context, self.sku);
        let seq = context.auditor.last_seq().await?;
        tokio::time::sleep_until(stopped_at + context.lease).await;
        let others_sell = async {
            while !context.auditor.sold_since(sku, seq).await? {
                sleep(POLL_INTERVAL).await;
            }
            anyhow::Ok(())
        };
        self.within_longest_pause(stopped_at, others_sell).await
    }

    /// Waits until another order holds the lock and has read; `false` if none holds it in time.
    async fn wait_until_next_holder_has_read(&self, stopped_at: Instant) -> anyhow::Result<bool> {
        let node = self.context.servers()?.redis[0].lock().await;
        let holder = async || {
            let locks = stored_locks(self.context, &node).await?;
            anyhow::Ok(locks.into_iter().find(|lock| lock.sku == self.sku).map(|lock| lock.value))
        };
        let first = holder().await?;
        let next = async {
            loop {
                let now = holder().await?;
                if now.is_some() && now != first {
                    return anyhow::Ok(());
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        let acquired = self.within_longest_pause(stopped_at, next).await?;
        sleep(READS_WITHIN).await;
        Ok(acquired)
    }

    async fn within_longest_pause(
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

    /// The paused write, once it has ended or [`ENDS_WITHIN`] has passed. `earlier`: the pauses of this replica before.
    async fn wait_until_ended(&self, earlier: usize) -> anyhow::Result<Option<PausedRequest>> {
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            let request = self.context.inventory.paused_requests(self.replica).await?.into_iter().nth(earlier);
            let ended = request.as_ref().is_some_and(|request| request.outcome.is_some());
            if ended || Instant::now() >= deadline {
                return Ok(request);
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// Ends every session that holds an advisory lock, as a failover, an administrator or a connection pooler may.
async fn terminate_advisory_holders(postgres: &str) -> anyhow::Result<()> {
    let terminate = "select pg_terminate_backend(pid) from pg_locks
                      where locktype = 'advisory' and granted and pid <> pg_backend_pid()";
    let terminate = async |connection: &mut PgConnection| Ok(sqlx::query(terminate).execute(connection).await?);
    on_connection(postgres, terminate).await.map(drop).context("the sessions could not be terminated")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_a_fenced_strategy_only_a_refusal_is_conclusive() {
        let event = |ended| FaultEvent {
            strategy: None,
            replica: String::new(),
            sku: String::new(),
            from_ms: 0,
            to_ms: 0,
            fired: true,
            outcome: EventOutcome::PausedWrite { ended: Some(ended), stale: true },
            order_id: None,
            fencing_token: None,
        };
        let refused = WriteOutcome::Refused(ProblemCode::StaleFencingToken);
        assert!(is_conclusive(Strategy::RedlockFenced, &event(refused)));
        assert!(!is_conclusive(Strategy::RedlockFenced, &event(WriteOutcome::Written)));
        assert!(is_conclusive(Strategy::Redlock, &event(WriteOutcome::Written)));
    }
}
