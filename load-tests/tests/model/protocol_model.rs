//! The bounds of a model: how many clients and units, and which failures, how often. `main` argues why they are enough.

use crate::rules::{Issue, Version};

/// When a lock node removes a key that was not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapses {
    /// At any moment, on each node independently. Contains release, clocks of any speed, and leases of any length.
    Any,
    /// So many whole leases, and so many single keys early. A client then releases its keys when it is done.
    AtMost { leases: u8, keys: u8 },
}

/// What issues tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenIssuer {
    /// Three lock nodes, by the rules of the version.
    LockNodes,
    /// The weakest possible lock: any client gets any token at any time, even one that was issued before.
    AnyToken,
}

/// An update whose condition the database checks, concurrent with the holders of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicUpdate {
    /// `available = available - 1`; the fence stays as it is.
    LeavesFence,
    /// The same, with `fence = fence + 1, applied_fence = fence + 1`.
    RaisesFence,
}

/// How the storage is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statements {
    /// Each claim and each write is a statement of its own.
    Single,
    /// Two claims, or two writes, may also be one statement, which makes both or neither: a refusal rolls it back, and each
    /// is made alone.
    Shared(Conditions),
}

/// When a shared statement checks the conditions of what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// Those of the second after the effect of the first.
    OneAfterTheOther,
    /// All of them first, on the row as it was before the statement.
    AllFirst,
}

/// The last step of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Acquiring the lock: for properties of tokens.
    Tokens,
    /// Writing the stock.
    Stock,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtocolModel {
    pub(crate) version: Version,
    pub(crate) scope: Scope,
    /// Acquisitions, each with its own owner. A client that retries is another acquisition.
    pub(crate) clients: usize,
    /// Units in stock in the first state; every client orders one.
    pub(crate) units: u8,
    pub(crate) issuer: TokenIssuer,
    pub(crate) lapses: Lapses,
    /// How often a node may restart empty.
    pub(crate) amnesia: u8,
    /// How many writes may arrive a second time.
    pub(crate) duplicates: u8,
    pub(crate) atomic_update: AtomicUpdate,
    /// The number of atomic updates.
    pub(crate) atomic_updates: u8,
    pub(crate) statements: Statements,
    /// States that differ only in names count once.
    pub(crate) symmetry_reduced: bool,
    /// If set, the only property that is checked. The checker then stops at the first state that violates it, so the
    /// schedule is the shortest: with several properties it would keep the last one found.
    pub(crate) only_property: Option<&'static str>,
}

impl ProtocolModel {
    /// Two clients order the same last unit, and nothing fails.
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
            statements: Statements::Single,
            symmetry_reduced: true,
            only_property: None,
        }
    }

    /// The same, but one lease may lapse.
    pub(crate) fn one_lease_lapses(version: Version) -> Self {
        Self { lapses: Lapses::AtMost { leases: 1, keys: 0 }, ..Self::no_failures(version) }
    }

    /// Three clients acquire the lock, and any key may be removed at any moment. No client writes the stock.
    pub(crate) fn tokens_only(version: Version) -> Self {
        Self { scope: Scope::Tokens, clients: 3, lapses: Lapses::Any, ..Self::no_failures(version) }
    }

    /// Two clients, two units, and every failure: any key removed at any moment, one node restarted empty, one write
    /// that arrives twice.
    pub(crate) fn hostile(version: Version) -> Self {
        Self { units: 2, lapses: Lapses::Any, amnesia: 1, duplicates: 1, ..Self::no_failures(version) }
    }

    /// Three clients, two units, two writes that arrive twice, and the weakest possible lock.
    pub(crate) fn any_token(version: Version) -> Self {
        Self { clients: 3, units: 2, issuer: TokenIssuer::AnyToken, duplicates: 2, ..Self::no_failures(version) }
    }

    /// The same, with claims and writes that share a statement.
    pub(crate) fn sharing(self) -> Self {
        Self { statements: Statements::Shared(Conditions::OneAfterTheOther), ..self }
    }

    /// The order of tokens is part of the state. Only where it is checked: it multiplies the states.
    pub(crate) fn checks_tokens(&self) -> bool {
        self.scope == Scope::Tokens || self.version.rules().issue == Issue::Sequence
    }
}
