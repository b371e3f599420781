//! The order service against real Postgres, real Redis nodes and the real
//! inventory service. Nothing is mocked: servers are stopped, lines are cut,
//! processes are paused and killed.

mod batching;
mod collector;
mod configuration;
mod failures;
mod idempotency;
mod inventory_silence;
mod lifecycle;
mod lock_backends;
mod lock_nodes;
mod lost_replies;
mod migrations;
mod openapi;
mod outages;
mod outcome_unknown;
mod paused_before_write;
mod paused_write;
mod payments;
mod periodic_work;
mod placement;
mod poolers;
mod postgres_faults;
mod process;
mod reconciliation;
mod replica_gone;
mod requests;
mod retention;
mod shared_statements;
mod slow_payments;
mod sold_out;
mod stack;
mod traces;
