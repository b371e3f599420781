//! The versions of the protocol: each is nothing but a set of rules.
//! The steps in `lock` and `stock` are the same for all of them; no step names a version.

/// The real protocol, and the weaker ones that people use or that drop one of its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    NoLock,
    RedlockNoFence,
    TextbookWriteFence,
    SequenceAfterLock,
    MaxNotSealed,
    SealForgetsOwner,
    SealForgetsCounter,
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
    Nobody,
    /// A quorum of `SET NX`, no token.
    LockOnly,
    /// A quorum of `SET NX`, then `nextval` at the storage.
    Sequence,
    /// The highest counter of the quorum that granted.
    Highest,
    /// Equal counters at a quorum, or the highest sealed at a quorum.
    Sealed { only_mine: bool, only_lower: bool },
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
    Ignored,
    /// `fence < token`, and the write itself raises the fence.
    Textbook,
    /// `fence = token`.
    Mine,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) issue: Issue,
    pub(crate) claim: Claim,
    pub(crate) read_first: bool,
    pub(crate) fence: FenceAtWrite,
    pub(crate) once: bool,
}

impl Version {
    pub(crate) fn rules(self) -> Rules {
        let sealed = Issue::Sealed { only_mine: true, only_lower: true };
        let unfenced = Rules {
            issue: Issue::LockOnly,
            claim: Claim::None,
            read_first: false,
            fence: FenceAtWrite::Ignored,
            once: false,
        };
        let textbook = Rules { issue: sealed, fence: FenceAtWrite::Textbook, ..unfenced };
        let real =
            Rules { issue: sealed, claim: Claim::Higher, read_first: false, fence: FenceAtWrite::Mine, once: true };
        let issued = |issue| Rules { issue, ..real };
        match self {
            Self::NoLock => Rules { issue: Issue::Nobody, ..unfenced },
            Self::RedlockNoFence => unfenced,
            Self::TextbookWriteFence => textbook,
            Self::SequenceAfterLock => Rules { issue: Issue::Sequence, ..textbook },
            Self::MaxNotSealed => issued(Issue::Highest),
            Self::SealForgetsOwner => issued(Issue::Sealed { only_mine: false, only_lower: true }),
            Self::SealForgetsCounter => issued(Issue::Sealed { only_mine: true, only_lower: false }),
            Self::ReadBeforeClaim => Rules { read_first: true, ..real },
            Self::ClaimWithoutFenceAtWrite => Rules { fence: FenceAtWrite::Ignored, ..real },
            Self::ClaimWithoutWriteOnce => Rules { once: false, ..real },
            Self::ClaimNotStrict => Rules { claim: Claim::NotLower, ..real },
            Self::ClaimNeitherStrictNorOnce => Rules { claim: Claim::NotLower, once: false, ..real },
            Self::ClaimStrictWriteOnce => real,
        }
    }
}
