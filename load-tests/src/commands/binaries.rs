//! Where the binaries of the services are.

use std::path::PathBuf;

use anyhow::Context as _;

/// The folder of this program; the services are built into the same one.
pub(super) fn folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    program.parent().map(PathBuf::from).context("the path of this program has no folder")
}
