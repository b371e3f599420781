//! How large and how hostile a model is explored. Everything in here is a limit;
//! `main` argues why these are enough.

use crate::rules::{Issue, Version};

/// When a lock node forgets a key that nobody released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapses {
    /// Every key may go at every moment, on every node by itself. Contains release, clocks
    /// that run at any speed, and leases of any length.
    Any,
    /// So many whole leases, and so many single keys before their time. Keys are then released
    /// by whoever is done.
    AtMost { leases: u8, keys: u8 },
}

/// Who hands out tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenIssuer {
    /// Three nodes, as the version has it.
    LockNodes,
    /// The worst lock there can be: anybody gets any token at any time, twice if it likes.
    AnyToken,
}

/// An update that lets the database decide, beside the holders of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicUpdate {
    /// `available = available - 1`, and leaves the fence alone.
    LeavesFence,
    /// The same, with `fence = fence + 1, applied_fence = fence + 1`.
    RaisesFence,
}

/// How far clients go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Until they hold the lock: tokens only.
    Tokens,
    /// All the way to the stock.
    Stock,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtocolModel {
    pub(crate) version: Version,
    pub(crate) scope: Scope,
    /// Acquisitions, each of another owner. A client that tries again is another one of these.
    pub(crate) clients: usize,
    /// Units in stock at the beginning; every client wants one.
    pub(crate) units: u8,
    pub(crate) issuer: TokenIssuer,
    pub(crate) lapses: Lapses,
    /// How often a node may lose all it knows.
    pub(crate) amnesia: u8,
    /// How many writes may be carried out a second time.
    pub(crate) duplicates: u8,
    pub(crate) atomic_update: AtomicUpdate,
    /// How many updates the neighbour makes.
    pub(crate) atomic_updates: u8,
    /// States that differ only in names count once.
    pub(crate) symmetry_reduced: bool,
    /// Only this promise is watched. The checker then stops at the first state that breaks it,
    /// and only so is its schedule the shortest: with several, it would keep the last one found.
    pub(crate) watched: Option<&'static str>,
}

impl ProtocolModel {
    /// Two clients want the same last unit, and nothing goes wrong.
    pub(crate) fn no_failures(version: Version) -> Self {
        Self {
            version,
            scope: Scope::Stock,
            clients: 2,
            units: 1,
            issuer: TokenIssuer::LockNodes,
            lapses: Lapses::AtMost { leases: 0, keys: 0 },
            amnesia: 0,
            duplicates: 0,
            atomic_update: AtomicUpdate::LeavesFence,
            atomic_updates: 0,
            symmetry_reduced: true,
            watched: None,
        }
    }

    /// The same, but the lease of one of them may lapse.
    pub(crate) fn one_lease_lapses(version: Version) -> Self {
        Self { lapses: Lapses::AtMost { leases: 1, keys: 0 }, ..Self::no_failures(version) }
    }

    /// Three clients ask for tokens, and every key may go at every moment. Nobody touches stock.
    pub(crate) fn tokens_only(version: Version) -> Self {
        Self { scope: Scope::Tokens, clients: 3, lapses: Lapses::Any, ..Self::no_failures(version) }
    }

    /// Two clients, two units, and all that may go wrong: every key at every moment, a node's
    /// memory, a write carried out twice.
    pub(crate) fn hostile(version: Version) -> Self {
        Self { units: 2, lapses: Lapses::Any, amnesia: 1, duplicates: 1, ..Self::no_failures(version) }
    }

    /// Three clients, two units, two writes carried out twice, and a lock that is no lock.
    pub(crate) fn any_token(version: Version) -> Self {
        Self { clients: 3, units: 2, issuer: TokenIssuer::AnyToken, duplicates: 2, ..Self::no_failures(version) }
    }

    /// The order of tokens is looked at only where it is a promise: it costs states.
    pub(crate) fn watches_tokens(&self) -> bool {
        self.scope == Scope::Tokens || self.version.rules().issue == Issue::Sequence
    }
}
