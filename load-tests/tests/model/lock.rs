//! The steps of issuing: what the lock nodes and those who ask them can do next.
//! A message that is lost is one whose step never comes; see `main` for why that is enough.

use crate::protocol_model::{Lapses, ProtocolModel, TokenIssuer};
use crate::rules::Issue;
use crate::state::{Exchange, NODES, Node, Phase, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockStep {
    /// The request arrives where the lock is free.
    Grant(usize, usize),
    /// Two replies have arrived: a quorum.
    Decide(usize, [usize; 2]),
    /// The request to seal arrives and is accepted. With the second one the token is issued.
    Seal(usize, usize),
    /// The acquisition is given up.
    GiveUp(usize),
    /// The request to release arrives.
    Release(usize, usize),
    /// One key goes, on one node.
    KeyExpires(usize),
    /// The lease of a client ends: all its keys go.
    LeaseLapses(usize),
    /// A node restarts with empty memory.
    Amnesia(usize),
    /// A client with a stale token tells a node how high to count.
    RaiseFloor(usize, usize),
    /// The worst lock hands out a token.
    HandOut(usize, u8),
}

const QUORUMS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];
/// As far as the worst lock counts: one more than there are clients.
const HIGHEST_HANDED_OUT: u8 = 4;

pub(crate) fn enabled_steps(model: &ProtocolModel, state: &State, mut step: impl FnMut(LockStep)) {
    if model.issuer == TokenIssuer::AnyToken {
        for (id, client) in state.clients.iter().enumerate() {
            if client.phase == Phase::Acquiring {
                (1..=HIGHEST_HANDED_OUT).for_each(|token| step(LockStep::HandOut(id, token)));
            }
        }
        return;
    }
    for id in 0..state.clients.len() {
        client_steps(model, state, id, &mut step);
        if model.lapses != Lapses::Any {
            bounded_lapses(model, state, id, &mut step);
        }
    }
    for (node, at) in state.nodes.iter().enumerate() {
        let may_expire = model.lapses == Lapses::Any || state.budget.keys > 0;
        if at.owner.is_some() && may_expire {
            step(LockStep::KeyExpires(node));
        }
        if state.budget.amnesia > 0 && *at != Node::default() {
            step(LockStep::Amnesia(node));
        }
    }
}

fn client_steps(model: &ProtocolModel, state: &State, id: usize, step: &mut impl FnMut(LockStep)) {
    let client = &state.clients[id];
    for (node, at) in state.nodes.iter().enumerate() {
        let exchange = client.exchanges[node];
        if matches!(exchange, Exchange::Requested | Exchange::RequestedAndSealing) && at.owner.is_none() {
            step(LockStep::Grant(id, node));
        }
        if matches!(exchange, Exchange::Sealing | Exchange::RequestedAndSealing)
            && seal_is_accepted(model, state, id, *at)
        {
            step(LockStep::Seal(id, node));
        }
        if matches!(client.phase, Phase::Stale(fence) if at.counter < fence) {
            step(LockStep::RaiseFloor(id, node));
        }
    }
    if client.phase == Phase::Acquiring {
        let granted = |&node: &usize| matches!(client.exchanges[node], Exchange::Granted(_));
        for quorum in QUORUMS {
            if quorum.iter().all(granted) {
                step(LockStep::Decide(id, quorum));
            }
        }
    }
}

/// Where not every key may go at any time, it matters who releases what, and when.
fn bounded_lapses(model: &ProtocolModel, state: &State, id: usize, step: &mut impl FnMut(LockStep)) {
    let client = &state.clients[id];
    if client.phase == Phase::Acquiring {
        step(LockStep::GiveUp(id));
    }
    let mine = |node: &usize| state.nodes[*node].owned_by(id);
    if client.done(model.scope) {
        for node in (0..NODES).filter(mine) {
            step(LockStep::Release(id, node));
        }
    } else if state.budget.leases > 0 && (0..NODES).any(|node| mine(&node)) {
        step(LockStep::LeaseLapses(id));
    }
}

/// Only where the lock is still mine and the counter is not higher.
fn seal_is_accepted(model: &ProtocolModel, state: &State, id: usize, at: Node) -> bool {
    match model.version.rules().issue {
        Issue::Sealed { checks_owner, checks_counter } => {
            (at.owned_by(id) || !checks_owner) && (at.counter <= state.clients[id].token || !checks_counter)
        }
        _ => false,
    }
}

