//! What must hold in every state, and what must be true in some: a model in which nothing happens would satisfy every
//! safety property.

use stateright::Property;

use crate::protocol_model::{ProtocolModel, Scope};
use crate::state::{Phase, State};

pub(crate) const NOT_OVERSOLD: &str = "no more units are sold than were in stock";
pub(crate) const NO_LOST_UPDATE: &str = "no update is lost";
pub(crate) const ABSENT_STAYS_ABSENT: &str = "an order found absent under a higher token stays absent";
pub(crate) const TOKENS_UNIQUE: &str = "no token is issued twice";
pub(crate) const TOKENS_ORDERED: &str = "a token requested after a grant is higher than the granted one";

pub(crate) const ALL_SOLD: &str = "every unit is sold";
pub(crate) const ALL_GRANTED: &str = "every client was granted the lock";
pub(crate) const A_TOKEN_IS_SEALED: &str = "a client seals a token";
pub(crate) const A_CLAIM_IS_REFUSED: &str = "a claim is refused";
pub(crate) const A_WRITE_IS_REFUSED: &str = "a write is refused";

pub(crate) fn of(model: &ProtocolModel) -> Vec<Property<ProtocolModel>> {
    let mut properties = vec![
        Property::sometimes(ALL_GRANTED, |model: &ProtocolModel, state: &State| {
            let holders = state.clients.iter().filter(|client| client.acquired());
            holders.count() == model.clients
        }),
        Property::sometimes(A_TOKEN_IS_SEALED, |_, state| some(state, |phase| phase == Phase::Sealing)),
    ];
    if model.checks_tokens() {
        properties.push(Property::always(TOKENS_UNIQUE, |_, state| unique(state)));
        properties.push(Property::always(TOKENS_ORDERED, |_, state| ordered(state)));
    }
    if model.scope == Scope::Stock {
        properties.extend([
            Property::always(NOT_OVERSOLD, |model: &ProtocolModel, state: &State| state.stock.sold <= model.units),
            Property::always(NO_LOST_UPDATE, |_, state: &State| !state.ghost.lost_update),
            Property::always(ABSENT_STAYS_ABSENT, |_, state: &State| !state.ghost.revived),
            Property::sometimes(ALL_SOLD, |model: &ProtocolModel, state: &State| state.stock.sold == model.units),
            Property::sometimes(A_CLAIM_IS_REFUSED, |_, state| some(state, |phase| matches!(phase, Phase::Stale(_)))),
            Property::sometimes(A_WRITE_IS_REFUSED, |_, state| some(state, |phase| matches!(phase, Phase::Refused(_)))),
        ]);
    }
    if let Some(only) = model.only_property {
        properties.retain(|property| property.name == only);
    }
    properties
}

fn some(state: &State, phase: impl Fn(Phase) -> bool) -> bool {
    state.clients.iter().any(|client| phase(client.phase))
}

/// For each issued token: its client, the token, and the clients whose tokens must be lower, one bit each. A token from
/// a sequence may not be drawn yet.
fn issued(state: &State) -> impl Iterator<Item = (usize, u8, u8)> + '_ {
    let clients = state.clients.iter().enumerate();
    clients
        .filter(|(_, client)| client.acquired() && client.token > 0)
        .map(|(id, client)| (id, client.token, client.after))
}

fn unique(state: &State) -> bool {
    issued(state).all(|(id, token, _)| issued(state).all(|(other, its, _)| id == other || token != its))
}

fn ordered(state: &State) -> bool {
    issued(state).all(|(_, token, after)| issued(state).all(|(other, its, _)| after & 1 << other == 0 || its < token))
}
