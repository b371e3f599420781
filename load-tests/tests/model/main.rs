//! A model of the protocol issue → claim → write, checked exhaustively: every order of steps within the bounds below.
//! Each usual or weakened version must have a counterexample, printed as a schedule; the protocol of this repository
//! must have none.
//!
//! Absence: no server. The tests of `fenced-lock` and `inventory` check that the code does what the model does.
//!
//! # The model
//! Three lock nodes, each with a counter and the owner of its key; up to three acquisitions; one row of stock. `lock`
//! and `stock` hold the steps, `rules` the versions, `protocol_model` the bounds, `properties` what is checked,
//! `safe_versions`, `unsafe_versions`, `atomic_updates`, `shared_statements` and `tokens` the tests.
//!
//! # Why so few steps are enough
//! * **Loss, delay and reordering need no steps.** Every request stays in flight until its step happens, in any order,
//!   or never. A request that would be refused changes nothing, so it equals a lost one. A reply needs no step: a
//!   client continues with *any* quorum among the nodes that granted, at any later time, which covers every order of
//!   arrival.
//! * **A pause or a crash of a client needs no step:** its next step need never happen. A client that retries, or
//!   another replica that does so for it, is one more acquisition.
//! * **Time is not modelled.** A key may expire at any moment, on one node or all, which covers every lease, every
//!   clock, early expiry, a failed extension, and (in `Lapses::Any`) release. So the check of `valid_until` before the
//!   write is not modelled either: safety does not depend on it.
//! * **An acquisition begins with its first grant** and ends with the last reply that it needs. To begin earlier or end
//!   later would only weaken what real-time order requires of it.
//! * **A statement of the storage is one step**: it is one update of one row. The claim commits before the read, as it
//!   does in the service, and the write is its own transaction. A claim that arrives twice changes nothing the second
//!   time; a write may, and has a step for it.
//! * **A shared statement locks each row before it checks it,** so what it does to one row is what one claim or write does.
//!   Two claims or writes of the *same* row in one statement have a step: both, one after the other, or neither. One that
//!   was rolled back is a request in flight again.
//! * **All clients are alike, and so are all nodes,** so states that differ only in their names count once
//!   (`symmetry`).
//!
//! # Bounds, and why they are enough
//! * Three nodes, quorum two. The argument for uniqueness needs only that two quorums share a node; five nodes would
//!   add states, and no new case.
//! * Two acquisitions for stock on lock nodes, three for tokens. A lost update is between two; the third is the one
//!   whose failure leaves counters unequal. `TokenIssuer::AnyToken` then replaces the nodes by the weakest possible
//!   lock, with three acquisitions: what is safe there is safe with any number of nodes that forget, any lock service,
//!   and counters that start again.
//! * One node restarted empty, one or two writes that arrive twice, one or two units, up to two atomic updates: at
//!   least as many as any counterexample here needs.
//! * Random walks cover models with too many states to visit all: three acquisitions, a node restarted empty, a write
//!   that arrives twice and an atomic update at once. They prove nothing; they may find a violation.
//!
//! # What is not in the model
//! * Liveness: nothing here says that a client ever acquires the lock.
//! * Several resources at once. Each row is checked by itself, in one transaction.
//! * A storage that forgets a committed fence: then nothing is safe, and the service sets `synchronous_commit`.
//! * The order's idempotency key and the unique reservation row, which also stop a duplicate. The model shows what the
//!   fence achieves without them.
//! * Cancelling, expiring and restocking. They act like a holder or like an atomic update.

mod atomic_updates;
mod checker;
mod lock;
mod properties;
mod protocol_model;
mod rules;
mod safe_versions;
mod schedule;
mod shared_statements;
mod state;
mod stock;
mod symmetry;
mod tokens;
mod unsafe_versions;
