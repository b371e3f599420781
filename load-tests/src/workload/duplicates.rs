//! Orders that are sent twice at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether customers send their orders twice.
#[derive(Debug, Default)]
pub struct DuplicateMode {
    on: AtomicBool,
}

/// Customers send orders twice until this is dropped.
#[derive(Debug)]
pub struct DuplicateGuard<'a>(&'a DuplicateMode);

impl DuplicateMode {
    /// From now on, every second order is sent twice at the same time.
    pub fn send_twice(&self) -> DuplicateGuard<'_> {
        self.on.store(true, Ordering::Relaxed);
        DuplicateGuard(self)
    }

    /// The order with this number is to be sent twice.
    pub(super) fn applies_to(&self, number: usize) -> bool {
        number.is_multiple_of(2) && self.on.load(Ordering::Relaxed)
    }
}

impl Drop for DuplicateGuard<'_> {
    fn drop(&mut self) {
        self.0.on.store(false, Ordering::Relaxed);
    }
}
