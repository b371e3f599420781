//! The steps at the storage: claim, read, decide, write, and the atomic update that uses no lock.
//! Each is one statement on one row, and so one step; two claims or two writes may share a statement.

use crate::protocol_model::{AtomicUpdate, Conditions, ProtocolModel, Scope, Statements};
use crate::rules::{Claim, FenceAtWrite, Issue};
use crate::state::{Client, Phase, State, Stock};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StockStep {
    /// `nextval`, in the version whose token comes from a sequence after locking.
    Draw(usize),
    Claim(usize),
    /// Reads `available`, decides, and sends the write if there is enough.
    Read(usize),
    /// The write arrives; at once, or late. A lost write is one whose step never happens.
    Write(usize),
    /// The same write arrives again.
    WriteAgain(usize),
    /// An atomic update sells one unit.
    AtomicUpdate,
    /// Two claims in one statement.
    ClaimTogether(usize, usize),
    /// Two writes in one statement; of one client, the same write twice.
    WriteTogether(usize, usize),
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
    if model.statements != Statements::Single {
        enabled_shared_steps(model, state, step);
    }
}

fn enabled_shared_steps(model: &ProtocolModel, state: &State, mut step: impl FnMut(StockStep)) {
    let rules = model.version.rules();
    let claims = |id: usize| {
        let holding = state.clients[id].phase == Phase::Holding;
        holding && rules.claim != Claim::None && !rules.read_first
    };
    let writes = |id: usize| matches!(state.clients[id].phase, Phase::Decided(_));
    for one in 0..state.clients.len() {
        for other in 0..state.clients.len() {
            let arrives_twice = one == other && state.budget.duplicates > 0;
            if one != other && claims(one) && claims(other) {
                step(StockStep::ClaimTogether(one, other));
            }
            if (one != other || arrives_twice) && writes(one) && writes(other) {
                step(StockStep::WriteTogether(one, other));
            }
        }
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
        StockStep::ClaimTogether(one, other) => {
            if let Some(claimed) = claimed_together(model, state, one, other) {
                *state = claimed;
            }
        }
        StockStep::WriteTogether(one, other) => {
            if let Some(written) = written_together(model, state, one, other) {
                *state = written;
            }
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

/// Both claims, one after the other; `None` if one of them is refused, which rolls both back.
fn claimed_together(model: &ProtocolModel, state: &State, one: usize, other: usize) -> Option<State> {
    let mut next = *state;
    for id in [one, other] {
        let mut checked = if checks_first(model) { state.stock } else { next.stock };
        next.clients[id].phase = claim(model, &mut checked, &state.clients[id]);
        if matches!(next.clients[id].phase, Phase::Stale(_)) {
            return None;
        }
        next.stock = checked;
    }
    Some(next)
}

fn checks_first(model: &ProtocolModel) -> bool {
    model.statements == Statements::Shared(Conditions::AllFirst)
}

/// `select available from stock`, and the decision. Under a claim it also queries the orders of every lower token: an
/// order that is absent now must stay absent.
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
    if accepts(model, state.stock, &state.clients[id]) {
        accept(model, state, id);
    } else if let Phase::Decided(seen) = state.clients[id].phase {
        // A refused second arrival does not change how the first one ended.
        state.clients[id].phase = Phase::Refused(seen);
    }
}

/// Both writes; `None` if one of them is refused, which rolls both back.
fn written_together(model: &ProtocolModel, state: &State, one: usize, other: usize) -> Option<State> {
    let mut next = *state;
    if one == other {
        next.budget.duplicates -= 1;
    }
    for id in [one, other] {
        let checked = if checks_first(model) { state.stock } else { next.stock };
        if !accepts(model, checked, &state.clients[id]) {
            return None;
        }
        accept(model, &mut next, id);
    }
    Some(next)
}

/// The conditions of a write.
fn accepts(model: &ProtocolModel, stock: Stock, client: &Client) -> bool {
    let rules = model.version.rules();
    let in_order = match rules.fence {
        FenceAtWrite::NotChecked => true,
        FenceAtWrite::Textbook => stock.fence < client.token,
        FenceAtWrite::EqualsToken => stock.fence == client.token,
    };
    in_order && !(rules.write_once && stock.applied_fence >= client.token)
}

/// The effect of a write that is accepted.
fn accept(model: &ProtocolModel, state: &mut State, id: usize) {
    let rules = model.version.rules();
    let client = &mut state.clients[id];
    let (Phase::Decided(seen) | Phase::Written(seen) | Phase::Refused(seen)) = client.phase else {
        return;
    };
    let stock = &mut state.stock;
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
