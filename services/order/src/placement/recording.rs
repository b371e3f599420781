//! Records how an attempt ended, and its answer if that is final.
//!
//! Invariant: what could not be recorded because the database was down is recorded soon after it is back; until then the
//! key belongs to the attempt, and nobody else works on the order.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    dependencies,
    domain::{
        error::{Finality, OrderError},
        order::{Order, OrderStatus, Reservation},
    },
    placement::{
        batch::Attempt,
        place_order::{OrderPlacement, PlacementResult},
    },
    store::key_records::{Completion, KeyClaim},
};

/// When a client asks again for an order that another attempt works on.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long the reconciler leaves an order alone after its second attempt; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Once the cause has gone, the order is resolved after at most this time, two rounds and its turn.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The pause before the end of an attempt is recorded again, and up to twice as long; it doubles.
const FIRST_RECORDING_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_RECORDING_PAUSE: Duration = Duration::from_millis(800);

impl OrderPlacement {
    /// Records how an attempt ended, and the answer if it is final.
    pub(super) async fn record(
        &self,
        claim: &KeyClaim,
        mut order: Order,
        result: Result<Reservation, OrderError>,
        attempt: Attempt,
    ) -> PlacementResult {
        let (reservation, rendered) = match result {
            Ok(reservation) => {
                (order.status, order.reservation) = (OrderStatus::Held, Some(reservation.clone()));
                (Ok(reservation), (self.render)(Ok(order)).await)
            }
            Err(error) if error.finality() == Finality::Final => (Err(error.code()), (self.render)(Err(error)).await),
            Err(error) => return self.free_key(claim, error, attempt).await,
        };
        let timings = attempt.timings;
        let answer = match rendered {
            Ok(answer) => answer,
            Err(error) => return PlacementResult::Retryable(error, timings),
        };
        let completion = match reservation {
            Ok(reservation) => Completion::Held(reservation, answer.clone()),
            Err(code) => Completion::Refused(code, answer.clone()),
        };
        match self.complete(claim, completion).await {
            Ok(true) => PlacementResult::Final(answer, timings),
            // Another attempt has taken the order over, and records its answer.
            Ok(false) => PlacementResult::Retryable(OrderError::InProgress { at_most: ASK_AGAIN }, timings),
            Err(error) => PlacementResult::Retryable(error, timings),
        }
    }

    /// Leaves the key to the next attempt: free, or unresolved if a write may have been received.
    async fn free_key(&self, claim: &KeyClaim, error: OrderError, attempt: Attempt) -> PlacementResult {
        let Attempt { unanswered, timings, .. } = attempt;
        let pause = pause_after(claim.attempt);
        // Where no claim shuts the write out, it gets the time to arrive.
        let arrival = if claim.strategy.claims() { Duration::ZERO } else { self.section().arrival() };
        let completion = match error.finality() {
            Finality::Unresolved => Completion::Unresolved { unanswered, pause, arrival },
            Finality::Retryable | Finality::Final => Completion::Failed(error.code()),
        };
        if let Err(error) = self.complete(claim, completion).await {
            tracing::debug!(%error, order = %claim.order_id, "end of the order not recorded yet");
            dependencies::record_failure(&error);
        }
        PlacementResult::Retryable(error, timings)
    }

    /// Records the end of an attempt; `false` if another attempt has taken the order over.
    ///
    /// # Errors
    /// Not recorded yet. If the database was down, a task tries again until the claim falls due or the service stops;
    /// then the order is reconciled.
    async fn complete(&self, claim: &KeyClaim, completion: Completion) -> Result<bool, OrderError> {
        let recorded = self.db.complete(claim, completion.clone()).await;
        if matches!(recorded, Err(OrderError::Database { .. })) {
            self.tasks.spawn(self.clone().complete_later(*claim, completion));
        }
        recorded
    }

    async fn complete_later(self, claim: KeyClaim, completion: Completion) {
        let (due, mut pause) = (Instant::now() + self.claim_duration(), FIRST_RECORDING_PAUSE);
        while Instant::now() < due && !self.tasks.is_closed() {
            sleep(pause.mul_f64(1.0 + rand::random::<f64>())).await;
            match self.db.complete(&claim, completion.clone()).await {
                Err(error @ OrderError::Database { .. }) => dependencies::record_failure(&error),
                _recorded_or_defect => return,
            }
            pause = LONGEST_RECORDING_PAUSE.min(2 * pause);
        }
        tracing::debug!(order = %claim.order_id, "end of the order not recorded; its key falls due and is reconciled");
    }
}

/// The pause before the reconciler tries an unresolved order again. A retry of the client does not wait for it.
fn pause_after(attempt: i32) -> Duration {
    let Ok(doublings) = u32::try_from(attempt.saturating_sub(2)) else { return Duration::ZERO };
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_followed_at_once_and_later_ones_after_doubling_pauses_up_to_the_longest() {
        let pauses = [1, 2, 3, 4, 5, 6, 7, i32::MAX].map(|attempt| pause_after(attempt).as_millis());
        assert_eq!(pauses, [0, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    }
}
