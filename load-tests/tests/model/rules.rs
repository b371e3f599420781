//! The versions of the protocol: each is nothing but a set of rules.
//! The steps in `lock` and `stock` are the same for all of them; no step names a version.

/// The real protocol, and the weaker ones that people use or that drop one of its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    NoLock,
    RedlockNoFence,
    TextbookWriteFence,
    SequenceAfterLock,
    HighestNotSealed,
    SealWithoutOwnerCheck,
    SealWithoutCounterCheck,
    ReadBeforeClaim,
    ClaimWithoutFenceAtWrite,
    ClaimWithoutWriteOnce,
    ClaimNotStrict,
    ClaimNeitherStrictNorOnce,
    ClaimStrictWriteOnce,
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issue {
    /// No lock at all: every client goes ahead.
    NoLock,
    /// A quorum of `SET NX`, no token.
    LockOnly,
    /// A quorum of `SET NX`, then `nextval` at the storage.
    Sequence,
    /// The highest counter of the quorum that granted.
    Highest,
    /// Equal counters at a quorum, or the highest sealed at a quorum.
    Sealed { checks_owner: bool, checks_counter: bool },
}

/// `fence < token`, or the weaker `fence <= token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    None,
    NotLower,
    Higher,
}

/// What the write asks of the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FenceAtWrite {
    NotChecked,
    /// `fence < token`, and the write itself raises the fence.
    Textbook,
    /// `fence = token`.
    EqualsToken,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) issue: Issue,
    pub(crate) claim: Claim,
    pub(crate) read_first: bool,
    pub(crate) fence: FenceAtWrite,
    pub(crate) write_once: bool,
}

impl Version {
    pub(crate) fn rules(self) -> Rules {
        let sealed = Issue::Sealed { checks_owner: true, checks_counter: true };
        let unfenced = Rules {
            issue: Issue::LockOnly,
            claim: Claim::None,
            read_first: false,
            fence: FenceAtWrite::NotChecked,
            write_once: false,
        };
        let textbook = Rules { issue: sealed, fence: FenceAtWrite::Textbook, ..unfenced };
        let real = Rules {
            issue: sealed,
            claim: Claim::Higher,
            read_first: false,
            fence: FenceAtWrite::EqualsToken,
            write_once: true,
        };
        let issued = |issue| Rules { issue, ..real };
        match self {
            Self::NoLock => Rules { issue: Issue::NoLock, ..unfenced },
            Self::RedlockNoFence => unfenced,
            Self::TextbookWriteFence => textbook,
            Self::SequenceAfterLock => Rules { issue: Issue::Sequence, ..textbook },
            Self::HighestNotSealed => issued(Issue::Highest),
            Self::SealWithoutOwnerCheck => issued(Issue::Sealed { checks_owner: false, checks_counter: true }),
            Self::SealWithoutCounterCheck => issued(Issue::Sealed { checks_owner: true, checks_counter: false }),
            Self::ReadBeforeClaim => Rules { read_first: true, ..real },
            Self::ClaimWithoutFenceAtWrite => Rules { fence: FenceAtWrite::NotChecked, ..real },
            Self::ClaimWithoutWriteOnce => Rules { write_once: false, ..real },
            Self::ClaimNotStrict => Rules { claim: Claim::NotLower, ..real },
            Self::ClaimNeitherStrictNorOnce => Rules { claim: Claim::NotLower, write_once: false, ..real },
            Self::ClaimStrictWriteOnce => real,
        }
    }
}
