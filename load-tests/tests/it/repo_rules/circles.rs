//! No circles: inside a crate, the files that take items from each other form layers.
//!
//! Below each module, every child with all that it contains counts as one part, and the module's own file as one more.
//! These parts must not take items from each other in a circle. A parent may use its children's items, as long as they
//! take nothing from the parent's own file; what the parent only re-exports is not its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{code::Code, workspace::WORKSPACE};

/// A file takes these items from another.
struct Edge {
    from: String,
    to: String,
    names: BTreeSet<String>,
}

/// Which parts of one module take items from which, and by which files.
type Parts = BTreeMap<String, BTreeMap<String, Vec<Edge>>>;

/// A sentence for each circle.
fn circles(code: &Code) -> Vec<String> {
    parts(code).into_values().flat_map(circles_among).collect()
}

/// One import too many closes dozens of circles. So the shortest is reported and cut where it takes fewest items, until
/// no circle is left.
fn circles_among(mut parts: Parts) -> Vec<String> {
    let mut sentences = Vec::new();
    while let Some(circle) = shortest_circle(&parts) {
        sentences.push(sentence(&parts, &circle));
        let count = |from: &str, to: &str| parts[from][to].iter().map(|edge| edge.names.len()).sum::<usize>();
        let weakest = steps(&circle).min_by_key(|(from, to)| count(from, to));
        if let Some((from, to)) = weakest {
            parts.entry(from.to_owned()).or_default().remove(to);
        }
    }
    sentences
}

fn shortest_circle(parts: &Parts) -> Option<Vec<String>> {
    let edges = parts.iter().flat_map(|(from, targets)| targets.keys().map(move |to| (from, to)));
    let circles = edges.filter_map(|(from, to)| {
        let mut circle = shortest_path(parts, to, from)?;
        circle.rotate_right(1);
        Some(circle)
    });
    circles.min_by_key(Vec::len)
}

/// From each part of the circle to the next, and from the last to the first.
fn steps(circle: &[String]) -> impl Iterator<Item = (&str, &str)> {
    circle.iter().zip(circle.iter().cycle().skip(1)).map(|(from, to)| (from.as_str(), to.as_str()))
}

/// For each module whose parts take items from each other, what they take.
fn parts(code: &Code) -> BTreeMap<Vec<String>, Parts> {
    let mut parents: BTreeMap<Vec<String>, Parts> = BTreeMap::new();
    for ((from, to), names) in file_edges(code) {
        let (from, to) = (&code.modules[from], &code.modules[to]);
        let (a, b) = (&from.location, &to.location);
        let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let part = |path: &[String]| path.get(shared).cloned().unwrap_or_default();
        let edge = Edge { from: from.file.clone(), to: to.file.clone(), names };
        let parts = parents.entry(a[..shared].to_vec()).or_default();
        parts.entry(part(a)).or_default().entry(part(b)).or_default().push(edge);
    }
    parents
}

/// What each file takes from each other file. A file stands for the modules in it, and is known by the first of them.
fn file_edges(code: &Code) -> BTreeMap<(usize, usize), BTreeSet<String>> {
    let first_in_file = |module: usize| {
        let file = &code.modules[module].file;
        code.modules.iter().position(|module| module.file == *file).unwrap_or(module)
    };
    let mut edges: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (id, module) in code.modules.iter().enumerate() {
        for path in module.paths.iter().chain(module.imports.iter().map(|import| &import.path)) {
            for definition in code.definitions(id, path) {
                if code.modules[definition.module].file != module.file {
                    let key = (first_in_file(id), first_in_file(definition.module));
                    edges.entry(key).or_default().insert(definition.name);
                }
            }
        }
    }
    edges
}

