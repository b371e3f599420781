//! Runs the model checker and prints its result: one line per run, and the schedule of a counterexample.
//!
//! Absence: no rule of the protocol.

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
    /// The state after the step, before symmetry reduction.
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

/// Asserts that every reachable state satisfies every property, and that each of `reached` is true in some state.
pub(crate) fn assert_holds(title: &str, model: ProtocolModel, reached: &[&str]) {
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    assert_satisfied(title, &model, &checker, reached);
}

/// The same for the states visited by random walks, for a model with too many states to visit all.
pub(crate) fn assert_walks_hold(title: &str, model: ProtocolModel, states: usize, reached: &[&str]) {
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(states)
        .spawn_simulation(0, UniformChooser)
        .join();
    assert_satisfied(title, &model, &checker, reached);
}

fn assert_satisfied(title: &str, model: &ProtocolModel, checker: &impl Checker<ProtocolModel>, reached: &[&str]) {
    let mut discoveries = checker.discoveries();
    for property in model.properties() {
        if property.expectation.discovery_is_failure()
            && let Some(path) = discoveries.remove(property.name)
        {
            let schedule = schedule::readable(model, path);
            panic!("{title}: violated: {}\n{schedule}", property.name);
        }
    }
    for what in reached {
        assert!(discoveries.remove(what).is_some(), "{title}: never true in this model: {what}");
    }
    println!("{title}: holds · {} states, {} steps deep", checker.unique_state_count(), checker.max_depth());
}

/// Asserts that some reachable state violates the property. Prints the shortest schedule that leads to it.
pub(crate) fn assert_violated(title: &str, model: ProtocolModel, property: &'static str) {
    let model = ProtocolModel { only_property: Some(property), ..model };
    let checker = model.checker().finish_when(HasDiscoveries::All).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path =
        checker.discovery(property).unwrap_or_else(|| panic!("{title}: not violated in {states} states: {property}"));
    println!("{title}: violated: {property} · {states} states\n{}", schedule::readable(&model, path));
}
