//! What inventory changes by itself, under a lock of its own: cancellations, restocks, holds that have ended.

pub mod changes;
pub mod stock_lock;
pub mod sweeper;
