//! The documents are true where a program can tell: every relative link leads somewhere, a link to a line quotes that
//! line, every page of the walkthrough is short, is listed, and has a command that this program understands.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;
use load_tests::cli::{Cli, Command};

use super::workspace::root;

/// Words of a page of the walkthrough, before its command.
const WORDS: usize = 200;

/// The Markdown files of the repository that are written by hand.
fn documents() -> Vec<PathBuf> {
    let root = root();
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("CHANGELOG.md")];
    let mut folders = vec![root.join("docs"), root.join("crates"), root.join("migrations")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files
}

/// A link in Markdown: its text and its address.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let mut rest = if in_code { "" } else { line };
        while let Some((before, after)) = rest.split_once("](") {
            let text = before.rsplit_once('[').map_or(before, |(_, text)| text);
            // The text of a link to code may contain brackets itself.
            let text = before.rfind("[`").map_or(text, |at| &before[at + 1..]);
            let Some((address, after)) = after.split_once(')') else { break };
            links.push((text, address));
            rest = after;
        }
    }
    links
}

/// What is wrong with a link of the file, if anything is.
fn defect(file: &Path, text: &str, address: &str) -> Option<String> {
    if address.contains("://") || address.starts_with('#') || address.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = address.split_once('#').unwrap_or((address, ""));
    let target = file.parent().expect("a folder").join(path);
    if !target.exists() {
        return Some(format!("{}: {address} leads nowhere", file.display()));
    }
    let number = anchor.strip_prefix('L')?.parse::<usize>().ok()?;
    let code = fs::read_to_string(&target).expect("text");
    let quoted = text.trim_matches('`');
    let line = code.lines().nth(number - 1).unwrap_or_default();
    (!line.contains(quoted)).then(|| {
        let now = code.lines().position(|line| line.contains(quoted)).map_or(0, |at| at + 1);
        format!("{}: line {number} of {path} is not {quoted}, line {now} is", file.display())
    })
}

#[test]
fn every_relative_link_leads_somewhere_and_quotes_the_line_that_it_names() {
    let mut defects = Vec::new();
    for file in documents() {
        let text = fs::read_to_string(&file).expect("text");
        defects.extend(links(&text).into_iter().filter_map(|(text, address)| defect(&file, text, address)));
    }
    assert!(defects.is_empty(), "{defects:#?}");
}

#[test]
fn a_dead_link_and_a_line_that_moved_are_refused() {
    let file = root().join("README.md");
    assert_eq!(links("a [b](c) and [`d[0]`](e#L1)\n```\n[x](y)\n```\n"), [("b", "c"), ("`d[0]`", "e#L1")]);
    assert!(defect(&file, "b", "no/such/file.md").is_some());
    assert!(defect(&file, "`# Holdfast`", "README.md#L1").is_none());
    assert!(defect(&file, "`# Holdfast`", "README.md#L2").is_some_and(|defect| defect.ends_with("line 1 is")));
}

/// The pages of the walkthrough, one for each question.
fn pages() -> Vec<(String, String)> {
    let entries = fs::read_dir(root().join("docs/walkthrough")).expect("the walkthrough");
    let files = entries.map(|entry| entry.expect("an entry").path()).filter(|path| !path.ends_with("README.md"));
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("text"))
    };
    files.map(read).collect()
}

/// What is wrong with a page of the walkthrough.
fn defects_of_page(name: &str, page: &str) -> Vec<String> {
    let mut defects = Vec::new();
    let prose = page.split("\n```\n").next().unwrap_or_default();
    let words = prose.lines().skip(1).filter(|line| !line.starts_with("|--")).flat_map(str::split_whitespace).count();
    if words > WORDS {
        defects.push(format!("{name} has {words} words, {WORDS} at most"));
    }
    let commands: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("./demo ")).collect();
    match commands.as_slice() {
        [command] => {
            let words = ["oversell", "run"].into_iter().chain(command.split_whitespace());
            let understood = Cli::try_parse_from(words).and_then(|cli| match cli.command {
                Command::Run(run) => run.plan().map(drop),
                _ => Ok(()),
            });
            defects.extend(understood.err().map(|error| format!("{name}: {error}")));
        }
        _ => defects.push(format!("{name} has {} commands, not one", commands.len())),
    }
    if !page.contains("\n**See:** ") || !page.lines().any(|line| line.starts_with("**Point at:** [`")) {
        defects.push(format!("{name} does not say what to see, or what to point at"));
    }
    defects
}

#[test]
fn every_page_of_the_walkthrough_is_short_and_has_a_command_and_a_line_to_point_at() {
    let pages = pages();
    let defects: Vec<_> = pages.iter().flat_map(|(name, page)| defects_of_page(name, page)).collect();
    assert!(defects.is_empty(), "{defects:#?}");
    let index = fs::read_to_string(root().join("docs/walkthrough/README.md")).expect("the index");
    let listed: BTreeSet<_> = links(&index).into_iter().map(|(_, address)| address.to_owned()).collect();
    let unlisted: Vec<_> = pages.iter().map(|(name, _)| name).filter(|name| !listed.contains(*name)).collect();
    assert!(unlisted.is_empty(), "not in the index: {unlisted:?}");
}

#[test]
fn a_page_without_a_command_or_with_one_that_does_not_exist_is_refused() {
    let page =
        |command: &str| format!("# Why?\n\nBecause.\n\n```\n{command}\n```\n\n**See:** x\n\n**Point at:** [`y`](z)\n");
    assert_eq!(defects_of_page("a.md", &page("./demo --quick")), [""; 0]);
    assert_eq!(defects_of_page("a.md", &page("cargo test")), ["a.md has 0 commands, not one"]);
    assert!(defects_of_page("a.md", &page("./demo --strategies of"))[0].starts_with("a.md: error: invalid value 'of'"));
    assert_eq!(defects_of_page("a.md", &page("./demo --quick").replace("See", "")).len(), 1);
    assert_eq!(defects_of_page("a.md", &page("./demo --quick").replace("Because.", &"word ".repeat(201))).len(), 1);
}
