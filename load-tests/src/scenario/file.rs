//! Scenario files: `load-tests/scenarios/*.toml`. The two of the matrix are compiled into the program.
//!
//! Invariant: a file with an unknown field or an impossible value is refused.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use serde::Deserialize;

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
    injections: usize,
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
        let LoadSection { users, iterations, skus, stock, .. } = scenario.load;
        anyhow::ensure!(users * iterations * skus * stock > 0, "users, iterations, skus and stock must be at least 1");
        anyhow::ensure!(stock >= skus, "{stock} units are too few for {skus} SKUs");
        Ok(scenario)
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
            injections: section.injections,
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
    fn an_unknown_field_is_refused() {
        let quick = MATRIX_QUICK.replace("[stack]", "[stack]\nlase_ms = 5");
        let error = format!("{:#}", Scenario::parse(&quick).expect_err("a typing error"));
        assert!(error.contains("lase_ms"), "{error}");
    }
}
