//! Symmetry reduction: states that differ only in the names of clients and nodes become one.
//! All clients follow the same rules, and so do all nodes, so a renamed state has the same successors.

use crate::state::{CLIENTS, Exchange, NODES, Phase, State};

/// The names that the clients and nodes of a reduced state had in the first state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginalNames {
    pub(crate) clients: [usize; CLIENTS],
    pub(crate) nodes: [usize; NODES],
}

impl OriginalNames {
    pub(crate) const IDENTITY: Self = Self { clients: [0, 1, 2], nodes: [0, 1, 2] };
}

/// These comparisons, in this order, sort three elements.
const COMPARISONS: [(usize, usize); 3] = [(0, 1), (1, 2), (0, 1)];

impl State {
    /// Sorts clients, then nodes, and permutes `names` with them.
    pub(crate) fn canonicalize(&mut self, names: &mut OriginalNames) {
        for (low, high) in COMPARISONS {
            if self.client_rank(low) > self.client_rank(high) {
                self.swap_clients(low, high);
                names.clients.swap(low, high);
            }
        }
        for (low, high) in COMPARISONS {
            if self.node_rank(low) > self.node_rank(high) {
                self.nodes.swap(low, high);
                for client in &mut self.clients {
                    client.exchanges.swap(low, high);
                }
                names.nodes.swap(low, high);
            }
        }
    }

    /// Does not depend on the names of the nodes. Clients of equal rank keep their order: that reduces less, and is
    /// still correct.
    fn client_rank(&self, id: usize) -> (Phase, u8, [(Exchange, bool, u8); NODES], u32) {
        let client = &self.clients[id];
        let mut exchanges = [0, 1, 2].map(|node| {
            let owned = self.nodes[node].owned_by(id);
            (client.exchanges[node], owned, self.nodes[node].counter)
        });
        exchanges.sort_unstable();
        (client.phase, client.token, exchanges, client.after.count_ones())
    }

    fn node_rank(&self, node: usize) -> (u8, Option<u8>, [Exchange; CLIENTS]) {
        let exchanges = self.clients.map(|client| client.exchanges[node]);
        (self.nodes[node].counter, self.nodes[node].owner, exchanges)
    }

    fn swap_clients(&mut self, one: usize, other: usize) {
        let renamed = |bits: u8| {
            let differ = (bits >> one ^ bits >> other) & 1;
            bits ^ (differ << one | differ << other)
        };
        self.clients.swap(one, other);
        for client in &mut self.clients {
            client.after = renamed(client.after);
        }
        self.ghost.absent = renamed(self.ghost.absent);
        for node in &mut self.nodes {
            if node.owned_by(one) {
                node.set_owner(other);
            } else if node.owned_by(other) {
                node.set_owner(one);
            }
        }
    }
}
