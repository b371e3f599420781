//! The order service against real Postgres, real Redis nodes and the real
//! inventory service. Nothing is mocked; what breaks is really broken.

mod backends;
mod collector;
mod documented;
mod failures;
mod idempotency;
mod life;
mod lock_nodes;
mod lost_replies;
mod outages;
mod paused;
mod paused_order;
mod payments;
mod placing;
mod process;
mod requests;
mod sharing;
mod stack;
mod traces;
mod unheard;
