//! What an audit found, as data: each violation carries its item and the values that show it. `Display` makes the
//! sentence.

use std::fmt;

use contract::ReservationStatus;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use strum::Display;
use uuid::Uuid;

use super::item::Item;
use super::snapshot::{OrderStatus, PaymentState};

/// So many violations of one item are reported; the others are counted.
const REPORTED_PER_ITEM: usize = 5;

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Rules that do not hold.
    pub violations: Vec<Violation>,
    /// Rules of which it was not decided whether they hold. Neither a violation nor a pass.
    pub undecided: Vec<Undecided>,
}

/// A rule that does not hold, and the values that show it.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
#[expect(missing_docs, reason = "each sentence names the fields of its variant")]
pub enum Violation {
    /// Item 1, from the reservations.
    #[strum(to_string = "{sku}: {live} units are reserved or sold, {on_hand} are in stock")]
    LiveUnitsExceedStock { sku: String, live: i64, on_hand: i64 },
    /// Item 1, from the ledger: at some time, though not any more.
    #[strum(to_string = "{sku}: at some time {excess} more units were reserved or sold than were in stock")]
    LiveUnitsExceededStock { sku: String, excess: i64 },
    /// Item 2, against the reservations.
    #[strum(to_string = "{sku}: available is {available}, but {on_hand} are on hand and {live} are live")]
    AvailableDiffers { sku: String, available: i64, on_hand: i64, live: i64 },
    /// Item 2, the ledger against the reservations.
    #[strum(to_string = "{sku}: the ledger took {taken} units, the live reservations hold {live}")]
    LedgerDiffers { sku: String, taken: i64, live: i64 },
    /// Item 3.
    #[strum(to_string = "{sku}: available is {available} of {on_hand}")]
    AvailableOutOfBounds { sku: String, available: i64, on_hand: i64 },
    /// Item 4.
    #[strum(to_string = "order {order} has {count} reservations")]
    SeveralReservations { order: Uuid, count: usize },
    /// Item 4.
    #[strum(to_string = "idempotency key {key} has {count} orders")]
    SeveralOrders { key: String, count: usize },
    /// Item 5.
    #[strum(to_string = "{sku}: fence {fence} of row {seq} follows fence {earlier_fence} of row {earlier_seq}")]
    FenceDecreased { sku: String, seq: i64, fence: i64, earlier_seq: i64, earlier_fence: i64 },
    /// Item 5.
    #[strum(to_string = "{sku}: rows {earlier_seq} and {seq} carry fence {fence} in different transactions")]
    FenceShared { sku: String, fence: i64, earlier_seq: i64, seq: i64 },
    /// Item 6.
    #[strum(to_string = "{sku}: row {seq} was computed from {read} available when {actual} were available")]
    LostUpdate { sku: String, seq: i64, read: i64, actual: i64 },
    /// Item 6.
    #[strum(to_string = "{sku}: row {seq} records {before} {delta:+} = {after}")]
    WrongSum { sku: String, seq: i64, before: i64, delta: i64, after: i64 },
    /// Item 7.
    #[strum(to_string = "reservation {reservation} of order {order} was requested by no customer")]
    ReservationNotRequested { reservation: Uuid, order: Uuid },
    /// Item 7.
    #[strum(to_string = "{key}: the answer was {answer}, the database has {reservations} reservations")]
    AnswerContradicted { key: String, answer: AnswerShown, reservations: usize },
    /// Item 7.
    #[strum(to_string = "{key}: {quantity} × {sku} was ordered, reservation {reservation} is for something else")]
    OtherGoodsReserved { key: String, quantity: i64, sku: String, reservation: Uuid },
    /// Item 7.
    #[strum(to_string = "{key}: the answer named another order than {order}, which has the reservation")]
    OtherOrderAnswered { key: String, order: Uuid },
    /// Item 8.
    #[strum(to_string = "order {order} is {status}, its reservation is {reservation}")]
    StatusesDiffer { order: Uuid, status: OrderStatus, reservation: ReservationStatus },
    /// Item 8.
    #[strum(to_string = "order {order} is confirmed and has no reservation")]
    ConfirmedWithoutReservation { order: Uuid },
    /// Item 8.
    #[strum(to_string = "reservation {reservation} is confirmed, but order {order} does not exist")]
    ConfirmedWithoutOrder { reservation: Uuid, order: Uuid },
    /// Item 9.
    #[strum(to_string = "{sku}: sold out at {at_us} µs, when at most {taken} of {units} units could have been taken")]
    SoldOutTooEarly { sku: String, at_us: u128, taken: usize, units: i64 },
    /// Item 9.
    #[strum(to_string = "{sku}: sold out at {at_us} µs, then sold to a request that began at {began_us} µs")]
    SoldAfterSoldOut { sku: String, at_us: u128, began_us: u128 },
    /// Item 9.
    #[strum(to_string = "{sku}: no sequence of the requests explains every answer")]
    AnswersUnexplained { sku: String },
    /// Item 10.
    #[strum(to_string = "order {order} is {status}, its payment is {payment}")]
    PaymentDiffers { order: Uuid, status: OrderStatus, payment: PaymentState },
    /// Item 10.
    #[strum(to_string = "order {order} is {status} and has no payment")]
    PaymentMissing { order: Uuid, status: OrderStatus },
    /// Any item: how many violations of it are not listed.
    #[strum(to_string = "{count} more of this item")]
    More { item: Item, count: usize },
}

