//! The first chart of the report: the units that every row sold, on one scale, with the stock as a line and everything
//! beyond it in red; and the surroundings of that line, enlarged, because 823 of 800 cannot be seen beside 8,828.
//!
//! Absence: every number comes from the report. Colours are variables of the page.

use super::charts::row_name;
use super::drawing::Drawing;
use super::model::RunReport;

/// In units of the SVG: the column of names, the bars, the numbers behind them, and the enlarged part.
const NAMES: f64 = 235.0;
const BARS: f64 = 300.0;
const NUMBERS: f64 = 105.0;
const ENLARGED: f64 = 150.0;
const WIDTH: f64 = NAMES + BARS + NUMBERS + ENLARGED;
const ROW: f64 = 34.0;
const TOP: f64 = 34.0;
const BAR: f64 = 20.0;
/// Fewer oversold units than this part of the longest bar are enlarged.
const TOO_SMALL: f64 = 0.06;

/// The SVG.
pub(super) fn units_sold(runs: &[&RunReport]) -> String {
    let most = runs.iter().map(|run| sold(run).max(float(run.initial_stock))).fold(1.0, f64::max);
    let small = |run: &&&RunReport| run.units_oversold > 0 && float(run.units_oversold) < TOO_SMALL * most;
    let around = runs.iter().filter(small).map(|run| float(run.units_oversold)).fold(0.0, f64::max) * 1.6;
    let height = TOP + ROW * float(u64::try_from(runs.len()).unwrap_or_default()) + 8.0;
    let mut svg = Drawing::new(WIDTH, height, "Units sold by every row against its stock");
    svg.text(NAMES, 18.0, "start", "--muted", "units sold");
    if around > 0.0 {
        svg.text(WIDTH - ENLARGED / 2.0, 18.0, "middle", "--muted", &format!("stock ± {around:.0}, enlarged"));
    }
    for (number, run) in (0_u32..).zip(runs) {
        let middle = TOP + ROW * (f64::from(number) + 0.5);
        svg.text(NAMES - 10.0, middle + 4.5, "end", "--ink", &row_name(run));
        let (label, colour) = match run.units_oversold {
            0 => (format!("{}", run.units_sold), "--muted"),
            over => (format!("{} (+{over})", run.units_sold), "--over"),
        };
        let scale = BARS / most;
        let end = sold(run).max(float(run.initial_stock)) * scale;
        svg.text(NAMES + end + 8.0, middle + 4.5, "start", colour, &label);
    }
    for (number, run) in (0_u32..).zip(runs) {
        let top = TOP + ROW * f64::from(number) + (ROW - BAR) / 2.0;
        bar(&mut svg, run, top, NAMES, |units| units * BARS / most);
        if around > 0.0 {
            let (left, stock) = (WIDTH - ENLARGED, float(run.initial_stock));
            let place = |units: f64| ((units - stock + around) / (2.0 * around)).clamp(0.0, 1.0) * ENLARGED;
            bar(&mut svg, run, top, left, place);
        }
    }
    svg.finish()
}

/// What was sold of the stock, what was sold beyond it, and the stock.
fn bar(svg: &mut Drawing, run: &RunReport, top: f64, left: f64, place: impl Fn(f64) -> f64) {
    let (stock, sold) = (float(run.initial_stock), sold(run));
    let in_stock = (sold - float(run.units_oversold)).clamp(0.0, stock);
    let mut part = |from: f64, to: f64, colour: &str| {
        let (x, width) = (left + place(from), (place(to) - place(from)).max(0.0));
        svg.add(format_args!(
            r#"<rect x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{BAR}" fill="var({colour})"/>"#
        ));
    };
    part(0.0, in_stock, "--sold-fill");
    part(in_stock, sold, "--over");
    let x = left + place(stock);
    let (above, below) = (top - 5.0, top + BAR + 5.0);
    svg.add(format_args!(r#"<line x1="{x:.1}" x2="{x:.1}" y1="{above:.1}" y2="{below:.1}" stroke="var(--ink)" stroke-width="2" stroke-dasharray="5 3"/>"#
    ));
}

fn sold(run: &RunReport) -> f64 {
    float(u64::try_from(run.units_sold).unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "units of one experiment, for a drawing")]
fn float(units: u64) -> f64 {
    units as f64
}

#[cfg(test)]
mod tests {
    use contract::Strategy;

    use super::*;
    use crate::faults::Fault;
    use crate::report::sample;

    #[test]
    fn a_few_oversold_units_are_enlarged_and_nothing_is_where_nothing_was_oversold() {
        let mut run = sample::run(Strategy::Redlock, Fault::PauseInventory);
        (run.initial_stock, run.units_sold, run.units_oversold) = (800, 823, 23);
        let mut off = sample::run(Strategy::Off, Fault::None);
        (off.initial_stock, off.units_sold, off.units_oversold) = (800, 2_800, 2_000);
        let both = units_sold(&[&off, &run]);
        assert!(both.contains("stock ± 37, enlarged") && both.contains("823 (+23)"), "{both}");
        assert_eq!(both.matches("var(--over)\"/>").count(), 4, "the red part of each row, twice");
        (run.units_sold, run.units_oversold) = (800, 0);
        assert!(!units_sold(&[&run]).contains("enlarged"));
    }
}
