//! The lab's pause of this replica: it stops itself after it checked its lease
//! and before it sends the write, in the window that the check narrows and
//! cannot close.
//!
//! Invariant: pauses are armed over HTTP, where the lab is switched on; each
//! fires once.
//! Absence: nothing here decides whether a write is sent. It is sent late.

use std::sync::{Arc, Mutex, PoisonError};

use contract::Sku;

/// The SKUs whose next write stops this replica. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct WritePauses(Arc<Mutex<Vec<String>>>);

impl WritePauses {
    /// The next write of this SKU stops this replica.
    pub fn arm(&self, sku: String) {
        self.with(|armed| armed.push(sku));
    }

    /// No pause is armed any more.
    pub fn disarm_all(&self) {
        self.with(Vec::clear);
    }

    /// Stops the whole process if a pause is armed for one of these SKUs; returns
    /// when the process is continued from outside.
    pub fn pause_before_write<'a>(&self, skus: impl IntoIterator<Item = &'a Sku>) {
        let fired = self.with(|armed| {
            let at = skus.into_iter().find_map(|sku| armed.iter().position(|armed| armed == sku.as_str()));
            at.map(|at| armed.swap_remove(at))
        });
        if fired.is_some() {
            service_kit::lab::stop_this_process();
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<String>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
