//! The protocol issue → claim → write, explored: every order of steps within the bounds below.
//! Each usual or weakened version must show its hole, as a schedule one can read; the real one
//! must show none. Nothing here talks to a server: that the code does what the model does is the
//! business of the tests of `fenced-lock` and `inventory`.
//!
//! # What is in it
//! Three lock nodes, each with a counter and the owner of its key; up to three acquisitions; one
//! row of stock. `lock` and `stock` hold the steps, `rules` the versions, `model` the bounds,
//! `properties` what is promised, and the rest of the files the tests.
//!
//! # Why so few steps are enough
//! * **Loss, delay and reordering need no steps of their own.** Every request stays on its way
//!   until its step is taken, in any order, or never. A request that would be refused changes
//!   nothing, so it is the same as one lost. A reply needs no step: a client goes on with *any*
//!   quorum among those that granted, at any later time, which is every order of arrival.
//! * **A pause, and a crash, of a client need no steps:** nobody has to take its next step. A
//!   client that tries again, or another replica that does so for it, is one more acquisition.
//! * **Time is not in it.** A key may go at any moment, on one node or all, which contains every
//!   lease, every clock, early expiry, extension that failed, and (in `Lapses::Any`) release. So
//!   the look at `valid_until` before the write is not in it either: safety does not lean on it.
//! * **An acquisition begins with its first grant** and ends with the last reply it needs. To
//!   begin earlier or end later only lessens what real-time order asks of it.
//! * **A statement of the storage is one step**: it is one update of one row. The claim commits
//!   before the read, as it does in the service, and the write is its own transaction. A claim
//!   that arrives twice changes nothing the second time; a write may, and has a step for it.
//! * **Clients are alike, and nodes are alike,** so states that differ only in names count once
//!   (`fold`).
//!
//! # Bounds, and why they are enough to trust
//! * Three nodes, quorum two. The argument for uniqueness needs of quorums only that two of them
//!   share a node; five nodes add nothing to that but states.
//! * Two acquisitions for stock on real nodes, three for tokens. A lost update is between two; the
//!   third is the one whose failure leaves counters apart. `TokenIssuer::AnyToken` then replaces the
//!   nodes by the worst lock there can be, with three acquisitions: what holds there holds for
//!   any number of nodes that forget, any lock service, and counters that start again.
//! * One amnesia, one or two duplicated writes, one or two units, up to two updates by a
//!   atomic_update: at least as many as any hole shown here needs.
//! * Random walks go further than can be visited: three acquisitions, amnesia, a duplicate and a
//!   neighbour at once. They prove nothing; they look where nobody else does.
//!
//! # What is not in it
//! * Liveness: nothing here says that anybody ever gets a lock.
//! * Several resources at once. Each row is checked by itself, in one transaction.
//! * A storage that forgets a committed fence: then nothing holds, and `synchronous_commit` is
//!   what the service asks for.
//! * The order's idempotency key and the unique reservation row, which also stop a duplicate.
//!   The model shows what the fence is worth without them.
//! * Cancelling, expiring and restocking. They take part as a holder or as the neighbour does.

mod atomic_updates;
mod checker;
mod lock;
mod properties;
mod protocol_model;
mod rules;
mod safe_versions;
mod schedule;
mod state;
mod stock;
mod symmetry;
mod tokens;
mod unsafe_versions;
