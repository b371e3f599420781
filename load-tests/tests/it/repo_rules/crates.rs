//! Which crate may depend on which, and to which crates an outside library belongs.

use cargo_metadata::DependencyKind;

use super::workspace::WORKSPACE;

/// Which of our crates a crate may depend on, tests aside. A crate that is not listed depends on none.
const ARROWS: &[(&str, &[&str])] = &[
    ("fenced-lock", &["failure-kind"]),
    ("postgres-pool", &["failure-kind"]),
    ("service-kit", &["failure-kind"]),
    ("inventory", &["contract", "failure-kind", "fenced-lock", "postgres-pool", "service-kit"]),
    ("order", &["contract", "failure-kind", "fenced-lock", "postgres-pool", "service-kit"]),
    ("load-tests", &["contract", "testbed"]),
];

/// Outside libraries that belong to certain crates. Tests keep to this as well.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("redis", &["fenced-lock", "testbed"]),
    ("rslock", &["fenced-lock"]),
    ("etcd-client", &["fenced-lock", "testbed"]),
    ("zookeeper-client", &["fenced-lock", "testbed"]),
    ("goose", &["load-tests"]),
    ("axum", &["inventory", "order", "service-kit", "load-tests"]),
    ("testcontainers", &["testbed"]),
    ("syn", &["load-tests"]),
];

const CRATES: [&str; 9] = [
    "contract",
    "failure-kind",
    "fenced-lock",
    "inventory",
    "load-tests",
    "order",
    "postgres-pool",
    "service-kit",
    "testbed",
];

fn row<'a>(table: &'a [(&str, &[&'a str])], key: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(name, _)| *name == key).map(|(_, allowed)| *allowed)
}

/// Why the dependency is not allowed.
fn refusal(from: &str, to: &str, for_tests: bool) -> Option<String> {
    if CRATES.contains(&to) {
        // Its own tests may want more of a crate's features than its default.
        let allowed_for_tests = for_tests && (to == "testbed" || to == from);
        let allowed = allowed_for_tests || row(ARROWS, from).is_some_and(|allowed| allowed.contains(&to));
        return (!allowed).then(|| format!("{from} must not depend on {to}"));
    }
    let owners = row(ONLY_IN, to)?;
    (!owners.contains(&from)).then(|| format!("{to} belongs to {owners:?}, not to {from}"))
}

#[test]
fn dependencies_point_one_way() {
    let refusals: Vec<_> = WORKSPACE
        .iter()
        .flat_map(|package| package.dependencies.iter().map(move |dependency| (&package.name, dependency)))
        .filter_map(|(from, to)| refusal(from, &to.name, to.kind == DependencyKind::Development))
        .collect();
    assert!(refusals.is_empty(), "see docs/ARCHITECTURE.md: {refusals:#?}");
}

#[test]
fn the_workspace_has_exactly_the_crates_that_the_architecture_draws() {
    let mut names: Vec<_> = WORKSPACE.iter().map(|package| package.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, CRATES, "docs/ARCHITECTURE.md draws other crates");
}

#[test]
fn a_forbidden_dependency_is_refused() {
    let is_refused = |from, to, for_tests| refusal(from, to, for_tests).is_some();
    assert!(is_refused("fenced-lock", "service-kit", false));
    assert!(is_refused("fenced-lock", "contract", false));
    assert!(is_refused("contract", "fenced-lock", false));
    assert!(is_refused("testbed", "fenced-lock", true));
    assert!(is_refused("inventory", "testbed", false), "servers are for tests only");
    assert!(is_refused("order", "redis", true));
    assert!(is_refused("service-kit", "goose", false));
    assert!(!is_refused("inventory", "testbed", true));
    assert!(!is_refused("order", "fenced-lock", false));
    assert!(!is_refused("load-tests", "contract", false));
}
