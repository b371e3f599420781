//! What inventory changes by itself, under its own locks, and what runs in the background.

pub mod changes;
pub mod stock_lock;
pub mod stuck_skus;
pub mod sweeper;

pub(crate) mod probes;
pub(crate) mod retention;
