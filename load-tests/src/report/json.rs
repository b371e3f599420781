//! `report.json`, schema 1: the contract with whoever reads a run by machine.

use std::io;
use std::path::Path;

use super::Report;

/// Writes it into the folder.
///
/// # Errors
/// The file cannot be written.
pub fn write(report: &Report, folder: &Path) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    std::fs::write(folder.join("report.json"), text)
}
