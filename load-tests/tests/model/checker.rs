//! Runs the checker and says what it found: one line per run, and the shortest schedule of
//! what went wrong. Asserts; decides nothing about the protocol.

use stateright::{Checker, HasDiscoveries, Model, Property, UniformChooser};

use crate::lock::{self, LockStep};
use crate::properties;
use crate::protocol_model::ProtocolModel;
use crate::schedule;
use crate::state::State;
use crate::stock::{self, StockStep};
use crate::symmetry::OriginalNames;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Lock(LockStep),
    Stock(StockStep),
}

impl ProtocolModel {
    /// The step taken, nobody renamed yet.
    pub(crate) fn apply(&self, state: &State, step: Step) -> State {
        let mut next = *state;
        match step {
            Step::Lock(step) => lock::apply(self, &mut next, step),
            Step::Stock(step) => stock::apply(self, &mut next, step),
        }
        next
    }
}

impl Model for ProtocolModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut first = State::first(self);
        first.canonicalize(&mut OriginalNames::IDENTITY.clone());
        vec![first]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.over(self.scope) {
            return;
        }
        lock::enabled_steps(self, state, |step| steps.push(Step::Lock(step)));
        stock::enabled_steps(self, state, |step| steps.push(Step::Stock(step)));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = self.apply(state, step);
        if self.symmetry_reduced {
            next.canonicalize(&mut OriginalNames::IDENTITY.clone());
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}

/// Every reachable state keeps every promise, and all of `happens` is reached by some of them.
pub(crate) fn assert_holds(title: &str, model: ProtocolModel, happens: &[&str]) {
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    judge(title, &model, &checker, happens);
}

/// The same for states met on random walks, where there are too many to visit all.
pub(crate) fn assert_walks_hold(title: &str, model: ProtocolModel, states: usize, happens: &[&str]) {
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(states)
        .spawn_simulation(0, UniformChooser)
        .join();
    judge(title, &model, &checker, happens);
}

fn judge(title: &str, model: &ProtocolModel, checker: &impl Checker<ProtocolModel>, happens: &[&str]) {
    let mut found = checker.discoveries();
    for property in model.properties() {
        if property.expectation.discovery_is_failure()
            && let Some(path) = found.remove(property.name)
        {
            let schedule = schedule::readable(model, path);
            panic!("{title}: not so: {}\n{schedule}", property.name);
        }
    }
    for what in happens {
        assert!(found.remove(what).is_some(), "{title}: never in this model: {what}");
    }
    println!("{title}: holds · {} states, {} steps deep", checker.unique_state_count(), checker.max_depth());
}

/// Some reachable state breaks the promise. Prints the shortest schedule that leads there.
pub(crate) fn assert_breaks(title: &str, model: ProtocolModel, promise: &'static str) {
    let model = ProtocolModel { watched: Some(promise), ..model };
    let checker = model.checker().finish_when(HasDiscoveries::All).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path = checker
        .discovery(promise)
        .unwrap_or_else(|| panic!("{title}: no counterexample in {states} states to: {promise}"));
    println!("{title}: not so: {promise} · {states} states\n{}", schedule::readable(&model, path));
}
