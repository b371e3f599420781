//! Runs the checker and says what it found: one line per run, and the shortest schedule of
//! what went wrong. Asserts; decides nothing about the protocol.

use stateright::{Checker, HasDiscoveries, Model, Property, UniformChooser};

use crate::fold::Names;
use crate::lock::{self, LockStep};
use crate::properties;
use crate::schedule;
use crate::state::State;
use crate::stock::{self, StockStep};
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Lock(LockStep),
    Stock(StockStep),
}

impl World {
    /// The step taken, nobody renamed yet.
    pub(crate) fn take(&self, state: &State, step: Step) -> State {
        let mut next = *state;
        match step {
            Step::Lock(step) => lock::take(self, &mut next, step),
            Step::Stock(step) => stock::take(self, &mut next, step),
        }
        next
    }
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut first = State::first(self);
        first.fold(&mut Names::AT_FIRST.clone());
        vec![first]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.over(self.scope) {
            return;
        }
        lock::steps(self, state, |step| steps.push(Step::Lock(step)));
        stock::steps(self, state, |step| steps.push(Step::Stock(step)));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = self.take(state, step);
        if self.folded {
            next.fold(&mut Names::AT_FIRST.clone());
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}

/// Every reachable state keeps every promise, and all of `happens` is reached by some of them.
pub(crate) fn assert_holds(title: &str, world: World, happens: &[&str]) {
    let checker = world.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    judge(title, &world, &checker, happens);
}

/// The same for states met on random walks, where there are too many to visit all.
pub(crate) fn assert_walks_hold(title: &str, world: World, states: usize, happens: &[&str]) {
    let checker = world
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(states)
        .spawn_simulation(0, UniformChooser)
        .join();
    judge(title, &world, &checker, happens);
}

fn judge(title: &str, world: &World, checker: &impl Checker<World>, happens: &[&str]) {
    let mut found = checker.discoveries();
    for property in world.properties() {
        if property.expectation.discovery_is_failure()
            && let Some(path) = found.remove(property.name)
        {
            let schedule = schedule::readable(world, path);
            panic!("{title}: not so: {}\n{schedule}", property.name);
        }
    }
    for what in happens {
        assert!(found.remove(what).is_some(), "{title}: never in this world: {what}");
    }
    println!("{title}: holds · {} states, {} steps deep", checker.unique_state_count(), checker.max_depth());
}

/// Some reachable state breaks the promise. Prints the shortest schedule that leads there.
pub(crate) fn assert_breaks(title: &str, world: World, promise: &'static str) {
    let world = World { watched: Some(promise), ..world };
    let checker = world.checker().finish_when(HasDiscoveries::All).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path = checker
        .discovery(promise)
        .unwrap_or_else(|| panic!("{title}: no counterexample in {states} states to: {promise}"));
    println!("{title}: not so: {promise} · {states} states\n{}", schedule::readable(&world, path));
}
