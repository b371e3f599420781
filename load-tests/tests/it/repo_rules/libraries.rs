//! Which files of a crate may name a library: HTTP stays in `http`, SQL in `store`.

use super::{code::Code, workspace::WORKSPACE};

/// A library, the crate, and the folders or files of the crate that may name it.
const ONLY_UNDER: &[(&str, &str, &[&str])] = &[
    ("axum", "order", &["src/http/"]),
    ("axum", "inventory", &["src/http/"]),
    ("sqlx", "order", &["src/store/"]),
    // A row type says how it is decoded (`sqlx::FromRow`), and an error keeps its source.
    ("sqlx", "inventory", &["src/store/", "src/domain/"]),
];

/// The files that name the library in code, of those outside `allowed`.
fn strays<'a>(code: &'a Code, library: &str, allowed: &[&str]) -> Vec<&'a str> {
    let stray = code.modules.iter().filter(|module| {
        let mut paths = module.paths.iter().chain(module.imports.iter().map(|import| &import.path));
        !allowed.iter().any(|prefix| module.file.starts_with(prefix))
            && paths.any(|path| path.first().is_some_and(|first| first == library))
    });
    stray.map(|module| module.file.as_str()).collect()
}

#[test]
fn a_library_is_named_only_where_it_belongs() {
    let mut found = Vec::new();
    for (library, package, allowed) in ONLY_UNDER {
        let package = WORKSPACE.iter().find(|candidate| candidate.name == *package).expect("a crate of the workspace");
        for file in package.code.iter().flat_map(|code| strays(code, library, allowed)) {
            found.push(format!("{}: {file} names {library}, which belongs under {allowed:?}", package.name));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_library_outside_its_folder_is_refused() {
    let files = [
        ("src/lib.rs", "mod http; mod store;"),
        ("src/http/mod.rs", "use axum::Router;"),
        ("src/store.rs", "fn f() -> axum::http::StatusCode {}"),
    ];
    let files = files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect();
    assert_eq!(strays(&Code::read("src/lib.rs", &files), "axum", &["src/http/"]), ["src/store.rs"]);
}
