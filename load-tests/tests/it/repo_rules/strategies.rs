//! One list of strategies: the table in `crates/contract`. No other file lists them again, as an enum or by their names.

use std::collections::BTreeSet;

use contract::Strategy;
use strum::VariantArray as _;

use super::{
    code::{Code, Module},
    workspace::WORKSPACE,
};

/// An enum with this many variants named like strategies is a second list.
const ENUM_VARIANTS: usize = 3;
/// A file that names this many strategies contains a second list.
const NAMES: usize = 6;

/// Crates that do not use the strategies of the services, or define them.
const EXEMPT: [&str; 2] = ["contract", "fenced-lock"];

fn has_variant_name(strategy: Strategy, name: &str) -> bool {
    format!("{strategy:?}") == name
}

/// The module names the strategy: `"row-lock"` or `Strategy::RowLock`.
fn names(module: &Module, strategy: Strategy) -> bool {
    let mut paths = module.paths.iter().chain(module.imports.iter().map(|import| &import.path));
    let is_path = |path: &Vec<String>| matches!(path.as_slice(), [.., list, variant] if list == "Strategy" && has_variant_name(strategy, variant));
    module.literals.contains(strategy.name()) || paths.any(is_path)
}

/// A sentence for each second list.
fn second_lists(code: &Code) -> Vec<String> {
    let mut found = Vec::new();
    for module in &code.modules {
        for (name, variants) in &module.enums {
            let count = Strategy::VARIANTS.iter().filter(|&&s| variants.iter().any(|v| has_variant_name(s, v))).count();
            if count >= ENUM_VARIANTS {
                found.push(format!("{}: enum {name} has {count} variants named like strategies", module.file));
            }
        }
    }
    let files: BTreeSet<_> = code.modules.iter().map(|module| &module.file).collect();
    for file in files {
        let mut modules = code.modules.iter().filter(|module| module.file == *file);
        let is_named = |strategy: &&Strategy| modules.clone().any(|module| names(module, **strategy));
        let count = Strategy::VARIANTS.iter().filter(is_named).count();
        if count >= NAMES && modules.next().is_some() {
            found.push(format!("{file} names {count} strategies"));
        }
    }
    found
}

#[test]
fn strategies_are_listed_in_contract_alone() {
    let packages = WORKSPACE.iter().filter(|package| !EXEMPT.contains(&package.name.as_str()));
    let found: Vec<_> = packages
        .flat_map(|package| package.code.iter().flat_map(second_lists).map(|list| format!("{}: {list}", package.name)))
        .collect();
    assert!(found.is_empty(), "take it from contract: {found:#?}");
}

#[test]
fn a_second_list_of_strategies_is_refused() {
    let lists_of = |text: &str| {
        let files = [("src/lib.rs".to_owned(), text.to_owned())];
        second_lists(&Code::read("src/lib.rs", &files.into()))
    };
    let an_enum = "enum Mode { Off, Redlock, RowLock, Other }";
    assert_eq!(lists_of(an_enum), ["src/lib.rs: enum Mode has 3 variants named like strategies"]);
    let names = r#"const ALL: [&str; 3] = ["off", "redis", "row-lock"];
        fn f(s: Strategy) -> bool { matches!(s, Strategy::Atomic | Strategy::Redlock | contract::Strategy::EtcdFenced) }"#;
    assert_eq!(lists_of(names), ["src/lib.rs names 6 strategies"]);
    assert_eq!(lists_of("enum Lock { Off, Redlock } fn f() { g(Strategy::Off, Strategy::Atomic) }"), [""; 0]);
}