/// The answer to a request, as far as a violation reports it; without a status there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerShown {
    /// HTTP status.
    pub status: Option<u16>,
    /// The code of the problem.
    pub code: Option<String>,
}

/// A rule of which it was not decided whether it holds.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
pub enum Undecided {
    /// Item 9: the search for a sequence of the requests exceeded its limit.
    #[strum(to_string = "{sku}: the search for a sequence of the requests exceeded its limit")]
    SearchGaveUp {
        /// The SKU whose answers were searched.
        sku: String,
    },
    /// Any item: how many SKUs are not listed.
    #[strum(to_string = "{count} more of this item")]
    More {
        /// The item.
        item: Item,
        /// How many.
        count: usize,
    },
}

impl Findings {
    /// Everything was decided, and every rule holds.
    pub fn passed(&self) -> bool {
        self.violations.is_empty() && self.undecided.is_empty()
    }

    /// What one item found; of many violations some are listed and the others counted.
    pub(super) fn of(item: Item, mut violations: Vec<Violation>, mut undecided: Vec<Undecided>) -> Self {
        if let Some(count) = cut(&mut violations) {
            violations.push(Violation::More { item, count });
        }
        if let Some(count) = cut(&mut undecided) {
            undecided.push(Undecided::More { item, count });
        }
        Self { violations, undecided }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.violations.extend(other.violations);
        self.undecided.extend(other.undecided);
    }
}

fn cut<T>(found: &mut Vec<T>) -> Option<usize> {
    let more = found.len().checked_sub(REPORTED_PER_ITEM).filter(|more| *more > 0)?;
    found.truncate(REPORTED_PER_ITEM);
    Some(more)
}

impl Violation {
    /// The rule that does not hold.
    pub fn item(&self) -> Item {
        match self {
            Self::LiveUnitsExceedStock { .. } | Self::LiveUnitsExceededStock { .. } => Item::LiveUnitsExist,
            Self::AvailableDiffers { .. } | Self::LedgerDiffers { .. } => Item::AvailableAddsUp,
            Self::AvailableOutOfBounds { .. } => Item::AvailableWithinBounds,
            Self::SeveralReservations { .. } | Self::SeveralOrders { .. } => Item::OneOfEach,
            Self::FenceDecreased { .. } | Self::FenceShared { .. } => Item::FencesNeverDecrease,
            Self::LostUpdate { .. } | Self::WrongSum { .. } => Item::LedgerChains,
            Self::ReservationNotRequested { .. }
            | Self::AnswerContradicted { .. }
            | Self::OtherGoodsReserved { .. }
            | Self::OtherOrderAnswered { .. } => Item::AnswersAgree,
            Self::StatusesDiffer { .. }
            | Self::ConfirmedWithoutReservation { .. }
            | Self::ConfirmedWithoutOrder { .. } => Item::ConfirmedTogether,
            Self::SoldOutTooEarly { .. } | Self::SoldAfterSoldOut { .. } | Self::AnswersUnexplained { .. } => {
                Item::SoldOutJustified
            }
            Self::PaymentDiffers { .. } | Self::PaymentMissing { .. } => Item::PaymentsSettled,
            Self::More { item, .. } => *item,
        }
    }
}

impl Undecided {
    /// The rule that was not decided.
    pub fn item(&self) -> Item {
        match self {
            Self::SearchGaveUp { .. } => Item::SoldOutJustified,
            Self::More { item, .. } => *item,
        }
    }
}

impl fmt::Display for AnswerShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.code) {
            (Some(status), Some(code)) => write!(f, "{status} {code}"),
            (Some(status), None) => write!(f, "{status}"),
            (None, _) => f.write_str("missing"),
        }
    }
}

/// `{"item": 1, "text": "…"}`
impl Serialize for Violation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        item_and_text(self.item(), self, serializer)
    }
}

/// `{"item": 9, "text": "…"}`
impl Serialize for Undecided {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        item_and_text(self.item(), self, serializer)
    }
}

fn item_and_text<S: Serializer>(item: Item, text: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("Finding", 2)?;
    fields.serialize_field("item", &item)?;
    fields.serialize_field("text", &text.to_string())?;
    fields.end()
}
