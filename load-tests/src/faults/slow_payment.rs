//! The payment provider takes longer than a lease for one SKU of each strategy, and its usual time for all others.
//! Where a strategy sells several SKUs, it takes longer than an order waits for its lock: orders of the slow SKU are
//! refused and tried again, and the other SKUs are sold meanwhile.
//!
//! Fired: every order replica accepted the delay, and a payment of the SKU was under way for longer than a lease.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;

use super::context::{FaultContext, FaultTarget};
use super::event::{EventOutcome, FaultEvent};
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};

/// Of a SKU that is the only one on sale.
const LASTS_IN_LEASES: f64 = 2.0;
/// A delay that is not switched off ends so much later by itself.
const ENDS_BY_ITSELF_AFTER: Duration = Duration::from_secs(5);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Nothing,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "A lock is extended while a payment is under way; if it is lost all the same, only the storage can refuse the \
          write.",
    inject: |context| {
        Box::pin(context.inject_several_while_busy(async |injection| slow_down(context, injection).await))
    },
};

/// The SKU of a target whose payments are slowed down.
type SlowSku<'a> = (&'a FaultTarget, &'a str);

/// One injection, with an event for each target: a strategy whose SKU had no slow payment met no fault.
async fn slow_down(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<Vec<FaultEvent>> {
    let slow_sku = |target| Some((target, FaultTarget::skus_from(target, injection.sku).next()?));
    let skus: Vec<SlowSku<'_>> = context.targets.iter().filter_map(slow_sku).collect();
    let (from_ms, lasts) = (context.now_ms(), length(context));
    let orders = context.orders;
    let delays = skus.iter().flat_map(|(_, sku)| (0..orders.count()).map(move |replica| (replica, *sku)));
    let delays = delays.map(|(replica, sku)| orders.slow_payments(replica, sku, lasts, lasts + ENDS_BY_ITSELF_AFTER));
    let delayed = try_join_all(delays).await;
    tokio::select! { () = sleep(lasts) => {}, () = context.sale_ended() => {} }
    let under_way = skus.iter().map(|(_, sku)| context.auditor.payments_under_way(sku, context.lease));
    let under_way = try_join_all(under_way).await;
    // Payments take their usual time before anything is reported.
    let stopped = join_all((0..orders.count()).map(|replica| orders.stop_slow_payments(replica))).await;
    stopped.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    delayed?;
    let to_ms = context.now_ms();
    let event = |((target, sku), under_way): (SlowSku<'_>, i64)| FaultEvent {
        strategy: Some(target.strategy),
        replica: "the payment provider".to_owned(),
        sku: sku.to_owned(),
        from_ms,
        to_ms,
        fired: under_way > 0,
        outcome: EventOutcome::Observed(format!("{under_way} payments took longer than a lease")),
        order_id: None,
        fencing_token: None,
    };
    Ok(skus.into_iter().zip(under_way?).map(event).collect())
}

/// Longer than a lease. Where other SKUs are on sale, longer than any order waits for its lock as well. An order that
/// waits and then pays is answered within the limit of an answer, which is twice the wait and the lease.
fn length(context: &FaultContext<'_>) -> Duration {
    let one_sku = context.targets.iter().all(|target| target.skus.len() <= 1);
    if one_sku { context.lease.mul_f64(LASTS_IN_LEASES) } else { context.wait + context.lease }
}
