//! The numbers that a run accepts, from flags and from scenario files alike.
//!
//! Invariant: within these limits the services start and a run fits into memory.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// Concurrent customers.
pub const USERS: RangeInclusive<u64> = 1..=10_000;
/// Orders of each customer.
pub const ITERATIONS: RangeInclusive<u64> = 1..=1_000_000;
/// Orders of each strategy: customers times iterations. All of them are planned before the sale.
pub const ORDERS: RangeInclusive<u64> = 1..=10_000_000;
/// SKUs on sale.
pub const SKUS: RangeInclusive<u64> = 1..=1_000;
/// Units in stock, over all SKUs.
pub const STOCK: RangeInclusive<u64> = 1..=1_000_000;
/// Exponent of Zipf's law.
pub const SKEW: RangeInclusive<f64> = 0.0..=5.0;
/// The length of an open sale, in seconds.
pub const WINDOW_S: RangeInclusive<u64> = 1..=3_600;
/// Injections of a fault; a scenario may also say 0.
pub const INJECTIONS: RangeInclusive<u64> = 1..=1_000;
/// Lock nodes; an odd number.
pub const REDIS_NODES: RangeInclusive<usize> = 1..=15;
/// Replicas of each service.
pub const REPLICAS: RangeInclusive<usize> = 2..=8;
/// The lease, in milliseconds: no service accepts a shorter one.
pub const LEASE_MS: RangeInclusive<u64> = 600..=600_000;
/// The wait for a lock, in milliseconds.
pub const WAIT_MS: RangeInclusive<u64> = 0..=600_000;
/// The payment, in milliseconds: order waits for it for less than 30 s.
pub const PAYMENT_MS: RangeInclusive<u64> = 0..=29_999;

/// Why the number is refused; `None` if it is in the range.
pub fn refusal<T: PartialOrd + Display>(number: &T, range: &RangeInclusive<T>) -> Option<String> {
    (!range.contains(number)).then(|| format!("{number} is not in {}..={}", range.start(), range.end()))
}

/// Why the number of lock nodes is refused: half of an even number is no majority, and tolerates no more failures.
pub fn refusal_of_nodes(nodes: usize) -> Option<String> {
    let even = || nodes.is_multiple_of(2).then(|| format!("{nodes} is not odd"));
    refusal(&nodes, &REDIS_NODES).or_else(even)
}
