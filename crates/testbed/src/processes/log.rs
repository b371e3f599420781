//! Log files of child processes: opened for both outputs, read from the end.

use std::fs::{self, File};
use std::path::Path;

use crate::error::TestbedError;

/// Opens a log for both outputs of a child.
pub(crate) fn open_log(path: &Path) -> Result<(File, File), TestbedError> {
    let open = || File::options().create(true).append(true).open(path);
    let both = open().and_then(|first| Ok((first, open()?)));
    both.map_err(TestbedError::file("cannot write", path))
}

/// The last `lines` lines of a file; empty if there is none.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
