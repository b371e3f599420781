//! The terms that order, inventory and the laboratory share: strategies, SKUs,
//! reservation states, problem codes; and how their command lines read numbers. Each strategy is a row of the table in
//! [`strategy`].
//!
//! Invariant: each of these closed sets is listed here and nowhere else.
//! Absence: no I/O, and no request or response body; every service decodes its
//! own.

mod problem_code;
mod reservation;
mod sku;
pub mod strategy;
mod whole_number;

pub use problem_code::ProblemCode;
pub use reservation::ReservationStatus;
pub use sku::{InvalidSku, Sku};
pub use strategy::{LockKind, Promise, Proof, Strategy, TokenSource, WriteCheck};
pub use whole_number::whole_number;
