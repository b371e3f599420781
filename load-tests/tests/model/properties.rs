//! What must hold in every state, and what must happen in some: a safe world in which nothing
//! ever happens would prove nothing.

use stateright::Property;

use crate::state::{Phase, State};
use crate::world::{Scope, World};

pub(crate) const NOT_OVERSOLD: &str = "no more is sold than there was";
pub(crate) const NO_LOST_UPDATE: &str = "no update is lost";
pub(crate) const ABSENT_STAYS_ABSENT: &str = "what was looked up under a higher token and absent stays absent";
pub(crate) const TOKENS_UNIQUE: &str = "no token is issued twice";
pub(crate) const TOKENS_ORDERED: &str = "who asks after another was granted gets a higher token";

pub(crate) const ALL_SOLD: &str = "everything is sold";
pub(crate) const ALL_HOLD: &str = "everybody was granted the lock";
pub(crate) const ONE_SEALS: &str = "somebody seals a token";
pub(crate) const ONE_IS_STALE: &str = "a claim is refused";
pub(crate) const ONE_IS_REFUSED: &str = "a write is refused";

pub(crate) fn of(world: &World) -> Vec<Property<World>> {
    let mut properties = vec![
        Property::sometimes(ALL_HOLD, |world: &World, state: &State| {
            let holders = state.clients.iter().filter(|client| client.acquired());
            holders.count() == world.clients
        }),
        Property::sometimes(ONE_SEALS, |_, state| some(state, |phase| phase == Phase::Sealing)),
    ];
    if world.watches_tokens() {
        properties.push(Property::always(TOKENS_UNIQUE, |_, state| unique(state)));
        properties.push(Property::always(TOKENS_ORDERED, |_, state| ordered(state)));
    }
    if world.scope == Scope::Stock {
        properties.extend([
            Property::always(NOT_OVERSOLD, |world: &World, state: &State| state.stock.sold <= world.units),
            Property::always(NO_LOST_UPDATE, |_, state: &State| !state.marks.lost_update),
            Property::always(ABSENT_STAYS_ABSENT, |_, state: &State| !state.marks.revived),
            Property::sometimes(ALL_SOLD, |world: &World, state: &State| state.stock.sold == world.units),
            Property::sometimes(ONE_IS_STALE, |_, state| some(state, |phase| matches!(phase, Phase::Stale(_)))),
            Property::sometimes(ONE_IS_REFUSED, |_, state| some(state, |phase| matches!(phase, Phase::Refused(_)))),
        ]);
    }
    if let Some(watched) = world.watched {
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
        .map(|(who, client)| (who, client.token, client.after))
}

fn unique(state: &State) -> bool {
    issued(state).all(|(who, token, _)| issued(state).all(|(other, its, _)| who == other || token != its))
}

fn ordered(state: &State) -> bool {
    issued(state).all(|(_, token, after)| issued(state).all(|(other, its, _)| after & 1 << other == 0 || its < token))
}
