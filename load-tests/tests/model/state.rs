//! A state of the model: lock nodes, clients, the stock, and the ghost state that only the properties read.
//!
//! Absence: no step; `lock` and `stock` hold them.

use crate::protocol_model::{Lapses, ProtocolModel, Scope, TokenIssuer};
use crate::rules::Issue;

pub(crate) const NODES: usize = 3;
/// The most clients of any model; in a model with fewer the others have given up from the start.
pub(crate) const CLIENTS: usize = 3;

/// One lock node: `fence:{resource}`, and the owner in `lock:{resource}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Node {
    pub(crate) counter: u8,
    pub(crate) owner: Option<u8>,
}

/// The progress of one client's requests at one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Exchange {
    /// The request to grant is in flight, or lost.
    Requested,
    /// Granted with this counter; the reply is in flight, or lost.
    Granted(u8),
    /// The request to seal is in flight, or lost.
    Sealing,
    /// The request to grant and the request to seal are both in flight, or lost.
    RequestedAndSealing,
    /// Sealed at this node; the reply counts.
    Sealed,
    /// No message in flight can have an effect any more.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// Waits for a quorum to grant.
    Acquiring,
    /// Waits for a quorum to seal its token.
    Sealing,
    Holding,
    /// Has read this many units before claiming, in the version that reads first.
    ReadUnclaimed(u8),
    Claimed,
    /// Has read this many units and decided: its write may arrive now, later or never.
    Decided(u8),
    /// Its write arrived and was accepted. The same write may arrive again.
    Written(u8),
    /// Its write arrived and was refused. The same write may arrive again.
    Refused(u8),
    /// Its claim was refused; the value of the fence at that moment.
    Stale(u8),
    SoldOut,
    GaveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) phase: Phase,
    /// The token; in `Phase::Sealing` the one that it seals. 0: none.
    pub(crate) token: u8,
    /// The clients that were granted the lock before this one requested it: their tokens must be lower. One bit each.
    pub(crate) after: u8,
    pub(crate) exchanges: [Exchange; NODES],
}

/// The row of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stock {
    pub(crate) available: u8,
    pub(crate) fence: u8,
    pub(crate) applied_fence: u8,
    /// Units whose write was accepted.
    pub(crate) sold: u8,
    /// The last value of the sequence, in the version that draws tokens from one.
    pub(crate) sequence: u8,
}

/// The failures that may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) leases: u8,
    pub(crate) keys: u8,
    pub(crate) amnesia: u8,
    pub(crate) duplicates: u8,
    pub(crate) atomic_updates: u8,
}

/// Ghost state: no participant reads it, only the properties do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ghost {
    /// A write was accepted although `available` had changed since it was read.
    pub(crate) lost_update: bool,
    /// The clients whose order was queried under a higher token and found absent. One bit each.
    pub(crate) absent: u8,
    /// A write was accepted after its order had been found absent.
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
        let unused = Client { phase: Phase::GaveUp, exchanges: [Exchange::Done; NODES], ..client };
        let mut clients = [unused; CLIENTS];
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

    /// Nothing that a property reads can change any more.
    pub(crate) fn over(&self, scope: Scope) -> bool {
        let duplicates = self.budget.duplicates > 0;
        let atomic_update = self.budget.atomic_updates > 0 && self.stock.available > 0;
        !atomic_update
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
    /// It acquired the lock, now or earlier.
    pub(crate) fn acquired(&self) -> bool {
        !matches!(self.phase, Phase::Acquiring | Phase::Sealing | Phase::GaveUp)
    }

    /// It needs the lock no longer, and may release it.
    pub(crate) fn done(&self, scope: Scope) -> bool {
        match self.phase {
            Phase::Holding => scope == Scope::Tokens,
            Phase::Acquiring | Phase::Sealing | Phase::ReadUnclaimed(_) | Phase::Claimed | Phase::Decided(_) => false,
            _ => true,
        }
    }
}
