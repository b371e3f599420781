//! The house as `docs/ARCHITECTURE.md` draws it: which crate may lean on which, and who may name
//! an outside library. Read from `cargo metadata`, so that a newcomer can trust the picture.
//! Nothing here looks at source text: what is not a dependency cannot be named.

use cargo_metadata::{CargoOpt, DependencyKind, MetadataCommand};

/// Who may depend on which of our crates, tests aside. What is not listed leans on nothing of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("inventory", &["fenced-lock", "service-kit"]),
    ("order", &["fenced-lock", "service-kit"]),
    ("load-tests", &["testbed"]),
];

/// Outside libraries that belong to one part of the house. Tests keep to this as well.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("redis", &["fenced-lock", "testbed"]),
    ("rslock", &["fenced-lock"]),
    ("etcd-client", &["fenced-lock", "testbed"]),
    ("zookeeper-client", &["fenced-lock", "testbed"]),
    ("goose", &["load-tests"]),
    ("axum", &["inventory", "order", "service-kit", "load-tests"]),
    ("testcontainers", &["testbed"]),
];

#[derive(Debug, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
}

fn edges() -> Vec<Edge> {
    let metadata = MetadataCommand::new()
        .features(CargoOpt::AllFeatures)
        .no_deps()
        .exec()
        .expect("cargo metadata answers inside the workspace");
    let packages = metadata.workspace_packages();
    packages
        .iter()
        .flat_map(|package| {
            package.dependencies.iter().map(|dependency| Edge {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                for_tests: dependency.kind == DependencyKind::Development,
            })
        })
        .collect()
}

fn ours() -> Vec<String> {
    let metadata = MetadataCommand::new().no_deps().exec();
    let metadata = metadata.expect("cargo metadata answers inside the workspace");
    let packages = metadata.workspace_packages();
    packages.iter().map(|p| p.name.to_string()).collect()
}

fn forbidden(edge: &Edge, ours: &[String]) -> Option<String> {
    let Edge { from, to, .. } = edge;
    let lists = |table: &[(&str, &[&str])], key: &str| {
        let row = table.iter().find(|(name, _)| *name == key);
        row.map(|(_, allowed)| allowed.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    if ours.contains(to) {
        // A crate's own tests may want more of its features than its default.
        let for_tests = edge.for_tests && (to == "testbed" || to == from);
        let allowed = lists(ARROWS, from).unwrap_or_default();
        let fine = for_tests || allowed.contains(to);
        return (!fine).then(|| format!("{from} must not depend on {to}"));
    }
    let owners = lists(ONLY_IN, to)?;
    (!owners.contains(from)).then(|| format!("{to} belongs to {owners:?}, not to {from}"))
}

#[test]
fn dependencies_point_one_way() {
    let ours = ours();
    let broken: Vec<_> = edges().iter().filter_map(|e| forbidden(e, &ours)).collect();
    assert!(broken.is_empty(), "see docs/ARCHITECTURE.md: {broken:#?}");
}

#[test]
fn the_house_has_exactly_the_rooms_of_the_map() {
    let mut ours = ours();
    ours.sort();
    let map = ["fenced-lock", "inventory", "load-tests", "order", "service-kit", "testbed"];
    assert_eq!(ours, map, "docs/ARCHITECTURE.md draws other crates");
}

#[test]
fn a_forbidden_arrow_is_seen() {
    let ours = ours();
    let edge = |from: &str, to: &str, for_tests| Edge { from: from.into(), to: to.into(), for_tests };
    let refused = |e: Edge| forbidden(&e, &ours).is_some();
    assert!(refused(edge("fenced-lock", "service-kit", false)));
    assert!(refused(edge("testbed", "fenced-lock", true)));
    assert!(refused(edge("inventory", "testbed", false)), "servers are for tests only");
    assert!(refused(edge("order", "redis", true)));
    assert!(refused(edge("service-kit", "goose", false)));
    assert!(!refused(edge("inventory", "testbed", true)));
    assert!(!refused(edge("order", "fenced-lock", false)));
}
