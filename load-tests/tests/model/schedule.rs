//! A counterexample as text: one line a step, with its actor and its result.
//! Clients and nodes are named in the order in which they first appear.

use stateright::Path;

use crate::checker::Step;
use crate::lock::LockStep;
use crate::protocol_model::ProtocolModel;
use crate::state::{Client, Phase, State};
use crate::stock::StockStep;
use crate::symmetry::OriginalNames;

const LETTERS: [char; 3] = ['A', 'B', 'C'];

/// The clients and nodes shown so far, in the order of their names.
#[derive(Default)]
struct DisplayNames {
    clients: Vec<usize>,
    nodes: Vec<usize>,
}

fn position(seen: &mut Vec<usize>, original: usize) -> usize {
    seen.iter().position(|&known| known == original).unwrap_or_else(|| {
        seen.push(original);
        seen.len() - 1
    })
}

/// One line per step, numbered.
pub(crate) fn readable(model: &ProtocolModel, path: Path<State, Step>) -> String {
    let mut names = OriginalNames::IDENTITY;
    let mut shown = DisplayNames::default();
    let mut lines = Vec::new();
    // Repeats the symmetry reduction of the checker, to keep track of the names.
    State::first(model).canonicalize(&mut names);
    for (number, (state, step)) in path.into_vec().into_iter().enumerate() {
        let Some(step) = step else { break };
        let mut next = model.apply(&state, step);
        let line = match step {
            Step::Lock(step) => at_the_lock(step, &state, &next, &names, &mut shown),
            Step::Stock(step) => at_the_storage(step, &state, &next, &names, &mut shown),
        };
        lines.push(format!("  {:>2}. {line}\n", number + 1));
        next.canonicalize(&mut names);
    }
    lines.concat()
}

fn at_the_lock(
    step: LockStep,
    before: &State,
    after: &State,
    names: &OriginalNames,
    shown: &mut DisplayNames,
) -> String {
    let mut client = |id: usize| LETTERS[position(&mut shown.clients, names.clients[id])];
    let mut node = |node: usize| position(&mut shown.nodes, names.nodes[node]) + 1;
    match step {
        LockStep::Grant(id, at) => match after.nodes[at].counter {
            0 => format!("node {} grants {}", node(at), client(id)),
            counter => format!("node {} grants {}, counter {counter}", node(at), client(id)),
        },
        LockStep::Decide(id, quorum) => {
            let [one, other] = quorum.map(&mut node);
            let Client { phase, token, .. } = after.clients[id];
            let outcome = match (phase, token) {
                (Phase::Sealing, token) => format!("must seal {token}"),
                (_, 0) => "holds the lock".to_owned(),
                (_, token) => format!("holds the lock, token {token}"),
            };
            format!("{} has replies from nodes {one} and {other}: {outcome}", client(id))
        }
        LockStep::Seal(id, at) => {
            let Client { phase, token, .. } = after.clients[id];
            let issued = before.clients[id].phase == Phase::Sealing && phase == Phase::Holding;
            let outcome = if issued { ": holds the lock" } else { "" };
            let from = before.nodes[at].counter;
            format!("node {} seals {token} for {} (counter {from} → {token}){outcome}", node(at), client(id))
        }
        LockStep::GiveUp(id) => format!("{} gives up", client(id)),
        LockStep::Release(id, at) => format!("{} releases node {}", client(id), node(at)),
        LockStep::KeyExpires(at) => format!("the key on node {} expires", node(at)),
        LockStep::LeaseLapses(id) => format!("the lease of {} lapses", client(id)),
        LockStep::Amnesia(at) => format!("node {} restarts empty", node(at)),
        LockStep::RaiseFloor(id, at) => {
            format!("{} raises the counter of node {} to {}", client(id), node(at), after.nodes[at].counter)
        }
        LockStep::IssueAny(id, token) => format!("{} is issued token {token}", client(id)),
    }
}

fn at_the_storage(
    step: StockStep,
    before: &State,
    after: &State,
    names: &OriginalNames,
    shown: &mut DisplayNames,
) -> String {
    let mut client = |id: usize| LETTERS[position(&mut shown.clients, names.clients[id])];
    let written = |id: usize| match before.clients[id].phase {
        Phase::Decided(seen) => seen - 1,
        _ => before.stock.available,
    };
    let left = after.stock.available;
    match step {
        StockStep::Draw(id) => {
            format!("{} draws token {} from the sequence", client(id), after.clients[id].token)
        }
        StockStep::Claim(id) => {
            let stale = matches!(after.clients[id].phase, Phase::Stale(_));
            let outcome = if stale { "refused" } else { "accepted" };
            format!("{} claims with {}: {outcome}", client(id), after.clients[id].token)
        }
        StockStep::Read(id) => {
            let (reader, absent) = (client(id), after.ghost.absent & !before.ghost.absent);
            let absent = (0..after.clients.len()).find(|other| absent & 1 << other != 0);
            let order = absent.map(|other| format!(", finds no order of {}", client(other)));
            format!("{reader} reads available = {left}{}", order.unwrap_or_default())
        }
        StockStep::Write(id) => {
            format!("{} writes available = {}: {}", client(id), written(id), outcome(before, after, id))
        }
        StockStep::WriteAgain(id) => {
            format!("the same write of {} arrives again: {}", client(id), outcome(before, after, id))
        }
        StockStep::ClaimTogether(one, other) => {
            let tokens = [one, other].map(|id| before.clients[id].token);
            let outcome = if before.stock == after.stock { "rolled back" } else { "accepted" };
            format!("{} and {} claim with {tokens:?} in one statement: {outcome}", client(one), client(other))
        }
        StockStep::WriteTogether(one, other) => {
            let outcome = if before.stock == after.stock { "rolled back" } else { "accepted" };
            let sold = after.stock.sold;
            format!("{} and {} write in one statement: {outcome}; sold {sold}", client(one), client(other))
        }
        StockStep::AtomicUpdate => format!("an atomic update sells one: available = {left}, sold {}", after.stock.sold),
    }
}

/// How a write ended.
fn outcome(before: &State, after: &State, id: usize) -> String {
    let sold = after.stock.sold;
    match before.clients[id].phase {
        _ if sold == before.stock.sold => "refused".to_owned(),
        Phase::Decided(seen) | Phase::Written(seen) | Phase::Refused(seen) if seen != before.stock.available => {
            format!("accepted, although available has changed since its read; sold {sold}")
        }
        _ => format!("accepted; sold {sold}"),
    }
}
