//! A small stack, and one cell that runs on it.

use std::path::PathBuf;
use std::time::Duration;

use contract::Strategy;

use load_tests::cluster::config::StackConfig;
use load_tests::cluster::stack::Stack;
use load_tests::faults::Fault;
use load_tests::interrupt::Interrupt;
use load_tests::report::model::RunReport;
use load_tests::runner::cell::{self, CellRun};
use load_tests::runner::environment::Environment;
use load_tests::runner::progress::Progress;
use load_tests::scenario::load::{Arrivals, Load};
use load_tests::scenario::plan::{Cell, Plan};

/// Few units and long payments: an injection finds an order between its read and its write.
pub(crate) fn sale(fault: Fault, strategies: &[Strategy], injections: usize) -> Plan {
    let arrivals = Arrivals::Open { window: Duration::from_secs(6) };
    Plan {
        cells: vec![Cell { fault, strategies: strategies.to_vec(), arrivals, injections }],
        load: Load { users: 8, iterations: 8, skus: 1, stock: 16, skew: 0.0 },
        stack_config: stack_config(),
        left_out: Vec::new(),
        seed: 7,
    }
}

pub(crate) fn stack_config() -> StackConfig {
    StackConfig {
        redis_nodes: 3,
        replicas: 2,
        lease: Duration::from_millis(800),
        wait: Duration::from_secs(4),
        payment: Duration::from_millis(150),
        proxied: false,
        etcd: false,
        zookeeper: false,
    }
}

pub(crate) async fn run(plan: &Plan) -> Vec<RunReport> {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = Stack::start(&plan.stack_config(plan.cells[0].fault.needs_proxies()), &binaries(), None)
        .await
        .expect("a stack");
    let environment = Environment::own_stack(&stack, folder.path()).await.expect("an environment");
    let rows = cell::run(&environment, plan, CellRun::first(plan, 1), &Progress::of(plan), &Interrupt::never())
        .await
        .expect("a cell");
    drop(environment);
    stack.shut_down().await;
    rows
}

/// The folder of the services: tests run from `target/<profile>/deps`, the services are one folder up.
pub(crate) fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    test.ancestors().nth(2).expect("target/<profile>").to_owned()
}
