//! Folding: states that differ only in the names of clients and nodes become one.
//! Clients follow the same rules, and so do nodes, so a renamed state has the same future.

use crate::state::{CLIENTS, Exchange, NODES, Phase, State};

/// What the clients and nodes of a symmetry_reduced state were called to begin with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginalNames {
    pub(crate) clients: [usize; CLIENTS],
    pub(crate) nodes: [usize; NODES],
}

impl OriginalNames {
    pub(crate) const IDENTITY: Self = Self { clients: [0, 1, 2], nodes: [0, 1, 2] };
}

/// Three neighbours compared thus are in order.
const COMPARISONS: [(usize, usize); 3] = [(0, 1), (1, 2), (0, 1)];

impl State {
    /// Sorts clients, then nodes, and keeps `names` beside them.
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

    /// Does not depend on the names of the nodes. Clients of equal rank are left as they are:
    /// that folds less, and is still right.
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
