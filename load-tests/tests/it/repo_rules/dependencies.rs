//! No unused dependency: what a package declares is named in its code, and what the workspace declares is used by a
//! package. `cargo machete` finds the former as well; this rule needs no installation and separates tests from code.

use std::{collections::BTreeMap, fs};

use cargo_metadata::DependencyKind;

use super::workspace::{WORKSPACE, root};

/// The code names the library, comments aside.
fn is_named<'a>(library: &str, mut texts: impl Iterator<Item = &'a str>) -> bool {
    let library = library.replace('-', "_");
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let has_word = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == library);
    texts.any(|text| text.lines().filter(is_code).any(has_word))
}

/// A library may be named where its kind of dependency can be used: one that only tests name is no dependency of the code.
fn may_use(kind: DependencyKind, file: &str) -> bool {
    match kind {
        DependencyKind::Normal => file.starts_with("src/"),
        DependencyKind::Build => file == "build.rs",
        _ => file != "build.rs",
    }
}

fn is_used(library: &str, kind: DependencyKind, files: &BTreeMap<String, String>) -> bool {
    is_named(library, files.iter().filter(|(file, _)| may_use(kind, file)).map(|(_, text)| text.as_str()))
}

#[test]
fn every_dependency_of_a_package_is_named_in_its_code() {
    let mut unused = Vec::new();
    for package in WORKSPACE.iter() {
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
            if !package.ignored.contains(name) && !is_used(name, dependency.kind, &package.files) {
                unused.push(format!("{} does not use {name} ({} dependency)", package.name, dependency.kind));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn every_dependency_of_the_workspace_is_one_of_a_package() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest of the workspace");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let declared = manifest["workspace"]["dependencies"].as_table().expect("a table of dependencies");
    let is_taken = |name: &str| {
        WORKSPACE.iter().flat_map(|package| &package.dependencies).any(|dependency| dependency.name == name)
    };
    let unused: Vec<_> = declared.keys().filter(|name| !is_taken(name)).collect();
    assert!(unused.is_empty(), "no package depends on {unused:?}");
}

#[test]
fn an_unused_dependency_is_seen() {
    let text = "// thiserror was used here\nuse tokio_util::sync::CancellationToken;\nlet thiserrors = 1;";
    let files = BTreeMap::from([("src/lib.rs".to_owned(), text.to_owned())]);
    assert!(is_used("tokio-util", DependencyKind::Normal, &files));
    assert!(is_used("tokio-util", DependencyKind::Development, &files));
    assert!(!is_used("thiserror", DependencyKind::Normal, &files));
    let only_in_tests = BTreeMap::from([("tests/it/main.rs".to_owned(), "use tempfile::tempdir;".to_owned())]);
    assert!(is_used("tempfile", DependencyKind::Development, &only_in_tests));
    assert!(!is_used("tempfile", DependencyKind::Normal, &only_in_tests));
}
