//! What must hold in every state, and what must happen in some: a safe model in which nothing
//! ever happens would prove nothing.

use stateright::Property;

use crate::protocol_model::{ProtocolModel, Scope};
use crate::state::{Phase, State};

pub(crate) const NOT_OVERSOLD: &str = "no more is sold than there was";
pub(crate) const NO_LOST_UPDATE: &str = "no update is lost";
pub(crate) const ABSENT_STAYS_ABSENT: &str = "what was looked up under a higher token and absent stays absent";
pub(crate) const TOKENS_UNIQUE: &str = "no token is issued twice";
pub(crate) const TOKENS_ORDERED: &str = "who asks after another was granted gets a higher token";

pub(crate) const ALL_SOLD: &str = "everything is sold";
pub(crate) const ALL_GRANTED: &str = "everybody was granted the lock";
pub(crate) const A_TOKEN_IS_SEALED: &str = "somebody seals a token";
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
    if model.watches_tokens() {
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
    if let Some(watched) = model.watched {
        properties.retain(|property| property.name == watched);
    }
    properties
}

fn some(state: &State, phase: impl Fn(Phase) -> bool) -> bool {
    state.clients.iter().any(|client| phase(client.phase))
}

/// The tokens that were issued, and whom each must outrank. One that came from a sequence may
/// still be to come.
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
