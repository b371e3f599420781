//! The verdict as it is printed: the table people will screenshot.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

use super::{COLUMNS, Report, RunReport, cells};

/// Wide enough for the table with every heading on two or three lines.
const WIDTH: u16 = 160;
/// The first two columns are names, the last is the audit; numbers stand between them.
const NUMBERS: std::ops::Range<usize> = 2..13;

/// Prints table, verdict and where to read on.
///
/// # Errors
/// Standard output is closed.
pub fn print(report: &Report, shown_folder: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{}\n", table(&report.runs, io::stdout().is_terminal()))?;
    for sentence in report.verdict.sentences() {
        writeln!(out, "{sentence}")?;
    }
    writeln!(out, "Seed {}. Report: {shown_folder}", report.settings.seed)
}

fn table(runs: &[RunReport], terminal: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if !terminal {
        table.set_width(WIDTH);
    }
    table.set_header(COLUMNS.map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    for run in runs {
        table.add_row(cells(run).map(Cell::new));
    }
    // A name that is broken in two is not found again.
    for name in [0, 1] {
        if let Some(column) = table.column_mut(name) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    for column in NUMBERS {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
