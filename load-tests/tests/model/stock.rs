//! The steps at the storage: claim, read, decide, write, and the neighbour who asks no lock.
//! Each is one statement on one row, and so one step.

use crate::rules::{Claim, FenceAtWrite, Issue};
use crate::state::{Client, Phase, State, Stock};
use crate::world::{Neighbour, Scope, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StockStep {
    /// `nextval`, in the version that draws its token after locking.
    Draw(usize),
    Claim(usize),
    /// Reads what is available, decides, and sends its write if there is enough.
    Read(usize),
    /// The write arrives: at once, late, or never.
    Write(usize),
    /// The same write arrives again.
    WriteAgain(usize),
    /// The neighbour sells one.
    Neighbour,
}

pub(crate) fn steps(world: &World, state: &State, mut step: impl FnMut(StockStep)) {
    if world.scope == Scope::Tokens {
        return;
    }
    let rules = world.version.rules();
    for (who, client) in state.clients.iter().enumerate() {
        match client.phase {
            Phase::Holding if rules.issue == Issue::Sequence && client.token == 0 => {
                step(StockStep::Draw(who));
            }
            Phase::Holding if rules.claim != Claim::None && !rules.read_first => {
                step(StockStep::Claim(who));
            }
            Phase::Holding | Phase::Claimed => step(StockStep::Read(who)),
            Phase::Looked(_) => step(StockStep::Claim(who)),
            Phase::Decided(_) => step(StockStep::Write(who)),
            Phase::Written(_) | Phase::Refused(_) if state.budget.duplicates > 0 => {
                step(StockStep::WriteAgain(who));
            }
            _ => {}
        }
    }
    if state.budget.neighbour_updates > 0 && state.stock.available > 0 {
        step(StockStep::Neighbour);
    }
}

pub(crate) fn take(world: &World, state: &mut State, step: StockStep) {
    match step {
        StockStep::Draw(who) => {
            state.stock.sequence += 1;
            state.clients[who].token = state.stock.sequence;
        }
        StockStep::Claim(who) => {
            state.clients[who].phase = claim(world, &mut state.stock, &state.clients[who]);
        }
        StockStep::Read(who) => read(world, state, who),
        StockStep::Write(who) => write(world, state, who),
        StockStep::WriteAgain(who) => {
            state.budget.duplicates -= 1;
            write(world, state, who);
        }
        StockStep::Neighbour => {
            state.budget.neighbour_updates -= 1;
            state.stock.available -= 1;
            state.stock.sold += 1;
            if world.neighbour == Neighbour::BumpsFence {
                state.stock.fence += 1;
                state.stock.applied_fence = state.stock.fence;
            }
        }
    }
}

/// `update stock set fence = $token where fence < $token`
fn claim(world: &World, stock: &mut Stock, client: &Client) -> Phase {
    let refused = match world.version.rules().claim {
        Claim::None => false,
        Claim::NotLower => stock.fence > client.token,
        Claim::Higher => stock.fence >= client.token,
    };
    if refused {
        return Phase::Stale(stock.fence);
    }
    stock.fence = client.token;
    match client.phase {
        Phase::Looked(seen) => Phase::Decided(seen),
        _ => Phase::Claimed,
    }
}

/// `select available from stock`, and the decision. Under a claim also the look-up of the orders
/// of everybody with a lower token: what is absent now must stay absent.
fn read(world: &World, state: &mut State, who: usize) {
    let seen = state.stock.available;
    let me = state.clients[who];
    if me.phase == Phase::Claimed {
        for (other, client) in state.clients.iter().enumerate() {
            let landed = matches!(client.phase, Phase::Written(_));
            if client.acquired() && client.token < me.token && !landed {
                state.marks.absent |= 1 << other;
            }
        }
    }
    let first = me.phase == Phase::Holding && world.version.rules().read_first;
    state.clients[who].phase = match seen {
        0 => Phase::SoldOut,
        _ if first => Phase::Looked(seen),
        _ => Phase::Decided(seen),
    };
}

/// `update stock set available = $new, applied_fence = $token
///   where fence = $token and applied_fence < $token`
fn write(world: &World, state: &mut State, who: usize) {
    let rules = world.version.rules();
    let client = &mut state.clients[who];
    let (Phase::Decided(seen) | Phase::Written(seen) | Phase::Refused(seen)) = client.phase else {
        return;
    };
    let stock = &mut state.stock;
    let in_order = match rules.fence {
        FenceAtWrite::Ignored => true,
        FenceAtWrite::Textbook => stock.fence < client.token,
        FenceAtWrite::Mine => stock.fence == client.token,
    };
    if !in_order || (rules.once && stock.applied_fence >= client.token) {
        // A second arrival that is refused leaves the order as the first one left it.
        if let Phase::Decided(seen) = client.phase {
            client.phase = Phase::Refused(seen);
        }
        return;
    }
    state.marks.lost_update |= stock.available != seen;
    state.marks.revived |= state.marks.absent & (1 << who) != 0;
    stock.available = seen - 1;
    stock.sold += 1;
    if rules.fence == FenceAtWrite::Textbook {
        stock.fence = client.token;
    }
    if rules.once {
        stock.applied_fence = client.token;
    }
    client.phase = Phase::Written(seen);
}
