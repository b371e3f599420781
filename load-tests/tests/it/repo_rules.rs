//! The rules that `docs/ARCHITECTURE.md` states about the repository, checked from its manifests and its code. A rule
//! prints every place that breaks it, and has a test in which it refuses a forged input.
//!
//! Absence: nothing is built or started, and no rule reads what only the tests of a crate contain, except [`words`].

mod circles;
mod code;
mod crates;
mod dependencies;
mod documents;
mod first_build;
mod libraries;
mod strategies;
mod words;
mod workspace;
