//! What the model looks like between two steps. Only facts, and the ghost that the properties
//! look for; how it moves is in `lock` and `stock`.

use crate::protocol_model::{Lapses, ProtocolModel, Scope, TokenIssuer};
use crate::rules::Issue;

pub(crate) const NODES: usize = 3;
/// Room for so many; a model with fewer leaves the others without anything to do.
pub(crate) const CLIENTS: usize = 3;

/// One lock node: `fence:{resource}`, and the owner in `lock:{resource}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Node {
    pub(crate) counter: u8,
    pub(crate) owner: Option<u8>,
}

/// What became of one client's requests at one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Exchange {
    /// The request to grant is on its way, or lost.
    Requested,
    /// Granted with this counter; the reply is on its way, or lost.
    Granted(u8),
    /// The request to seal is on its way, or lost.
    Sealing,
    /// Both the request to grant and the request to seal are on their way, or lost.
    RequestedAndSealing,
    /// Sealed here; the reply counts.
    Sealed,
    /// Nothing more can come of it.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// Waits for a quorum to grant.
    Acquiring,
    /// Waits for a quorum to seal its token.
    Sealing,
    Holding,
    /// Has read this much before claiming, in the version that does so.
    ReadUnclaimed(u8),
    Claimed,
    /// Has read this much and decided: its write may arrive now, later or never.
    Decided(u8),
    /// Its write arrived and was accepted. The same write may arrive again.
    Written(u8),
    /// Its write arrived and was refused. The same write may arrive again.
    Refused(u8),
    /// Its claim was refused, with the fence of that moment.
    Stale(u8),
    SoldOut,
    GaveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) phase: Phase,
    /// The token; in `Phase::Sealing` the one that it would like to have. 0: none.
    pub(crate) token: u8,
    /// Who had been granted the lock before this one began: they must have lower tokens.
    /// One bit each.
    pub(crate) after: u8,
    pub(crate) exchanges: [Exchange; NODES],
}

/// The row of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stock {
    pub(crate) available: u8,
    pub(crate) fence: u8,
    pub(crate) applied_fence: u8,
    /// Units for which somebody was told yes.
    pub(crate) sold: u8,
    /// The last value of the sequence, in the version that draws tokens from one.
    pub(crate) sequence: u8,
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) leases: u8,
    pub(crate) keys: u8,
    pub(crate) amnesia: u8,
    pub(crate) duplicates: u8,
    pub(crate) atomic_updates: u8,
}

/// Ghost that no participant sees; the properties do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ghost {
    /// A write was accepted although what it was computed from was no longer true.
    pub(crate) lost_update: bool,
    /// Whose order was looked up under a higher token and not found. One bit each.
    pub(crate) absent: u8,
    /// A write was accepted after its order had been looked up so.
    pub(crate) revived: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) nodes: [Node; NODES],
    pub(crate) clients: [Client; CLIENTS],
    pub(crate) stock: Stock,
    pub(crate) budget: Budget,
    pub(crate) ghost: Ghost,
}

impl State {
    pub(crate) fn first(model: &ProtocolModel) -> Self {
        let asks_nodes = model.issuer == TokenIssuer::LockNodes && model.version.rules().issue != Issue::NoLock;
        let mut client = Client {
            phase: Phase::Acquiring,
            token: 0,
            after: 0,
            exchanges: [if asks_nodes { Exchange::Requested } else { Exchange::Done }; NODES],
        };
        if model.version.rules().issue == Issue::NoLock {
            client.phase = Phase::Holding;
        }
        let nobody = Client { phase: Phase::GaveUp, exchanges: [Exchange::Done; NODES], ..client };
        let mut clients = [nobody; CLIENTS];
        clients[..model.clients].fill(client);
        let (leases, keys) = match model.lapses {
            Lapses::Any => (0, 0),
            Lapses::AtMost { leases, keys } => (leases, keys),
        };
        Self {
            nodes: [Node::default(); NODES],
            clients,
            stock: Stock { available: model.units, fence: 0, applied_fence: 0, sold: 0, sequence: 0 },
            budget: Budget {
                leases,
                keys,
                amnesia: model.amnesia,
                duplicates: model.duplicates,
                atomic_updates: model.atomic_updates,
            },
            ghost: Ghost::default(),
        }
    }

    /// Nothing that a property looks at can change any more.
    pub(crate) fn over(&self, scope: Scope) -> bool {
        let duplicates = self.budget.duplicates > 0;
        let neighbour = self.budget.atomic_updates > 0 && self.stock.available > 0;
        !neighbour
            && self.clients.iter().all(|client| match client.phase {
                Phase::Written(_) | Phase::Refused(_) => !duplicates,
                Phase::Stale(_) | Phase::SoldOut | Phase::GaveUp => true,
                Phase::Holding => scope == Scope::Tokens,
                _ => false,
            })
    }
}

impl Node {
    pub(crate) fn owned_by(self, id: usize) -> bool {
        self.owner.map(usize::from) == Some(id)
    }

    pub(crate) fn set_owner(&mut self, id: usize) {
        self.owner = u8::try_from(id).ok();
    }
}

impl Client {
    /// Obtained the lock, whatever became of it.
    pub(crate) fn acquired(&self) -> bool {
        !matches!(self.phase, Phase::Acquiring | Phase::Sealing | Phase::GaveUp)
    }

    /// Asks nothing more of the lock, and so releases it.
    pub(crate) fn done(&self, scope: Scope) -> bool {
        match self.phase {
            Phase::Holding => scope == Scope::Tokens,
            Phase::Acquiring | Phase::Sealing | Phase::ReadUnclaimed(_) | Phase::Claimed | Phase::Decided(_) => false,
            _ => true,
        }
    }
}
