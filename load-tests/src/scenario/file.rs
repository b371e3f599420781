//! Scenario files: `load-tests/scenarios/*.toml`. The two of the matrix are compiled into the program.
//!
//! Invariant: a file with an unknown field or an impossible value is refused.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use serde::Deserialize;

use super::limits;
use super::load::{Arrivals, Load};
use super::plan::Cell;
use crate::cluster::config::StackConfig;
use crate::faults::Fault;

const MATRIX: &str = include_str!("../../scenarios/matrix.toml");
const MATRIX_QUICK: &str = include_str!("../../scenarios/matrix-quick.toml");

/// A scenario file. `scenarios/matrix.toml` explains each field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    strategies: Vec<Strategy>,
    load: LoadSection,
    stack: StackSection,
    fault: Vec<FaultSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadSection {
    users: u64,
    iterations: u64,
    skus: u64,
    stock: u64,
    #[serde(default)]
    skew: f64,
    window_s: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StackSection {
    redis_nodes: Option<usize>,
    replicas: Option<usize>,
    lease_ms: Option<u64>,
    wait_ms: Option<u64>,
    payment_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultSection {
    name: Fault,
    #[serde(default)]
    injections: u64,
    window_s: Option<u64>,
    strategies: Option<Vec<Strategy>>,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, has an unknown field, or requests an impossible load.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a valid scenario", file.display()))
    }

    /// Every strategy under every fault.
    ///
    /// # Panics
    /// Never: a test parses both files.
    pub fn matrix(quick: bool) -> Self {
        Self::parse(if quick { MATRIX_QUICK } else { MATRIX }).expect("both files are parsed in a test")
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check_ranges()?;
        let LoadSection { skus, stock, .. } = scenario.load;
        anyhow::ensure!(stock >= skus, "{stock} units are too few for {skus} SKUs");
        Ok(scenario)
    }

    fn check_ranges(&self) -> anyhow::Result<()> {
        let (load, stack) = (&self.load, &self.stack);
        let windows = self.fault.iter().filter_map(|fault| fault.window_s).chain(load.window_s);
        let injections = 0..=*limits::INJECTIONS.end();
        let numbers = [
            ("load.users", Some(load.users), limits::USERS),
            ("load.iterations", Some(load.iterations), limits::ITERATIONS),
            ("load.skus", Some(load.skus), limits::SKUS),
            ("load.stock", Some(load.stock), limits::STOCK),
            ("stack.lease_ms", stack.lease_ms, limits::LEASE_MS),
            ("stack.wait_ms", stack.wait_ms, limits::WAIT_MS),
            ("stack.payment_ms", stack.payment_ms, limits::PAYMENT_MS),
        ];
        let numbers = numbers.into_iter().filter_map(|(name, number, range)| Some((name, number?, range)));
        let numbers = numbers
            .chain(windows.map(|seconds| ("window_s", seconds, limits::WINDOW_S)))
            .chain(self.fault.iter().map(|fault| ("injections", fault.injections, injections.clone())));
        let refusals = numbers
            .map(|(name, number, range)| (name, limits::refusal(&number, &range)))
            .chain([
                ("load.skew", limits::refusal(&load.skew, &limits::SKEW)),
                ("stack.redis_nodes", stack.redis_nodes.and_then(limits::refusal_of_nodes)),
                ("stack.replicas", stack.replicas.and_then(|replicas| limits::refusal(&replicas, &limits::REPLICAS))),
            ])
            .filter_map(|(name, refusal)| Some((name, refusal?)));
        match refusals.map(|(name, refusal)| format!("{name}: {refusal}")).collect::<Vec<_>>() {
            refused if refused.is_empty() => Ok(()),
            refused => anyhow::bail!("{}", refused.join("; ")),
        }
    }

    /// One cell for each fault.
    pub fn cells(&self) -> Vec<Cell> {
        let cell = |section: &FaultSection| Cell {
            fault: section.name,
            strategies: section.strategies.clone().unwrap_or_else(|| self.strategies.clone()),
            arrivals: match section.window_s.or(self.load.window_s) {
                Some(seconds) => Arrivals::Open { window: Duration::from_secs(seconds) },
                None => Arrivals::Closed,
            },
            injections: usize::try_from(section.injections).unwrap_or(usize::MAX),
        };
        self.fault.iter().map(cell).collect()
    }

    /// The load of each row.
    pub fn load(&self) -> Load {
        let LoadSection { users, iterations, skus, stock, skew, .. } = self.load;
        Load { users, iterations, skus, stock, skew }
    }

    /// The stack it runs on; settings that the file omits are those of `preset`.
    pub fn stack_config(&self, preset: &StackConfig) -> StackConfig {
        let ms = |given: Option<u64>, preset| given.map_or(preset, Duration::from_millis);
        let stack = &self.stack;
        StackConfig {
            redis_nodes: stack.redis_nodes.unwrap_or(preset.redis_nodes),
            replicas: stack.replicas.unwrap_or(preset.replicas),
            lease: ms(stack.lease_ms, preset.lease),
            wait: ms(stack.wait_ms, preset.wait),
            payment: ms(stack.payment_ms, preset.payment),
            ..preset.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::load::DEMAND;

    #[test]
    fn every_scenario_file_has_enough_demand_to_show_overselling() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
        let mut count = 0;
        for file in files {
            let scenario = Scenario::read(&file).expect("a scenario");
            let load = scenario.load();
            assert!(load.attempts() >= DEMAND * load.stock, "{}", file.display());
            assert!(scenario.cells().iter().all(|cell| cell.fault == Fault::None || cell.injections > 0));
            count += 1;
        }
        assert!(count >= 3, "{count} scenarios");
    }

    #[test]
    fn a_number_outside_its_range_is_refused_by_its_name() {
        for (field, number, name) in [
            ("users", "0", "load.users: 0 is not in 1..=10000"),
            ("users", "10001", "load.users"),
            ("users", "-1", "users = -1"),
            ("iterations", "1000001", "load.iterations"),
            ("skus", "1001", "load.skus"),
            ("stock", "1000001", "load.stock"),
            ("stock", "99999999999999999999", "stock"),
            ("skew", "5.1", "load.skew: 5.1 is not in 0..=5"),
            ("skew", "nan", "load.skew"),
            ("window_s", "0", "window_s: 0 is not in 1..=3600"),
            ("injections", "1001", "injections: 1001 is not in 0..=1000"),
            ("lease_ms", "599", "stack.lease_ms: 599 is not in 600..=600000"),
            ("wait_ms", "600001", "stack.wait_ms"),
            ("payment_ms", "30000", "stack.payment_ms"),
        ] {
            let given = |line: &str| match line.split_once(" = ") {
                Some((name, _)) if name == field => format!("{field} = {number}"),
                _ => line.to_owned(),
            };
            let text = MATRIX_QUICK.lines().map(given).collect::<Vec<_>>().join("\n");
            let error = format!("{:#}", Scenario::parse(&text).expect_err(name));
            assert!(error.contains(name), "{name}: {error}");
        }
        for (setting, name) in [
            ("redis_nodes = 4", "stack.redis_nodes: 4 is not odd"),
            ("redis_nodes = 17", "stack.redis_nodes: 17 is not in 1..=15"),
            ("replicas = 1", "stack.replicas: 1 is not in 2..=8"),
        ] {
            let text = MATRIX_QUICK.replace("[stack]", &format!("[stack]\n{setting}"));
            let error = format!("{:#}", Scenario::parse(&text).expect_err(name));
            assert!(error.contains(name), "{name}: {error}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let quick = MATRIX_QUICK.replace("[stack]", "[stack]\nlase_ms = 5");
        let error = format!("{:#}", Scenario::parse(&quick).expect_err("a typing error"));
        assert!(error.contains("lase_ms"), "{error}");
    }
}
