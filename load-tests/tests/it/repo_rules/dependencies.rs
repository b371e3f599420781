//! No unused dependency: what a package declares is named in its code, and what the workspace declares is used by a
//! package. `cargo machete` finds the former as well; this rule needs no installation and separates tests from code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use cargo_metadata::DependencyKind;
use syn::buffer::{Cursor, TokenBuffer};

use super::workspace::{Package, WORKSPACE, root};

/// The first name of every path in the code of each file. `std::time` does not name the library `time`.
fn roots(files: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<String>> {
    let read = |file: &str, text: &str| {
        let mut found = BTreeSet::new();
        let tokens = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        collect_roots(TokenBuffer::new2(tokens).begin(), &mut found);
        found
    };
    files.iter().map(|(file, text)| (file.as_str(), read(file, text))).collect()
}

fn collect_roots(mut cursor: Cursor<'_>, found: &mut BTreeSet<String>) {
    let (mut after_use, mut after_colons) = (false, false);
    while !cursor.eof() {
        let colons = after_two_colons(cursor);
        if let Some((name, next)) = cursor.ident() {
            if !after_colons && (after_use || after_two_colons(next).is_some()) {
                found.insert(name.to_string());
            }
            (after_use, after_colons, cursor) = (name == "use", false, next);
        } else if let Some(next) = colons {
            (after_use, after_colons, cursor) = (false, true, next);
        } else if let Some((inner, _, _, next)) = cursor.any_group() {
            // `std::{time::Duration}` continues a path.
            if !after_colons {
                collect_roots(inner, found);
            }
            (after_use, after_colons, cursor) = (false, false, next);
        } else if let Some((_, next)) = cursor.token_tree() {
            (after_use, after_colons, cursor) = (false, false, next);
        }
    }
}

fn after_two_colons(cursor: Cursor<'_>) -> Option<Cursor<'_>> {
    let (first, cursor) = cursor.punct()?;
    let (second, cursor) = cursor.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(cursor)
}

/// A library may be named where its kind of dependency can be used: one that only tests name is no dependency of the code.
fn may_use(kind: DependencyKind, file: &str) -> bool {
    match kind {
        DependencyKind::Normal => file.starts_with("src/"),
        DependencyKind::Build => file == "build.rs",
        _ => file != "build.rs",
    }
}

fn is_used(library: &str, kind: DependencyKind, roots: &BTreeMap<&str, BTreeSet<String>>) -> bool {
    let library = library.replace('-', "_");
    roots.iter().any(|(file, roots)| may_use(kind, file) && roots.contains(&library))
}

/// The dependencies that the manifest of the workspace declares and no package takes.
fn unused_by_all(manifest: &str, taken: &BTreeSet<&str>) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let declared = manifest["workspace"]["dependencies"].as_table().expect("a table of dependencies");
    declared.keys().filter(|name| !taken.contains(name.as_str())).cloned().collect()
}

#[test]
fn every_dependency_of_a_package_is_named_in_its_code() {
    let mut unused = Vec::new();
    for package in WORKSPACE.iter() {
        let roots = roots(&package.files);
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
            if !package.ignored.contains(name) && !is_used(name, dependency.kind, &roots) {
                unused.push(format!("{} does not use {name} ({} dependency)", package.name, dependency.kind));
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn every_dependency_of_the_workspace_is_one_of_a_package() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest of the workspace");
    let known_as = |package: &'static Package| {
        package.dependencies.iter().map(|dependency| dependency.rename.as_ref().unwrap_or(&dependency.name).as_str())
    };
    let unused = unused_by_all(&manifest, &WORKSPACE.iter().flat_map(known_as).collect());
    assert!(unused.is_empty(), "no package depends on {unused:?}");
}

#[test]
fn an_unused_dependency_is_refused() {
    let code = "
        // thiserror::Error was used here
        use std::{sync::Arc, time::Duration};
        use tokio_util::sync::CancellationToken;
        #[garde::validate] fn f(url: Duration) { info!(insta = serde_json::to_string(\"url::Url\"), url = url) }";
    let files = [("src/lib.rs", code), ("tests/it/main.rs", "use tempfile as temporary;")];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned())).into();
    let is_used = |library, kind| is_used(library, kind, &roots(&files));
    for used in ["tokio-util", "garde", "serde-json"] {
        assert!(is_used(used, DependencyKind::Normal), "{used}");
        assert!(is_used(used, DependencyKind::Development), "{used}");
    }
    for unused in ["thiserror", "time", "sync", "url", "insta"] {
        assert!(!is_used(unused, DependencyKind::Development), "{unused}");
    }
    assert!(is_used("tempfile", DependencyKind::Development));
    assert!(!is_used("tempfile", DependencyKind::Normal));
}

#[test]
fn a_dependency_of_the_workspace_that_no_package_takes_is_refused() {
    let manifest = "[workspace.dependencies]\nurl = \"2\"\ntime = { version = \"0.3\" }";
    assert_eq!(unused_by_all(manifest, &BTreeSet::from(["url"])), ["time"]);
    assert_eq!(unused_by_all(manifest, &BTreeSet::from(["url", "time"])), [""; 0]);
}
