//! The report as it is printed: the table, the verdict, and where the other files are.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

use super::model::{Report, RunReport};
use super::sentences::sentences;
use super::table::{COLUMNS, cells};

/// Characters; wide enough for the table with every heading on two or three lines.
const WIDTH: u16 = 160;
/// The first two columns are names, the last is the audit; the others are numbers.
const NUMBERS: std::ops::Range<usize> = 2..13;

/// Prints the report.
///
/// # Errors
/// Standard output is closed.
pub fn print(report: &Report, folder: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{}\n", table(&report.runs, io::stdout().is_terminal()))?;
    for sentence in sentences(report) {
        writeln!(out, "{sentence}")?;
    }
    writeln!(out, "Seed {}. Report: {}", report.settings.seed, folder.display())
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
    // A name that is broken over two lines cannot be searched for.
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

#[cfg(test)]
mod tests {
    use crate::report::sample;

    #[test]
    fn the_table_of_the_sample() {
        insta::assert_snapshot!(super::table(&sample::report().runs, false));
    }
}
