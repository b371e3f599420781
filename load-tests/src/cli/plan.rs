//! From arguments to plans: defaults, presets, scenario files, and the checks that concern several arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use contract::Strategy;
use strum::VariantArray as _;

use super::args::{Cli, CostArgs, RunArgs, ServeArgs, SoakArgs, StackConfigArgs};
use crate::cluster::config::StackConfig;
use crate::runner::cost::Cost;
use crate::runner::soak::{self, SoakPlan};
use crate::scenario::file::Scenario;
use crate::scenario::limits;
use crate::scenario::load::{Arrivals, Load};
use crate::scenario::plan::{Plan, cells};

/// The default stack.
const DEFAULT_STACK: StackConfig = StackConfig {
    redis_nodes: 5,
    replicas: 2,
    lease: Duration::from_millis(600),
    wait: Duration::from_secs(10),
    payment: Duration::from_millis(2),
    proxied: false,
    etcd: false,
    zookeeper: false,
};

impl StackConfigArgs {
    /// The stack, with defaults for what is not given.
    pub fn stack_config(&self) -> StackConfig {
        self.over(&DEFAULT_STACK)
    }

    /// The stack, with `preset` for what is not given.
    pub fn over(&self, preset: &StackConfig) -> StackConfig {
        let ms = |given: Option<u64>, preset| given.map_or(preset, Duration::from_millis);
        StackConfig {
            redis_nodes: self.redis_nodes.unwrap_or(preset.redis_nodes),
            replicas: self.replicas.unwrap_or(preset.replicas),
            lease: ms(self.lease_ms, preset.lease),
            wait: ms(self.wait_ms, preset.wait),
            payment: ms(self.payment_ms, preset.payment),
            ..preset.clone()
        }
    }
}

impl RunArgs {
    /// The run.
    ///
    /// # Errors
    /// Arguments that contradict each other; clap prints the message, and the exit status is 2.
    pub fn plan(&self) -> Result<Plan, clap::Error> {
        let scenario = match (&self.scenario, self.matrix) {
            (Some(file), _) => Some(Scenario::read(file).map_err(|error| usage(&format!("--scenario: {error:#}")))?),
            (None, true) => Some(Scenario::matrix(self.quick)),
            (None, false) => None,
        };
        let plan = match scenario {
            Some(scenario) => self.plan_of_scenario(&scenario),
            None => self.plan_of_flags(),
        };
        let (skus, stock) = (plan.load.skus, plan.load.stock);
        if self.skus.unwrap_or(skus) > stock {
            return Err(usage(&format!(
                "--skus: {stock} units are not enough for a unit of each; name at most {stock} SKUs, or more --stock"
            )));
        }
        if let Some(refusal) = limits::refusal(&plan.load.attempts(), &limits::ORDERS) {
            let Load { users, iterations, .. } = plan.load;
            return Err(usage(&format!("--users {users}, --iterations {iterations}: the product {refusal}")));
        }
        if plan.cells.is_empty() {
            return Err(usage("--strategies, --faults: the scenario contains none of them"));
        }
        Ok(plan)
    }

    fn plan_of_flags(&self) -> Plan {
        let preset = if self.quick { QUICK } else { FULL };
        let injections = self.injections(preset.injections);
        let arrivals = self.open.map_or(Arrivals::Closed, open);
        Plan {
            cells: cells(&self.strategies, &self.faults, arrivals, injections),
            load: self.load(&preset.load),
            stack_config: self.stack_config.stack_config(),
            left_out: Vec::new(),
            seed: self.seed(),
        }
    }

    /// The run of a scenario file, as flags modify it.
    fn plan_of_scenario(&self, scenario: &Scenario) -> Plan {
        let mut cells = scenario.cells();
        cells.retain(|cell| self.faults.is_empty() || self.faults.contains(&cell.fault));
        for cell in &mut cells {
            cell.strategies.retain(|strategy| self.strategies.is_empty() || self.strategies.contains(strategy));
            cell.injections = self.injections(cell.injections);
            cell.arrivals = self.open.map_or(cell.arrivals, open);
        }
        cells.retain(|cell| !cell.strategies.is_empty());
        Plan {
            cells,
            load: self.load(&scenario.load()),
            stack_config: self.stack_config.over(&scenario.stack_config(&DEFAULT_STACK)),
            left_out: Vec::new(),
            seed: self.seed(),
        }
    }

    fn load(&self, preset: &Load) -> Load {
        let load = Load::tuned(preset, self.users, self.iterations, self.skus, self.stock);
        Load { skew: self.skew.unwrap_or(load.skew), ..load }
    }

    fn injections(&self, preset: usize) -> usize {
        self.injections.and_then(|injections| usize::try_from(injections).ok()).unwrap_or(preset)
    }

    fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(random_seed)
    }
}

impl CostArgs {
    /// The measurement; `binaries` is the folder of the service binaries.
    pub fn cost(self, binaries: PathBuf) -> Cost {
        let strategies = if self.strategies.is_empty() { Strategy::VARIANTS.to_vec() } else { self.strategies };
        let (lasting, seed) = (Duration::from_secs(self.seconds), self.seed.unwrap_or_else(random_seed));
        let runs = usize::try_from(self.runs).unwrap_or(1);
        Cost {
            strategies,
            lasting,
            connections: self.connections,
            existing_orders: self.existing_orders,
            runs,
            stack_config: self.stack_config.stack_config(),
            seed,
            binaries,
            folder: self.report,
        }
    }
}

impl SoakArgs {
    /// The soak.
    pub fn plan(&self) -> SoakPlan {
        SoakPlan {
            minutes: self.minutes,
            strategy: self.strategy,
            users: self.users,
            mutation: self.mutation,
            seed: self.seed.unwrap_or_else(random_seed),
            stack_config: self.stack_config.over(&soak::stack_config(&DEFAULT_STACK)),
        }
    }
}

impl ServeArgs {
    /// The stack that is started: payments and leases long enough that a person sees what happens in them.
    pub fn stack_config(&self) -> StackConfig {
        let (lease, payment) = (Duration::from_millis(1_500), Duration::from_millis(100));
        self.stack_config.over(&StackConfig { lease, payment, proxied: true, ..DEFAULT_STACK })
    }
}

fn open(seconds: u64) -> Arrivals {
    Arrivals::Open { window: Duration::from_secs(seconds) }
}

/// Short enough to be typed.
fn random_seed() -> u64 {
    u64::from(rand::random::<u32>())
}

/// An error that clap prints, with exit status 2.
fn usage(message: &str) -> clap::Error {
    Cli::command().error(ErrorKind::ValueValidation, message)
}

struct Preset {
    load: Load,
    injections: usize,
}

const QUICK: Preset = Preset { load: Load { users: 32, iterations: 0, skus: 4, stock: 800, skew: 0.0 }, injections: 6 };
const FULL: Preset =
    Preset { load: Load { users: 64, iterations: 0, skus: 8, stock: 2400, skew: 0.0 }, injections: 12 };
