//! The files of a report in its folder.
//!
//! Invariant: the folder holds the files of one run only; those of an earlier run are removed before.

use std::fs;
use std::io;
use std::path::Path;

use super::model::Report;
use super::{html, json, markdown, matrix_markdown};

/// Writes every file of the report into the folder.
///
/// # Errors
/// A file cannot be written.
pub fn write(report: &Report, folder: &Path) -> io::Result<()> {
    json::write(report, folder)?;
    markdown::write(report, folder)?;
    html::write(report, folder)?;
    matrix_markdown::write(report, folder)
}

/// Creates the folder, or removes from it the files of an earlier report, its histories and its logs.
///
/// # Errors
/// The folder cannot be changed.
pub fn clear(folder: &Path) -> io::Result<()> {
    clear_where(folder, |name| name.starts_with("report.") || matches!(name, "index.html" | "matrix.md"))
}

/// Creates the folder, or removes from it the files that `is_report` names, and every history and log.
///
/// # Errors
/// The folder cannot be changed.
pub fn clear_where(folder: &Path, is_report: impl Fn(&str) -> bool) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if is_report(&name) || (name.starts_with("history-") && name.ends_with(".jsonl")) {
            fs::remove_file(entry.path())?;
        } else if name == "logs" || (name == "charts" && is_report("index.html")) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_removes_the_files_of_a_report_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["report.md", "index.html", "history-1.jsonl", "notes.txt"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        fs::create_dir(folder.path().join("logs")).expect("a folder");
        clear(folder.path()).expect("cleared");
        let left: Vec<_> =
            fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("an entry")).collect();
        assert_eq!(left.iter().map(fs::DirEntry::file_name).collect::<Vec<_>>(), ["notes.txt"]);
    }
}
