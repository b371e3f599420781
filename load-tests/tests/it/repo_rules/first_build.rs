//! What `./demo` compiles before its first verdict: no client of a server that the first demo does not start, and not
//! more crates than today. Decision 0085 has the measurements.

use std::{collections::BTreeSet, process::Command};

use super::workspace::root;

/// The flags of the build, as the scripts and the image write them.
const FLAGS: &str = "--no-default-features";
/// Crates, of one version each. A dependency that raises the number is worth a look at `cargo build --timings`.
const CRATES: usize = 355;
/// Clients of what the first demo does not start, and what they bring.
const NOT_BUILT: [&str; 6] = ["bollard", "etcd-client", "prost-build", "testcontainers", "tonic", "zookeeper-client"];

fn crates(tree: &str) -> BTreeSet<&str> {
    tree.lines().filter(|line| !line.is_empty()).map(|line| line.trim_end_matches(" (*)")).collect()
}

fn refused<'a>(crates: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let name = |krate: &'a str| krate.split(' ').next().unwrap_or(krate);
    crates.iter().copied().filter(|krate| NOT_BUILT.contains(&name(krate))).collect()
}

#[test]
fn the_first_demo_compiles_nothing_that_it_does_not_use() {
    for file in ["demo", "Dockerfile"] {
        let text = std::fs::read_to_string(root().join(file)).expect(file);
        assert!(text.contains(FLAGS) && text.contains("demo"), "{file} builds something else");
    }
    let tree = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "--offline", "--edges=normal,build", "--prefix=none", "--format={p}", FLAGS])
        .args(["--package=load-tests", "--package=inventory", "--package=order"])
        .output()
        .expect("cargo");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names");
    let crates = crates(&tree);
    assert_eq!(refused(&crates), [""; 0]);
    assert!(crates.len() <= CRATES, "the first demo compiles {} crates, {CRATES} at most", crates.len());
}

#[test]
fn a_client_that_the_first_demo_does_not_use_is_refused() {
    let tree = "order v0.1.0\ntonic v0.14.9\ntonic v0.14.9 (*)\n\nbollard v0.21.1\ntonic-types v0.14.0";
    assert_eq!(refused(&crates(tree)), ["bollard v0.21.1", "tonic v0.14.9"]);
}
