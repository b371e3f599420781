//! The steps at the storage: claim, read, decide, write, and the neighbour who asks no lock.
//! Each is one statement on one row, and so one step.

use crate::protocol_model::{AtomicUpdate, ProtocolModel, Scope};
use crate::rules::{Claim, FenceAtWrite, Issue};
use crate::state::{Client, Phase, State, Stock};

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
    AtomicUpdate,
}

pub(crate) fn enabled_steps(model: &ProtocolModel, state: &State, mut step: impl FnMut(StockStep)) {
    if model.scope == Scope::Tokens {
        return;
    }
    let rules = model.version.rules();
    for (id, client) in state.clients.iter().enumerate() {
        match client.phase {
            Phase::Holding if rules.issue == Issue::Sequence && client.token == 0 => {
                step(StockStep::Draw(id));
            }
            Phase::Holding if rules.claim != Claim::None && !rules.read_first => {
                step(StockStep::Claim(id));
            }
            Phase::Holding | Phase::Claimed => step(StockStep::Read(id)),
            Phase::ReadUnclaimed(_) => step(StockStep::Claim(id)),
            Phase::Decided(_) => step(StockStep::Write(id)),
            Phase::Written(_) | Phase::Refused(_) if state.budget.duplicates > 0 => {
                step(StockStep::WriteAgain(id));
            }
            _ => {}
        }
    }
    if state.budget.atomic_updates > 0 && state.stock.available > 0 {
        step(StockStep::AtomicUpdate);
    }
}

pub(crate) fn apply(model: &ProtocolModel, state: &mut State, step: StockStep) {
    match step {
        StockStep::Draw(id) => {
            state.stock.sequence += 1;
            state.clients[id].token = state.stock.sequence;
        }
        StockStep::Claim(id) => {
            state.clients[id].phase = claim(model, &mut state.stock, &state.clients[id]);
        }
        StockStep::Read(id) => read(model, state, id),
        StockStep::Write(id) => write(model, state, id),
        StockStep::WriteAgain(id) => {
            state.budget.duplicates -= 1;
            write(model, state, id);
        }
        StockStep::AtomicUpdate => {
            state.budget.atomic_updates -= 1;
            state.stock.available -= 1;
            state.stock.sold += 1;
            if model.atomic_update == AtomicUpdate::RaisesFence {
                state.stock.fence += 1;
                state.stock.applied_fence = state.stock.fence;
            }
        }
    }
}

/// `update stock set fence = $token where fence < $token`
fn claim(model: &ProtocolModel, stock: &mut Stock, client: &Client) -> Phase {
    let refused = match model.version.rules().claim {
        Claim::None => false,
        Claim::NotLower => stock.fence > client.token,
        Claim::Higher => stock.fence >= client.token,
    };
    if refused {
        return Phase::Stale(stock.fence);
    }
    stock.fence = client.token;
    match client.phase {
        Phase::ReadUnclaimed(seen) => Phase::Decided(seen),
        _ => Phase::Claimed,
    }
}

/// `select available from stock`, and the decision. Under a claim also the look-up of the orders
/// of everybody with a lower token: what is absent now must stay absent.
fn read(model: &ProtocolModel, state: &mut State, id: usize) {
    let seen = state.stock.available;
    let me = state.clients[id];
    if me.phase == Phase::Claimed {
        for (other, client) in state.clients.iter().enumerate() {
            let landed = matches!(client.phase, Phase::Written(_));
            if client.acquired() && client.token < me.token && !landed {
                state.ghost.absent |= 1 << other;
            }
        }
    }
    let first = me.phase == Phase::Holding && model.version.rules().read_first;
    state.clients[id].phase = match seen {
        0 => Phase::SoldOut,
        _ if first => Phase::ReadUnclaimed(seen),
        _ => Phase::Decided(seen),
    };
}

/// `update stock set available = $new, applied_fence = $token
///   where fence = $token and applied_fence < $token`
fn write(model: &ProtocolModel, state: &mut State, id: usize) {
    let rules = model.version.rules();
    let client = &mut state.clients[id];
    let (Phase::Decided(seen) | Phase::Written(seen) | Phase::Refused(seen)) = client.phase else {
        return;
    };
    let stock = &mut state.stock;
    let in_order = match rules.fence {
        FenceAtWrite::NotChecked => true,
        FenceAtWrite::Textbook => stock.fence < client.token,
        FenceAtWrite::EqualsToken => stock.fence == client.token,
    };
    if !in_order || (rules.write_once && stock.applied_fence >= client.token) {
        // A second arrival that is refused leaves the order as the first one left it.
        if let Phase::Decided(seen) = client.phase {
            client.phase = Phase::Refused(seen);
        }
        return;
    }
    state.ghost.lost_update |= stock.available != seen;
    state.ghost.revived |= state.ghost.absent & (1 << id) != 0;
    stock.available = seen - 1;
    stock.sold += 1;
    if rules.fence == FenceAtWrite::Textbook {
        stock.fence = client.token;
    }
    if rules.write_once {
        stock.applied_fence = client.token;
    }
    client.phase = Phase::Written(seen);
}
