//! The auditor: reads the databases of both services, and the history of an attack where there is one, and reports
//! every violation of the rules in [`Item`].
//!
//! Invariant: it only reads, and only once no process is paused and no request is in flight ([`wait_until_quiescent`]).
//! Absence: it uses no counter of the attack or of a service.

mod checks;
mod database_work;
mod evidence;
mod item;
mod live_stats;
pub mod oversold;
mod quiescence;
mod reader;
mod snapshot;
mod statement;
mod violation;

pub use checks::audit;
pub use database_work::DatabaseWork;
pub use evidence::Evidence;
pub use item::Item;
pub use live_stats::{LiveStats, SkuStats};
pub use quiescence::{InFlight, Quiescence, Unsettled, wait_until_quiescent};
pub use reader::{Auditor, Scope};
pub use snapshot::{
    CarriedForward, DbSnapshot, LedgerKind, LedgerRow, LostUpdate, Order, OrderStatus, PaymentState, Refusal,
    RefusalStep, Reservation, ReservationLine, Retention, StockRow,
};
pub use statement::{ItemState, ItemStatement, RowCounts, Statement};
pub use violation::{AnswerShown, Findings, Undecided, Violation};