pub(crate) fn apply(model: &ProtocolModel, state: &mut State, step: LockStep) {
    match step {
        LockStep::Grant(id, node) => grant(model, state, id, node),
        LockStep::Decide(id, quorum) => decide(model, state, id, quorum),
        LockStep::Seal(id, node) => seal(state, id, node),
        LockStep::GiveUp(id) => {
            let client = &mut state.clients[id];
            client.phase = Phase::GaveUp;
            for exchange in &mut client.exchanges {
                if *exchange != Exchange::Requested {
                    *exchange = Exchange::Done;
                }
            }
        }
        LockStep::Release(_, node) => remove_key(model, state, node),
        LockStep::KeyExpires(node) => {
            remove_key(model, state, node);
            state.budget.keys = state.budget.keys.saturating_sub(1);
        }
        LockStep::LeaseLapses(id) => {
            for node in 0..NODES {
                if state.nodes[node].owned_by(id) {
                    remove_key(model, state, node);
                }
            }
            state.budget.leases -= 1;
        }
        LockStep::Amnesia(node) => {
            remove_key(model, state, node);
            state.nodes[node] = Node::default();
            state.budget.amnesia -= 1;
        }
        LockStep::RaiseFloor(id, node) => {
            if let Phase::Stale(fence) = state.clients[id].phase {
                state.nodes[node].counter = fence;
            }
        }
        LockStep::HandOut(id, token) => {
            state.clients[id].token = token;
            state.clients[id].phase = Phase::Holding;
        }
    }
}

fn grant(model: &ProtocolModel, state: &mut State, id: usize, node: usize) {
    if model.watches_tokens() && state.clients[id].exchanges == [Exchange::Requested; NODES] {
        state.clients[id].after = (0..state.clients.len())
            .filter(|&other| state.clients[other].acquired())
            .fold(0, |bits, other| bits | 1 << other);
    }
    let at = &mut state.nodes[node];
    at.set_owner(id);
    match model.version.rules().issue {
        Issue::NoLock | Issue::LockOnly | Issue::Sequence => {}
        Issue::Highest | Issue::Sealed { .. } => at.counter += 1,
    }
    let client = &mut state.clients[id];
    client.exchanges[node] = match (client.exchanges[node], client.phase) {
        (Exchange::RequestedAndSealing, _) => Exchange::Sealing,
        (_, Phase::Acquiring) => Exchange::Granted(at.counter),
        // Too late to be counted.
        _ => Exchange::Done,
    };
}

fn decide(model: &ProtocolModel, state: &mut State, id: usize, quorum: [usize; 2]) {
    let client = &mut state.clients[id];
    let [one, other] = quorum.map(|node| match client.exchanges[node] {
        Exchange::Granted(counter) => counter,
        _ => 0,
    });
    let must_seal = matches!(model.version.rules().issue, Issue::Sealed { .. }) && one != other;
    client.token = one.max(other);
    client.phase = if must_seal { Phase::Sealing } else { Phase::Holding };
    for exchange in &mut client.exchanges {
        *exchange = match (must_seal, *exchange) {
            (true, Exchange::Requested) => Exchange::RequestedAndSealing,
            (true, _) => Exchange::Sealing,
            (false, Exchange::Requested) => Exchange::Requested,
            (false, _) => Exchange::Done,
        };
    }
}

fn seal(state: &mut State, id: usize, node: usize) {
    let client = &mut state.clients[id];
    state.nodes[node].counter = client.token;
    if client.phase != Phase::Sealing {
        client.exchanges[node] = Exchange::Done;
        return;
    }
    client.exchanges[node] = Exchange::Sealed;
    let sealed = client.exchanges.iter().filter(|&&exchange| exchange == Exchange::Sealed);
    if sealed.count() == 2 {
        client.phase = Phase::Holding;
        for exchange in &mut client.exchanges {
            if *exchange == Exchange::Sealed {
                *exchange = Exchange::Done;
            }
        }
    }
}

/// A key goes, and with it all hope of sealing there.
fn remove_key(model: &ProtocolModel, state: &mut State, node: usize) {
    let checks_owner = !matches!(model.version.rules().issue, Issue::Sealed { checks_owner: false, .. });
    if let Some(owner) = state.nodes[node].owner.take() {
        let exchange = &mut state.clients[usize::from(owner)].exchanges[node];
        if *exchange == Exchange::Sealing && checks_owner {
            *exchange = Exchange::Done;
        }
    }
}
