//! What can be typed, and what it means. Units are in the names here and nowhere else.
//!
//! Invariant: what cannot work is refused here, with exit status 2 and what to type instead.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use contract::Strategy;

use strum::VariantArray as _;

use crate::cluster::config::{LAB_TOKEN, StackConfig};
use crate::faults::Fault;
use crate::runner::cost::Cost;
use crate::runner::soak::{self, ProtocolMutation, SoakPlan};
use crate::scenario::file::Scenario;
use crate::scenario::load::{Arrivals, Load};
use crate::scenario::plan::{Plan, cells};

/// Shows overselling, and shows it stop.
#[derive(Debug, Parser)]
#[command(name = "oversell", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 the run is valid and every promise was kept, 1 a promise was broken, 2 bad usage, 3 void or could not run."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the experiment and say the verdict; without strategies and faults, the story in four rows
    Run(Box<RunArgs>),
    /// Bring the stack up until Ctrl-C
    Stack(StackArgs),
    /// Audit the databases of a stack that is up
    Audit(AuditArgs),
    /// Sell for minutes or hours under random faults, audit every minute, stop at the first violation
    Soak(SoakArgs),
    /// Measure what each strategy costs, with more customers and with more SKUs
    Cost(CostArgs),
    /// Watch a stack on a live page, and audit it over HTTP; without --target, bring one up
    Serve(ServeArgs),
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Every strategy under every fault, one fault at a time, all strategies side by side; with --strategies or --faults
    /// only those
    #[arg(long, conflicts_with = "scenario")]
    pub matrix: bool,
    /// A file that says what to run, as those in load-tests/scenarios
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    pub scenario: Option<PathBuf>,
    /// Strategies to compare, separated by commas [default: the story]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "A,B")]
    pub strategies: Vec<Strategy>,
    /// Faults to run each of them under, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "X,Y")]
    pub faults: Vec<Fault>,
    /// Units there are, over all SKUs; a quarter of the orders by default
    #[arg(long, value_parser = at_least_one(1_000_000))]
    pub stock: Option<u64>,
    /// Customers at the same time
    #[arg(long, value_parser = at_least_one(10_000))]
    pub users: Option<u64>,
    /// Orders of each customer; by default so many that four times the stock is asked for
    #[arg(long, value_parser = at_least_one(1_000_000))]
    pub iterations: Option<u64>,
    /// Among how many SKUs customers choose
    #[arg(long, value_parser = at_least_one(1_000))]
    pub skus: Option<u64>,
    /// Exponent of Zipf's law over the SKUs: 0 asks for each equally often, 1 for the second half as often as for the first
    #[arg(long, value_name = "S", value_parser = skew)]
    pub skew: Option<f64>,
    /// Let orders come when they come, for so many seconds, calm first and then in a rush, instead of having every
    /// customer wait for an answer; latency then counts from when an order was meant to be sent
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub open: Option<u64>,
    /// How often a fault strikes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub injections: Option<u64>,
    /// Smaller numbers: under a minute, stack included; under ten with --matrix
    #[arg(long)]
    pub quick: bool,
    /// Folder for the report; what an earlier run left there is replaced
    #[arg(long, value_name = "DIR", default_value = "load-tests/reports/latest")]
    pub report: PathBuf,
    /// An earlier report.json to compare with; it may be the one that this run replaces
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Decides the order of orders and the schedule of pauses [default: a new one]
    #[arg(long)]
    pub seed: Option<u64>,
    /// A stack that is up: the line of `stack --json`, or the URLs of all replicas and both databases
    #[arg(long, num_args = 1.., value_name = "URL", conflicts_with_all = ["redis_nodes", "replicas"])]
    pub target: Vec<String>,
    /// Bearer token of inventory, for --target with URLs
    #[arg(long, env = "INVENTORY_TOKEN", default_value = LAB_TOKEN, hide_env_values = true, hide_default_value = true)]
    pub inventory_token: String,
    /// What the stack is made of; with --target, what it was started with.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// What a stack is made of.
#[derive(Debug, Clone, Args)]
pub struct StackConfigArgs {
    /// Lock nodes, an odd number
    #[arg(long, value_name = "N", value_parser = odd)]
    pub redis_nodes: Option<usize>,
    /// LabClient of each service, at least 2: a mutex inside one process must not make the result look right
    #[arg(long, value_name = "N", value_parser = replicas)]
    pub replicas: Option<usize>,
    /// How long a lock lives
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(50..=600_000))]
    pub lease_ms: Option<u64>,
    /// How long an order waits for its lock
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub wait_ms: Option<u64>,
    /// How long the payment between read and write takes
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub payment_ms: Option<u64>,
}

/// Options of `stack`.
#[derive(Debug, Args)]
pub struct StackArgs {
    /// Print one line of JSON: addresses, databases, the inventory token, process ids
    #[arg(long)]
    pub json: bool,
    /// What it is made of.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// Options of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The database of each service, in any order
    #[arg(long, num_args = 1.., required = true, value_name = "URL")]
    pub postgres: Vec<String>,
    /// What customers asked and heard: a history-….jsonl of a run against these databases, for items 7 and 9
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub history: Vec<PathBuf>,
}

