//! What the idempotency keys record: the requests, the right to work on one, how an attempt ends; and the rows that
//! these are stored as. The SQL is in `idempotency`.

use std::{sync::Once, time::Duration};

use contract::{ProblemCode, Strategy};
use sqlx::FromRow;
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

use crate::domain::{
    error::OrderError,
    order::{OrderRequest, Reservation},
};

/// Fires when the first pending order is met that this version cannot read.
static UNREADABLE: Once = Once::new();

/// An answer as it is sent: what is recorded is replayed unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `application/json` or `application/problem+json`.
    pub content_type: String,
    /// The path of the order, if it is held.
    pub location: Option<String>,
    /// The bytes of the body.
    pub body: Vec<u8>,
}

/// An order and the key that it was sent with.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    /// The call; keys of different calls are different keys.
    pub scope: &'static str,
    /// The `Idempotency-Key` header.
    pub key: String,
    /// What is ordered.
    pub order: OrderRequest,
    /// How stock is to be guarded.
    pub strategy: Strategy,
    /// The trace of the request; `None` outside of a request.
    pub traceparent: Option<String>,
}

/// The right to work on an order, until another attempt takes it: the claim has fallen due, or this replica counts as
/// gone (`replicas`).
#[derive(Debug, Clone, Copy)]
pub struct KeyClaim {
    /// The same for all attempts under one key.
    pub order_id: Uuid,
    /// The number of this attempt, from 1.
    pub attempt: i32,
    /// As in the first attempt.
    pub strategy: Strategy,
    /// What earlier attempts sent.
    pub earlier_write: EarlierWrite,
}

/// Whether an earlier attempt sent a write without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum EarlierWrite {
    /// None did.
    None,
    /// One may have, and its write may still arrive.
    Pending,
    /// One may have; by now its write has arrived or never will.
    Over,
}

/// A pending order that was claimed because it is overdue.
#[derive(Debug)]
pub struct OverdueOrder {
    /// The right to work on it.
    pub claim: KeyClaim,
    /// Its SKUs, separated by commas. Orders for the same SKUs have the same text.
    pub skus: String,
}

/// The state of a key when a request arrives with it.
#[derive(Debug)]
pub enum BeginResult {
    /// The key was new, free or overdue; the caller works on the order now.
    Claimed(KeyClaim),
    /// The order has a final answer.
    Answered(Answer),
    /// The key belongs to another request.
    Reused,
    /// Another attempt works on the order.
    InProgress {
        /// How long until the key may be taken over at the latest, unless the replica that works on it is seen again.
        at_most: Duration,
    },
}

/// How an attempt ends, for the order and for its key.
#[derive(Debug, Clone)]
pub enum Completion {
    /// Units are held; the payment is captured and the answer recorded.
    Held(Reservation, Answer),
    /// A final refusal; the payment, if any, is voided and the answer recorded.
    Refused(ProblemCode, Answer),
    /// Nothing was sold; the payment, if any, is voided and the key is free.
    Failed(ProblemCode),
    /// The outcome is unknown and nothing changes. The reconciler resolves the order once both times have passed, unless
    /// a retry does so first.
    Unresolved {
        /// A write of this attempt has no answer; otherwise one of an earlier attempt has none.
        unanswered: bool,
        /// From now.
        pause: Duration,
        /// From when the last write without an answer became known as such.
        arrival: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum KeyState {
    InFlight,
    Free,
    Unresolved,
    Done,
}

#[derive(FromRow)]
pub(super) struct ClaimRow {
    order_id: Uuid,
    attempt: i32,
    earlier_write: String,
    strategy: String,
}

#[derive(FromRow)]
pub(super) struct OverdueRow {
    #[sqlx(flatten)]
    claim: ClaimRow,
    skus: String,
}

#[derive(FromRow)]
pub(super) struct KeyRow {
    same_request: bool,
    state: String,
    status_code: Option<i16>,
    content_type: Option<String>,
    location: Option<String>,
    body: Option<Vec<u8>>,
    seconds_left: f64,
}

/// The strategy of a stored order.
pub(super) fn stored_strategy(name: &str) -> Result<Strategy, OrderError> {
    name.parse().map_err(|_| OrderError::Defect("a stored order has an unknown strategy"))
}

impl ClaimRow {
    pub(super) fn decode(self) -> Result<KeyClaim, OrderError> {
        let Self { order_id, attempt, earlier_write, strategy } = self;
        let earlier_write = earlier_write.parse().unwrap_or(EarlierWrite::Pending);
        Ok(KeyClaim { order_id, attempt, strategy: stored_strategy(&strategy)?, earlier_write })
    }
}

impl OverdueRow {
    pub(super) fn decode(self) -> Option<OverdueOrder> {
        let Self { claim, skus } = self;
        let order_id = claim.order_id;
        match claim.decode() {
            Ok(claim) => Some(OverdueOrder { claim, skus }),
            Err(error) => {
                UNREADABLE.call_once(|| {
                    tracing::warn!(%error, order = %order_id, "pending orders that this version cannot read are left to other replicas");
                });
                None
            }
        }
    }
}

impl KeyRow {
    pub(super) fn decode(self) -> Result<BeginResult, OrderError> {
        if !self.same_request {
            return Ok(BeginResult::Reused);
        }
        match self.state.parse() {
            Ok(KeyState::Done) => {}
            Ok(KeyState::InFlight | KeyState::Free | KeyState::Unresolved) => {
                let at_most = Duration::try_from_secs_f64(self.seconds_left).unwrap_or_default();
                return Ok(BeginResult::InProgress { at_most });
            }
            Err(_unknown) => return Err(OrderError::Defect("a stored idempotency key has an unknown state")),
        }
        let status = self.status_code.and_then(|status| u16::try_from(status).ok());
        let (Some(status), Some(content_type), Some(body)) = (status, self.content_type, self.body) else {
            return Err(OrderError::Defect("a recorded answer is incomplete"));
        };
        Ok(BeginResult::Answered(Answer { status, content_type, location: self.location, body }))
    }
}
