//! The steps of issuing: what the lock nodes and those who ask them can do next.
//! A message that is lost is one whose step never comes; see `main` for why that is enough.

use crate::rules::Issue;
use crate::state::{Link, NODES, Node, Phase, State};
use crate::world::{Lapses, Lock, World};

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

pub(crate) fn steps(world: &World, state: &State, mut step: impl FnMut(LockStep)) {
    if world.lock == Lock::AnyToken {
        for (who, client) in state.clients.iter().enumerate() {
            if client.phase == Phase::Asking {
                (1..=HIGHEST_HANDED_OUT).for_each(|token| step(LockStep::HandOut(who, token)));
            }
        }
        return;
    }
    for who in 0..state.clients.len() {
        client_steps(world, state, who, &mut step);
        if world.lapses != Lapses::Any {
            bounded_lapses(world, state, who, &mut step);
        }
    }
    for (node, at) in state.nodes.iter().enumerate() {
        let may_expire = world.lapses == Lapses::Any || state.budget.keys > 0;
        if at.owner.is_some() && may_expire {
            step(LockStep::KeyExpires(node));
        }
        if state.budget.amnesia > 0 && *at != Node::default() {
            step(LockStep::Amnesia(node));
        }
    }
}

fn client_steps(world: &World, state: &State, who: usize, step: &mut impl FnMut(LockStep)) {
    let client = &state.clients[who];
    for (node, at) in state.nodes.iter().enumerate() {
        let link = client.links[node];
        if matches!(link, Link::Asked | Link::AskedAndSealing) && at.owner.is_none() {
            step(LockStep::Grant(who, node));
        }
        if matches!(link, Link::Sealing | Link::AskedAndSealing) && may_seal(world, state, who, *at) {
            step(LockStep::Seal(who, node));
        }
        if matches!(client.phase, Phase::Stale(fence) if at.counter < fence) {
            step(LockStep::RaiseFloor(who, node));
        }
    }
    if client.phase == Phase::Asking {
        let granted = |&node: &usize| matches!(client.links[node], Link::Granted(_));
        for quorum in QUORUMS {
            if quorum.iter().all(granted) {
                step(LockStep::Decide(who, quorum));
            }
        }
    }
}

/// Where not every key may go at any time, it matters who releases what, and when.
fn bounded_lapses(world: &World, state: &State, who: usize, step: &mut impl FnMut(LockStep)) {
    let client = &state.clients[who];
    if client.phase == Phase::Asking {
        step(LockStep::GiveUp(who));
    }
    let mine = |node: &usize| state.nodes[*node].owned_by(who);
    if client.done(world.scope) {
        for node in (0..NODES).filter(mine) {
            step(LockStep::Release(who, node));
        }
    } else if state.budget.leases > 0 && (0..NODES).any(|node| mine(&node)) {
        step(LockStep::LeaseLapses(who));
    }
}

/// Only where the lock is still mine and the counter is not higher.
fn may_seal(world: &World, state: &State, who: usize, at: Node) -> bool {
    match world.version.rules().issue {
        Issue::Sealed { only_mine, only_lower } => {
            (at.owned_by(who) || !only_mine) && (at.counter <= state.clients[who].token || !only_lower)
        }
        _ => false,
    }
}

pub(crate) fn take(world: &World, state: &mut State, step: LockStep) {
    match step {
        LockStep::Grant(who, node) => grant(world, state, who, node),
        LockStep::Decide(who, quorum) => decide(world, state, who, quorum),
        LockStep::Seal(who, node) => seal(state, who, node),
        LockStep::GiveUp(who) => {
            let client = &mut state.clients[who];
            client.phase = Phase::GaveUp;
            for link in &mut client.links {
                if *link != Link::Asked {
                    *link = Link::Over;
                }
            }
        }
        LockStep::Release(_, node) => drop_key(world, state, node),
        LockStep::KeyExpires(node) => {
            drop_key(world, state, node);
            state.budget.keys = state.budget.keys.saturating_sub(1);
        }
        LockStep::LeaseLapses(who) => {
            for node in 0..NODES {
                if state.nodes[node].owned_by(who) {
                    drop_key(world, state, node);
                }
            }
            state.budget.leases -= 1;
        }
        LockStep::Amnesia(node) => {
            drop_key(world, state, node);
            state.nodes[node] = Node::default();
            state.budget.amnesia -= 1;
        }
        LockStep::RaiseFloor(who, node) => {
            if let Phase::Stale(fence) = state.clients[who].phase {
                state.nodes[node].counter = fence;
            }
        }
        LockStep::HandOut(who, token) => {
            state.clients[who].token = token;
            state.clients[who].phase = Phase::Holding;
        }
    }
}

fn grant(world: &World, state: &mut State, who: usize, node: usize) {
    if world.watches_tokens() && state.clients[who].links == [Link::Asked; NODES] {
        state.clients[who].after = (0..state.clients.len())
            .filter(|&other| state.clients[other].acquired())
            .fold(0, |bits, other| bits | 1 << other);
    }
    let at = &mut state.nodes[node];
    at.give_to(who);
    match world.version.rules().issue {
        Issue::Nobody | Issue::LockOnly | Issue::Sequence => {}
        Issue::Highest | Issue::Sealed { .. } => at.counter += 1,
    }
    let client = &mut state.clients[who];
    client.links[node] = match (client.links[node], client.phase) {
        (Link::AskedAndSealing, _) => Link::Sealing,
        (_, Phase::Asking) => Link::Granted(at.counter),
        // Too late to be counted.
        _ => Link::Over,
    };
}

fn decide(world: &World, state: &mut State, who: usize, quorum: [usize; 2]) {
    let client = &mut state.clients[who];
    let [one, other] = quorum.map(|node| match client.links[node] {
        Link::Granted(counter) => counter,
        _ => 0,
    });
    let must_seal = matches!(world.version.rules().issue, Issue::Sealed { .. }) && one != other;
    client.token = one.max(other);
    client.phase = if must_seal { Phase::Sealing } else { Phase::Holding };
    for link in &mut client.links {
        *link = match (must_seal, *link) {
            (true, Link::Asked) => Link::AskedAndSealing,
            (true, _) => Link::Sealing,
            (false, Link::Asked) => Link::Asked,
            (false, _) => Link::Over,
        };
    }
}

fn seal(state: &mut State, who: usize, node: usize) {
    let client = &mut state.clients[who];
    state.nodes[node].counter = client.token;
    if client.phase != Phase::Sealing {
        client.links[node] = Link::Over;
        return;
    }
    client.links[node] = Link::Sealed;
    let sealed = client.links.iter().filter(|&&link| link == Link::Sealed);
    if sealed.count() == 2 {
        client.phase = Phase::Holding;
        for link in &mut client.links {
            if *link == Link::Sealed {
                *link = Link::Over;
            }
        }
    }
}

/// A key goes, and with it all hope of sealing there.
fn drop_key(world: &World, state: &mut State, node: usize) {
    let only_mine = !matches!(world.version.rules().issue, Issue::Sealed { only_mine: false, .. });
    if let Some(owner) = state.nodes[node].owner.take() {
        let link = &mut state.clients[usize::from(owner)].links[node];
        if *link == Link::Sealing && only_mine {
            *link = Link::Over;
        }
    }
}