/// Options of `soak`.
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub minutes: u64,
    /// How stock is guarded
    #[arg(long, value_enum, default_value_t = Strategy::RedlockFenced)]
    pub strategy: Strategy,
    /// Customers at the same time
    #[arg(long, default_value_t = 48, value_parser = at_least_one(10_000))]
    pub users: u64,
    /// Lab only: take something out of the soak's own throw-away database, to see that the soak would notice
    #[arg(long = "break", value_enum, value_name = "WHAT")]
    pub without: Option<ProtocolMutation>,
    /// Decides which faults strike, when and whom [default: a new one]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folder for the report and the histories; what an earlier soak left there is replaced
    #[arg(long, value_name = "DIR", default_value = "load-tests/reports/soak")]
    pub report: PathBuf,
    /// What the stack is made of.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where the page is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8088")]
    pub listen: SocketAddr,
    /// A stack that is up: the line of `stack --json`, or the URLs of all replicas and both databases
    #[arg(long, num_args = 1.., value_name = "URL", conflicts_with_all = ["redis_nodes", "replicas"])]
    pub target: Vec<String>,
    /// What the stack is made of, where one is brought up.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// Options of `cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Strategies to compare, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "A,B")]
    pub strategies: Vec<Strategy>,
    /// How long each measurement lasts, after a second of warming up
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one(600))]
    pub seconds: u64,
    /// How often each point is measured; the medians are told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one(99))]
    pub runs: u64,
    /// Decides who asks for what [default: a new one]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folder for `cost.md` and the histories
    #[arg(long, value_name = "DIR", default_value = "load-tests/reports/cost")]
    pub report: PathBuf,
    /// What the stack is made of.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// What a stack is made of where nothing else is said.
pub(crate) const DEFAULT_STACK: StackConfig = StackConfig {
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
    /// What was left open is filled in.
    pub fn stack_config(&self) -> StackConfig {
        self.over(&DEFAULT_STACK)
    }

    /// What was left open is taken from `preset`.
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
    /// The run that was asked for.
    ///
    /// # Errors
    /// Numbers that do not go together; the message is for the user, the exit status is 2.
    pub fn plan(&self) -> Result<Plan, clap::Error> {
        let scenario = match (&self.scenario, self.matrix) {
            (Some(file), _) => Some(Scenario::read(file).map_err(|error| usage(&format!("--scenario: {error:#}")))?),
            (None, true) => Some(Scenario::matrix(self.quick)),
            (None, false) => None,
        };
        let plan = match scenario {
            Some(scenario) => self.plan_of(&scenario),
            None => self.plan_of_flags(),
        };
        let (skus, stock) = (plan.load.skus, plan.load.stock);
        if self.skus.unwrap_or(skus) > stock {
            return Err(usage(&format!(
                "--skus: {stock} units do not go round; name at most {stock} SKUs, or more --stock"
            )));
        }
        if plan.cells.is_empty() {
            return Err(usage("--strategies, --faults: the scenario has none of these"));
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

    /// The scenario, as far as flags do not say otherwise.
    fn plan_of(&self, scenario: &Scenario) -> Plan {
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
        self.seed.unwrap_or_else(any_seed)
    }
}

impl CostArgs {
    /// The measurement that was asked for, with the services beside this program.
    pub fn cost(self, binaries: PathBuf) -> Cost {
        let strategies = if self.strategies.is_empty() { Strategy::VARIANTS.to_vec() } else { self.strategies };
        let (lasting, seed) = (Duration::from_secs(self.seconds), self.seed.unwrap_or_else(any_seed));
        let runs = usize::try_from(self.runs).unwrap_or(1);
        Cost {
            strategies,
            lasting,
            runs,
            stack_config: self.stack_config.stack_config(),
            seed,
            binaries,
            folder: self.report,
        }
    }
}

impl SoakArgs {
    /// The soak that was asked for.
    pub fn plan(&self) -> SoakPlan {
        SoakPlan {
            minutes: self.minutes,
            strategy: self.strategy,
            users: self.users,
            without: self.without,
            seed: self.seed.unwrap_or_else(any_seed),
            stack_config: self.stack_config.over(&soak::stack_config(&DEFAULT_STACK)),
        }
    }
}

fn open(seconds: u64) -> Arrivals {
    Arrivals::Open { window: Duration::from_secs(seconds) }
}

/// Short enough to be typed.
fn any_seed() -> u64 {
    u64::from(rand::random::<u32>())
}

/// A message in clap's own words, that ends with exit status 2.
pub fn usage(message: &str) -> clap::Error {
    Cli::command().error(ErrorKind::ValueValidation, message)
}

struct Preset {
    load: Load,
    injections: usize,
}

const QUICK: Preset = Preset { load: Load { users: 32, iterations: 0, skus: 4, stock: 800, skew: 0.0 }, injections: 6 };
const FULL: Preset =
    Preset { load: Load { users: 64, iterations: 0, skus: 8, stock: 2400, skew: 0.0 }, injections: 12 };

fn at_least_one(most: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=most)
}

fn skew(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(skew) if (0.0..=5.0).contains(&skew) => Ok(skew),
        _ => Err("0 to 5".to_owned()),
    }
}

fn odd(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(nodes) if nodes % 2 == 1 && nodes <= 15 => Ok(nodes),
        _ => Err("a quorum wants an odd number of nodes, 1 to 15".to_owned()),
    }
}

fn replicas(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(replicas) if (2..=8).contains(&replicas) => Ok(replicas),
        _ => Err("2 to 8 replicas".to_owned()),
    }
}

#[cfg(test)]
mod tests;
