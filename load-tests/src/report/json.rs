//! `report.json`: the report for programs. [`SCHEMA`](super::model::SCHEMA) names its version.

use std::io;
use std::path::Path;

use super::model::Report;

/// Writes it into the folder.
pub(super) fn write(report: &Report, folder: &Path) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    std::fs::write(folder.join("report.json"), text)
}
