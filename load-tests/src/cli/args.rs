//! The arguments, with their units. Units appear only here; inside the program a time is a `Duration`.
//!
//! Invariant: a value that cannot work is refused with exit status 2 and the values that can.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use contract::{Strategy, whole_number};

use crate::cluster::config::LAB_TOKEN;
use crate::faults::Fault;
use crate::runner::soak::ProtocolMutation;
use crate::scenario::limits;

/// Measures overselling under each strategy and fault
#[derive(Debug, Parser)]
#[command(name = "oversell", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit status: 0 the run is valid and no promise was broken, 1 a promise was broken, 2 bad usage, 3 the run is void or could not be made."
)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the experiment and print the verdict; without --strategies and --faults, four rows that compare no lock, a lock and a fence
    Run(Box<RunArgs>),
    /// Start a stack and keep it running until Ctrl-C
    Stack(StackArgs),
    /// Audit the databases of a running stack
    Audit(AuditArgs),
    /// Sell for minutes or hours under random faults, audit every minute, end at the first violation
    Soak(SoakArgs),
    /// Measure what each strategy costs, with more customers, with more SKUs and sold out, and what a rush does
    Cost(CostArgs),
    /// Sell and break a stack on a live page, and audit it over HTTP; without --target, start one
    Serve(ServeArgs),
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run every strategy under every fault, one fault at a time and all strategies side by side; --strategies and --faults
    /// select some
    #[arg(long, conflicts_with = "scenario")]
    pub matrix: bool,
    /// A scenario file, such as those in load-tests/scenarios
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    pub scenario: Option<PathBuf>,
    /// Strategies to compare, separated by commas [default: four rows, see above]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "A,B")]
    pub strategies: Vec<Strategy>,
    /// Faults to run each strategy under, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "X,Y")]
    pub faults: Vec<Fault>,
    /// Units in stock, over all SKUs, from 1 to 1000000 [default: a quarter of the orders]
    #[arg(long, value_parser = number(&limits::STOCK))]
    pub stock: Option<u64>,
    /// Concurrent customers, from 1 to 10000
    #[arg(long, value_parser = number(&limits::USERS))]
    pub users: Option<u64>,
    /// Orders per customer, from 1 to 1000000, and 10000000 of all customers at most [default: enough to request four times
    /// the stock]
    #[arg(long, value_parser = number(&limits::ITERATIONS))]
    pub iterations: Option<u64>,
    /// SKUs that customers choose from, from 1 to 1000, and not more than there are units
    #[arg(long, value_parser = number(&limits::SKUS))]
    pub skus: Option<u64>,
    /// Exponent of Zipf's law over the SKUs, from 0 to 5: 0 requests each equally often, 1 requests the second half as often as the first
    #[arg(long, value_name = "S", value_parser = skew)]
    pub skew: Option<f64>,
    /// Send orders on a schedule of this length, from 1 to 3600, a calm phase and then a rush, rather than have each customer wait for an
    /// answer; latency then counts from when an order was due
    #[arg(long, value_name = "SECONDS", value_parser = number(&limits::WINDOW_S))]
    pub open: Option<u64>,
    /// How often a fault is injected, from 1 to 1000
    #[arg(long, value_name = "N", value_parser = number(&limits::INJECTIONS))]
    pub injections: Option<u64>,
    /// A smaller load: under a minute including the stack; about a quarter of an hour with --matrix, on two cores
    #[arg(long)]
    pub quick: bool,
    /// Print every column of the table; a terminal of 150 characters or more always shows them
    #[arg(long)]
    pub wide: bool,
    /// Folder for the report; the report of an earlier run in it is replaced
    #[arg(
        long,
        env = "OVERSELL_REPORT",
        hide_env_values = true,
        value_name = "DIR",
        default_value = "load-tests/reports/latest"
    )]
    pub report: PathBuf,
    /// An earlier report.json to compare with; this run may replace it
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Decides the sequence of orders and the schedule of faults; any number from 0 to 18446744073709551615 [default: random]
    #[arg(long, value_parser = number(&(0..=u64::MAX)))]
    pub seed: Option<u64>,
    /// A stack that runs already.
    #[command(flatten)]
    pub running: RunningStackArgs,
    /// The stack; with --target, the settings that it was started with.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// A stack that runs already; without one, a stack is started.
#[derive(Debug, Clone, Args)]
pub struct RunningStackArgs {
    /// A running stack: the line of `stack --json`, or the URLs of all replicas and both databases
    #[arg(long, env = "OVERSELL_TARGET", hide_env_values = true, num_args = 1.., value_name = "URL", conflicts_with_all = ["redis_nodes", "replicas"])]
    pub target: Vec<String>,
    /// Bearer token of inventory, for --target with URLs
    #[arg(long, env = "INVENTORY_TOKEN", default_value = LAB_TOKEN, hide_env_values = true, hide_default_value = true)]
    pub inventory_token: String,
}