fn shortest_path(parts: &Parts, start: &str, end: &str) -> Option<Vec<String>> {
    let mut queue = VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::from([start.to_owned()]);
    while let Some(path) = queue.pop_front() {
        let last = path.last()?;
        if last == end {
            return Some(path);
        }
        for next in parts.get(last).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(next.clone()) {
                queue.push_back([path.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

/// "a.rs takes X from b.rs; b.rs takes Y from a.rs"
fn sentence(parts: &Parts, circle: &[String]) -> String {
    let edges = steps(circle).flat_map(|(from, to)| &parts[from][to]);
    let takes = edges.map(|Edge { from, to, names }| {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        format!("{from} takes {} from {to}", names.join(", "))
    });
    takes.collect::<Vec<_>>().join("; ")
}

#[test]
fn no_modules_take_items_from_each_other_in_a_circle() {
    let found: Vec<_> = WORKSPACE
        .iter()
        .flat_map(|package| package.code.iter().flat_map(circles).map(|circle| format!("{}: {circle}", package.name)))
        .collect();
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect();
        circles(&Code::read("src/lib.rs", &files))
    }

    #[test]
    fn two_files_that_import_from_each_other_are_refused() {
        let found = circles_of(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b::X; pub fn y(_: X) {}"),
            ("src/b.rs", "pub struct X; fn f() { super::a::y(X) }"),
        ]);
        assert_eq!(found, ["src/a.rs takes X from src/b.rs; src/b.rs takes y from src/a.rs"]);
    }

    #[test]
    fn a_reexport_counts_as_the_file_that_defines_the_item() {
        let through_the_parent = |parent: &str| {
            circles_of(&[
                ("src/lib.rs", "mod p;"),
                ("src/p/mod.rs", parent),
                ("src/p/a.rs", "pub struct X;"),
                ("src/p/b.rs", "use super::X; pub struct Y(X);"),
            ])
        };
        assert_eq!(through_the_parent("mod a; mod b; pub use a::*; use b::Y; fn f(_: Y) {}"), [""; 0]);
        let own_item = through_the_parent("mod a; mod b; pub struct X; use b::Y; fn f(_: Y) {}");
        assert_eq!(own_item, ["src/p/mod.rs takes Y from src/p/b.rs; src/p/b.rs takes X from src/p/mod.rs"]);
    }

    #[test]
    fn folders_that_import_from_each_other_are_refused_though_no_file_does() {
        let found = circles_of(&[
            ("src/lib.rs", "mod one; mod two;"),
            ("src/one.rs", "pub mod low; mod high;"),
            ("src/one/low.rs", "pub struct Low;"),
            ("src/one/high.rs", "use crate::two; fn f() { vec![two::mid()]; }"),
            ("src/two.rs", "#[cfg(test)] mod tests; pub fn mid() -> crate::one::low::Low {}"),
        ]);
        assert_eq!(found, ["src/one/high.rs takes mid from src/two.rs; src/two.rs takes Low from src/one/low.rs"]);
    }

    #[test]
    fn one_import_that_closes_several_circles_is_reported_once() {
        let found = circles_of(&[
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "pub struct A1; pub struct A2; use crate::c::C;"),
            ("src/b.rs", "use crate::a::{A1, A2}; pub struct B1; pub struct B2;"),
            ("src/c.rs", "use crate::a::{A1, A2}; use crate::b::{B1, B2}; pub struct C;"),
        ]);
        assert_eq!(found, ["src/a.rs takes C from src/c.rs; src/c.rs takes A1, A2 from src/a.rs"]);
    }

    #[test]
    fn tests_may_import_from_above() {
        let below = "pub fn x() {} #[cfg(test)] mod tests { use crate::above::Y; } #[cfg(test)] use super::above::Z;";
        let above = "use super::below::x; pub struct Y; pub struct Z; fn f() { x() }";
        let lib = "mod above; mod below;";
        let files = [("src/lib.rs", lib), ("src/above.rs", above), ("src/below.rs", below)];
        assert_eq!(circles_of(&files), [""; 0]);
    }
}
