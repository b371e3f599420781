//! Established connections fall silent, and neither end is told, as where a NAT table, a load balancer or a cable loses
//! them; new connections work. In turn those of order to all lock nodes, of an inventory replica to its database, of an
//! order replica to its database, and of order to an inventory replica. They never speak again: when the injection ends
//! they are closed, and what was held back on them is lost.
//!
//! Fired: a connection to each of these addresses, which had answered before, was silent while a new one answered, and
//! orders were in flight.

use std::time::Duration;

use futures_util::future::join_all;
use testbed::Proxy;
use tokio::time::sleep;

use super::context::FaultContext;
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::partition::{Established, SSL_REQUEST, Silence, is_silent};

/// Longer than any statement or call waits for its answer (5.5 s at inventory): the services notice by themselves.
const LASTS: Duration = Duration::from_secs(6);
/// A healthy connection answers within this time.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Proxies,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "What is lost is never executed: a lock that cannot be released or extended ends with its lease, a transaction \
          without its client is rolled back.",
    inject: |context| Box::pin(context.inject_while_busy(async |injection| silence(context, injection).await)),
};

async fn silence(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let from_ms = context.now_ms();
    let (name, request, proxies) = connections(context, injection)?;
    let established =
        join_all(proxies.iter().map(|proxy| Established::open(proxy.addr(), request, ANSWERS_WITHIN))).await;
    let silence = Silence::begin(proxies);
    let (old, new) = tokio::join!(
        join_all(established.into_iter().map(async |old| match old {
            Some(old) => old.stays_silent(ANSWERS_WITHIN).await,
            None => false,
        })),
        join_all(silence.proxies().map(|proxy| is_silent(proxy.addr(), request, ANSWERS_WITHIN))),
    );
    let in_flight = context.in_flight();
    tokio::select! { () = sleep(LASTS) => {} () = context.sale_ended() => {} }
    drop(silence);
    let fired = old.iter().all(|silent| *silent) && new.iter().all(|silent| !silent) && in_flight > 0;
    let count = |answers: &[bool]| answers.iter().filter(|silent| **silent).count();
    let observed = format!(
        "established connections silent to {} of {} addresses, new ones to {}, {in_flight} orders in flight",
        count(&old),
        old.len(),
        count(&new)
    );
    Ok(context.event(name, from_ms, fired, observed))
}

/// The connections whose turn it is, a request that their server answers at once, and their proxies.
fn connections<'a>(
    context: &'a FaultContext<'_>,
    injection: &Injection,
) -> anyhow::Result<(String, &'static [u8], Vec<&'a Proxy>)> {
    let proxies = context.proxies()?;
    let one = |of: &'a [Proxy]| {
        let replica = injection.replica % of.len();
        (replica + 1, vec![&of[replica]])
    };
    Ok(match injection.number % 4 {
        0 => ("order to all lock nodes".to_owned(), b"PING\r\n", proxies.redis.iter().collect()),
        1 => {
            let (replica, proxy) = one(&proxies.inventory_postgres);
            (format!("inventory-{replica} to postgres"), &SSL_REQUEST, proxy)
        }
        2 => {
            let (replica, proxy) = one(&proxies.order_postgres);
            (format!("order-{replica} to postgres"), &SSL_REQUEST, proxy)
        }
        _ => {
            let (replica, proxy) = one(&proxies.inventory);
            (format!("order to inventory-{replica}"), b"GET /livez HTTP/1.1\r\nhost: lab\r\n\r\n", proxy)
        }
    })
}
