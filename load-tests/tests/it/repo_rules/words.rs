//! Words that the project has replaced by the field's terms stay out of its files; `docs/GLOSSARY.md` holds the terms.

use std::{fs, path::Path, process::Command};

use super::workspace::{files_under, relative, root};

/// The words, with a hyphen in each so that this file does not contain them.
const REPLACED: &str = "par-ty par-tie cro-wd set-back sta-ke ya-rd er-rand misch-ief fare-well un-heard he-ir str-uck";

/// Files that may contain them: the glossary, the text of a licence, and the list that quotes the titles of commits.
const EXEMPT: [&str; 3] = ["docs/GLOSSARY.md", "LICENSE-APACHE", ".git-blame-ignore-revs"];

fn replaced() -> Vec<String> {
    REPLACED.split_whitespace().map(|word| word.replace('-', "")).collect()
}

/// Each line of the text that contains one of the words, or its plural, by its number. An underscore ends a word, so
/// that the name of a metric or of a variable consists of words.
fn lines_with(words: &[String], text: &str) -> Vec<(usize, String)> {
    let is_replaced = |word: &str| {
        let word = word.to_lowercase();
        words.iter().any(|replaced| word.strip_prefix(replaced.as_str()).is_some_and(|rest| matches!(rest, "" | "s")))
    };
    let has_one = |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(is_replaced);
    text.lines()
        .zip(1..)
        .filter(|(line, _)| has_one(line))
        .map(|(line, number)| (number, line.trim().to_owned()))
        .collect()
}

/// The files under version control; without git, every file.
fn tracked_files(root: &Path) -> Vec<String> {
    let git = Command::new("git").arg("-C").arg(root).args(["ls-files", "-z"]).output();
    match git {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8_lossy(&output.stdout);
            names.split_terminator('\0').map(ToOwned::to_owned).collect()
        }
        _ => files_under(root).iter().map(|path| relative(path, root)).collect(),
    }
}

#[test]
fn replaced_words_do_not_return() {
    let (root, words) = (root(), replaced());
    let mut found = Vec::new();
    for file in tracked_files(&root).iter().filter(|file| !EXEMPT.contains(&file.as_str())) {
        // Not text, or deleted but not yet committed.
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        found.extend(lines_with(&words, &text).into_iter().map(|(number, line)| format!("{file}:{number}: {line}")));
    }
    assert!(found.is_empty(), "see docs/GLOSSARY.md:\n{}", found.join("\n"));
}

#[test]
fn a_replaced_word_is_seen() {
    let words = replaced();
    assert_eq!(words.len(), 12);
    for word in &words {
        for found in [word.to_uppercase(), format!("{word}s"), format!("order_{word}_size")] {
            assert_eq!(lines_with(&words, &format!("nothing\n{found}\n")), [(2, found)]);
        }
        assert_eq!(lines_with(&words, &format!("x{word} {word}x {word}sx")), []);
    }
}
