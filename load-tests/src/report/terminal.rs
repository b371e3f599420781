//! The report as it is printed: the table, the verdict, and where the other files are.
//!
//! Invariant: without `wide` no line is longer than 80 characters.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table,
    TableStyle, presets,
};

use super::model::{Conclusion, Report, RunReport};
use super::sentences::conclusions;
use super::table::{COLUMNS, DECISIVE_COLUMNS, cells, decisive_cells};

/// Characters; a terminal of this width shows every column.
const WIDE: u16 = 150;
/// Characters of the wide table where there is no terminal.
const WIDE_WITHOUT_TERMINAL: u16 = 160;
/// Characters of the sentences, and of a terminal that does not tell its width.
const NARROW: u16 = 80;

/// Prints the report. `wide`: with every column, whatever the width of the terminal.
///
/// # Errors
/// Standard output is closed.
pub fn print(report: &Report, folder: &Path, wide: bool) -> io::Result<()> {
    let stdout = io::stdout();
    let width = Table::new().width().filter(|_| stdout.is_terminal());
    write!(stdout.lock(), "{}", text(report, folder, wide, width))
}

/// What is printed. `width` is that of the terminal; absent, there is none.
fn text(report: &Report, folder: &Path, wide: bool, width: Option<u16>) -> String {
    let wide = wide || width.is_some_and(|width| width >= WIDE);
    let table = if wide { every_column(&report.runs, width) } else { decisive_columns(report) };
    let mut text = format!("\n{}\n\n", table.trim_fmt());
    let line = usize::from(width.unwrap_or(NARROW).min(NARROW));
    for sentence in conclusions(report) {
        text += &format!("{}\n", textwrap::fill(&sentence, line));
    }
    if !wide && report.runs.iter().any(|run| run.stale_writes_refused > 0) {
        let refused = "Refused: writes of a holder whose lock was no longer valid, which the fencing token stopped.";
        text += &format!("{}\n", textwrap::fill(refused, line));
    }
    let more = if wide { "" } else { " (--wide prints every column)" };
    text += &format!("Seed {}{more}.\nReport: {}\n", report.settings.seed, folder.join("index.html").display());
    text
}

/// One line for each row, with the columns that decide.
fn decisive_columns(report: &Report) -> Table {
    let verdict = &report.verdict;
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line).content_lines(ContentLineStyle::none().junction(' ')));
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(NARROW);
    table.set_header(DECISIVE_COLUMNS.map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    for run in &report.runs {
        let [name, stock, sold, oversold, refused, p99] = decisive_cells(run, verdict).map(Cell::new);
        // Green says that a promise was tested and kept.
        let oversold = match (run.units_oversold, verdict.conclusion()) {
            (1.., _) => oversold.fg(Color::Red).add_attribute(Attribute::Bold),
            (0, Conclusion::Passed) => oversold.fg(Color::Green),
            (0, _) => oversold,
        };
        table.add_row([name, stock, sold, oversold, refused, p99]);
    }
    align_numbers(&mut table, 1..DECISIVE_COLUMNS.len());
    // Only a name may be broken over two lines, and only beside numbers of seven digits.
    for number in 1..DECISIVE_COLUMNS.len() {
        if let Some(column) = table.column_mut(number) {
            column.set_constraint(ColumnConstraint::ContentWidth).set_padding((1, 0));
        }
    }
    table
}

fn every_column(runs: &[RunReport], width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width.map_or(WIDE_WITHOUT_TERMINAL, |width| width.max(WIDE)));
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
    // The first two columns are names, the last is the audit.
    align_numbers(&mut table, 2..COLUMNS.len() - 1);
    table
}

fn align_numbers(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::Strategy;
    use strum::VariantArray as _;

    use super::*;
    use crate::faults::Fault;
    use crate::report::model::{RowVoid, VoidReason};
    use crate::report::sample;

    fn printed(report: &Report, wide: bool, width: Option<u16>) -> String {
        text(report, Path::new("load-tests/reports/latest"), wide, width)
    }

    #[test]
    fn a_narrow_terminal_gets_the_columns_that_decide() {
        insta::assert_snapshot!(printed(&sample::report(), false, Some(80)));
    }

    #[test]
    fn a_wide_terminal_gets_every_column() {
        insta::assert_snapshot!(printed(&sample::report(), false, Some(160)));
        assert_eq!(printed(&sample::report(), false, Some(160)), printed(&sample::report(), true, None));
    }

    #[test]
    fn no_line_is_longer_than_a_terminal_of_80_characters_whatever_the_row() {
        let runs: Vec<_> = Strategy::VARIANTS
            .iter()
            .flat_map(|&strategy| Fault::VARIANTS.iter().map(move |&fault| (strategy, fault)))
            .map(|(strategy, fault)| RunReport {
                initial_stock: 1_000_000,
                units_sold: 4_000_000,
                units_oversold: 3_000_000,
                stale_writes_refused: 99_999,
                latency_ms: crate::report::model::Latency { p99: 30_000.0, ..Default::default() },
                ..sample::run(strategy, fault)
            })
            .collect();
        let verdict = crate::report::verdict::judge(&runs, None);
        let report = Report { runs, verdict, ..sample::report() };
        for line in printed(&report, false, Some(80)).lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", line.chars().count());
        }
    }

    #[test]
    fn a_void_run_has_no_green_and_marks_its_void_rows() {
        let mut report = sample::report();
        let coloured = |report: &Report| {
            let mut table = decisive_columns(report);
            table.enforce_styling();
            table.to_string()
        };
        let green = "\u{1b}[38;5;10m";
        assert!(coloured(&report).contains(green), "{:?}", coloured(&report));
        let reason = VoidReason::Row { row: report.runs[1].name(), reason: RowVoid::FaultNeverFired };
        report.verdict = report.verdict.also_void(vec![reason]);
        assert!(!coloured(&report).contains(green));
        assert!(printed(&report, false, Some(80)).contains("redlock · none (void)"));
    }
}
