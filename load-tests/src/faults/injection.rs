//! When a fault is injected, and into which replica and SKU.

/// One planned injection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    /// Its number in the schedule, from 0.
    pub number: usize,
    /// The fraction of the sale after which it is due, 0 to 1.
    pub after: f64,
    /// A replica of a service or a lock node; taken modulo their number.
    pub replica: usize,
    /// A SKU; taken modulo their number.
    pub sku: usize,
}