/// The settings of a stack.
#[derive(Debug, Clone, Args)]
pub struct StackConfigArgs {
    /// Lock nodes, an odd number from 1 to 15
    #[arg(long, value_name = "N", value_parser = odd)]
    pub redis_nodes: Option<usize>,
    /// Replicas of each service, from 2 to 8: a mutex inside one process must not prevent overselling
    #[arg(long, value_name = "N", value_parser = replicas)]
    pub replicas: Option<usize>,
    /// Lease of a lock, from 600 to 600000: how long it is held at most without an extension
    #[arg(long, value_name = "MS", value_parser = number(&limits::LEASE_MS))]
    pub lease_ms: Option<u64>,
    /// How long an order waits for its lock, from 0 to 600000
    #[arg(long, value_name = "MS", value_parser = number(&limits::WAIT_MS))]
    pub wait_ms: Option<u64>,
    /// How long the payment between read and write takes, from 0 to 29999; an order waits for 30 s at most
    #[arg(long, value_name = "MS", value_parser = number(&limits::PAYMENT_MS))]
    pub payment_ms: Option<u64>,
}

/// Options of `stack`.
#[derive(Debug, Args)]
pub struct StackArgs {
    /// Print one line of JSON: addresses, databases, the inventory token, process ids
    #[arg(long)]
    pub json: bool,
    /// The stack.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// Options of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The database of each service, in any order
    #[arg(long, num_args = 1.., required = true, value_name = "URL")]
    pub postgres: Vec<String>,
    /// Requests and answers: a history-….jsonl of a run against these databases, which items 7 and 9 need
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub history: Vec<PathBuf>,
}

/// Options of `soak`.
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// Duration of the soak, from 1 to 10080
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = number(&(1..=10_080)))]
    pub minutes: u64,
    /// How stock is guarded
    #[arg(long, value_enum, default_value_t = Strategy::RedlockFenced)]
    pub strategy: Strategy,
    /// Concurrent customers, from 1 to 10000
    #[arg(long, default_value_t = 48, value_parser = number(&limits::USERS))]
    pub users: u64,
    /// Lab only: remove a condition from the soak's own temporary database, to verify that the soak detects it
    #[arg(long = "break", value_enum, value_name = "WHAT")]
    pub mutation: Option<ProtocolMutation>,
    /// Decides which faults are injected, when and where; any number from 0 to 18446744073709551615 [default: random]
    #[arg(long, value_parser = number(&(0..=u64::MAX)))]
    pub seed: Option<u64>,
    /// Folder for the report and the histories; the report of an earlier soak in it is replaced
    #[arg(long, value_name = "DIR", default_value = "load-tests/reports/soak")]
    pub report: PathBuf,
    /// The stack.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address of the page
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8088")]
    pub listen: SocketAddr,
    /// A stack that runs already.
    #[command(flatten)]
    pub running: RunningStackArgs,
    /// Folder of the report that the page shows
    #[arg(
        long,
        env = "OVERSELL_REPORT",
        hide_env_values = true,
        value_name = "DIR",
        default_value = "load-tests/reports/latest"
    )]
    pub report: PathBuf,
    /// The stack, if one is started.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

/// Options of `cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Strategies to compare, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "A,B")]
    pub strategies: Vec<Strategy>,
    /// Duration of each measurement, from 1 to 600, after a warm-up of one second
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = number(&(1..=600)))]
    pub seconds: u64,
    /// How often each point is measured, from 1 to 99; the medians are reported
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number(&(1..=99)))]
    pub runs: u64,
    /// Decides which SKU each order is for; any number from 0 to 18446744073709551615 [default: random]
    #[arg(long, value_parser = number(&(0..=u64::MAX)))]
    pub seed: Option<u64>,
    /// Orders of the past to fill each table of both databases with before, from 0 to 10000000; a million take half a minute
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number(&(0..=10_000_000)))]
    pub existing_orders: u64,
    /// The largest load of the overload curve, in connections, from 64 to 5000
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = number(&(64..=5_000)))]
    pub connections: u64,
    /// Folder for `cost.md`, `overload.md` and the histories
    #[arg(long, value_name = "DIR", default_value = "load-tests/reports/cost")]
    pub report: PathBuf,
    /// The stack.
    #[command(flatten)]
    pub stack_config: StackConfigArgs,
}

fn number(range: &RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone + use<> {
    whole_number(range.clone())
}

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse().map_err(|_| "not a number")?;
    limits::refusal(&skew, &limits::SKEW).map_or(Ok(skew), Err)
}

fn odd(text: &str) -> Result<usize, String> {
    let nodes = whole_number(limits::REDIS_NODES.clone())(text)?;
    limits::refusal_of_nodes(nodes).map_or(Ok(nodes), Err)
}

fn replicas(text: &str) -> Result<usize, String> {
    whole_number(limits::REPLICAS.clone())(text)
}
