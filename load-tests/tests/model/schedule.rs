//! A counterexample as people read it: who does what, and what came of it.
//! Clients and nodes are named in the order in which they first do something.

use stateright::Path;

use crate::checker::Step;
use crate::fold::Names;
use crate::lock::LockStep;
use crate::state::{Client, Phase, State};
use crate::stock::StockStep;
use crate::world::World;

const LETTERS: [char; 3] = ['A', 'B', 'C'];

/// Names by first appearance.
#[derive(Default)]
struct Cast {
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
pub(crate) fn readable(world: &World, path: Path<State, Step>) -> String {
    let mut names = Names::AT_FIRST;
    let mut cast = Cast::default();
    let mut lines = Vec::new();
    // The same folding once more, this time to know who is who.
    State::first(world).fold(&mut names);
    for (number, (state, step)) in path.into_vec().into_iter().enumerate() {
        let Some(step) = step else { break };
        let mut next = world.take(&state, step);
        let line = match step {
            Step::Lock(step) => at_the_lock(step, &state, &next, &names, &mut cast),
            Step::Stock(step) => at_the_storage(step, &state, &next, &names, &mut cast),
        };
        lines.push(format!("  {:>2}. {line}\n", number + 1));
        next.fold(&mut names);
    }
    lines.concat()
}

fn at_the_lock(step: LockStep, before: &State, after: &State, names: &Names, cast: &mut Cast) -> String {
    let mut client = |who: usize| LETTERS[position(&mut cast.clients, names.clients[who])];
    let mut node = |node: usize| position(&mut cast.nodes, names.nodes[node]) + 1;
    match step {
        LockStep::Grant(who, at) => match after.nodes[at].counter {
            0 => format!("node {} grants {}", node(at), client(who)),
            counter => format!("node {} grants {}, counter {counter}", node(at), client(who)),
        },
        LockStep::Decide(who, quorum) => {
            let [one, other] = quorum.map(&mut node);
            let Client { phase, token, .. } = after.clients[who];
            let outcome = match (phase, token) {
                (Phase::Sealing, token) => format!("must seal {token}"),
                (_, 0) => "holds the lock".to_owned(),
                (_, token) => format!("holds the lock, token {token}"),
            };
            format!("{} has replies from nodes {one} and {other}: {outcome}", client(who))
        }
        LockStep::Seal(who, at) => {
            let Client { phase, token, .. } = after.clients[who];
            let issued = before.clients[who].phase == Phase::Sealing && phase == Phase::Holding;
            let outcome = if issued { ": holds the lock" } else { "" };
            let from = before.nodes[at].counter;
            format!("node {} seals {token} for {} (counter {from} → {token}){outcome}", node(at), client(who))
        }
        LockStep::GiveUp(who) => format!("{} gives up", client(who)),
        LockStep::Release(who, at) => format!("{} releases node {}", client(who), node(at)),
        LockStep::KeyExpires(at) => format!("the key on node {} goes", node(at)),
        LockStep::LeaseLapses(who) => format!("the lease of {} lapses", client(who)),
        LockStep::Amnesia(at) => format!("node {} loses its memory", node(at)),
        LockStep::RaiseFloor(who, at) => {
            format!("{} raises node {} to {}", client(who), node(at), after.nodes[at].counter)
        }
        LockStep::HandOut(who, token) => format!("{} is handed token {token}", client(who)),
    }
}

fn at_the_storage(step: StockStep, before: &State, after: &State, names: &Names, cast: &mut Cast) -> String {
    let mut client = |who: usize| LETTERS[position(&mut cast.clients, names.clients[who])];
    let wanted = |who: usize| match before.clients[who].phase {
        Phase::Decided(seen) => seen - 1,
        _ => before.stock.available,
    };
    let left = after.stock.available;
    match step {
        StockStep::Draw(who) => {
            format!("{} draws token {} from the sequence", client(who), after.clients[who].token)
        }
        StockStep::Claim(who) => {
            let stale = matches!(after.clients[who].phase, Phase::Stale(_));
            let outcome = if stale { "refused" } else { "accepted" };
            format!("{} claims with {}: {outcome}", client(who), after.clients[who].token)
        }
        StockStep::Read(who) => {
            let (reader, absent) = (client(who), after.marks.absent & !before.marks.absent);
            let absent = (0..after.clients.len()).find(|other| absent & 1 << other != 0);
            let order = absent.map(|other| format!(", finds no order of {}", client(other)));
            format!("{reader} reads available = {left}{}", order.unwrap_or_default())
        }
        StockStep::Write(who) => {
            format!("{} writes available = {}: {}", client(who), wanted(who), outcome(before, after, who))
        }
        StockStep::WriteAgain(who) => {
            format!("the same write of {} arrives again: {}", client(who), outcome(before, after, who))
        }
        StockStep::Neighbour => format!("the neighbour sells one: available = {left}, sold {}", after.stock.sold),
    }
}

/// What came of a write.
fn outcome(before: &State, after: &State, who: usize) -> String {
    let sold = after.stock.sold;
    match before.clients[who].phase {
        _ if sold == before.stock.sold => "refused".to_owned(),
        Phase::Decided(seen) | Phase::Written(seen) | Phase::Refused(seen) if seen != before.stock.available => {
            format!("accepted, though what it read is no longer so; sold {sold}")
        }
        _ => format!("accepted; sold {sold}"),
    }
}
