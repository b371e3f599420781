//! The charts of the report, as inline SVG. Every colour is a variable of the page, so that light, dark and print styles
//! apply to the charts as well.
//!
//! Absence: every number comes from the report; no script, no font, nothing fetched.

use std::sync::Arc;

use kuva::plot::annotations::{ReferenceLine, ShadedRegion, TextAnnotation};
use kuva::plot::bar::BarPlot;
use kuva::plot::heatmap::{ColorMap, Heatmap};
use kuva::plot::line::LinePlot;
use kuva::plot::scatter::{MarkerShape, ScatterPlot};
use kuva::render::layout::{Layout, TickFormat};
use kuva::render::plots::Plot;
use kuva::render::theme::Theme;

use super::matrix::Matrix;
use super::model::RunReport;
use super::timeline::{LatencyAt, Moment, Timeline};
use crate::audit::RefusalStep;

/// In units of the SVG, which the page scales. Narrow, so that text is legible on a phone.
const WIDTH: f64 = 380.0;
/// The smallest and the largest scale of a chart, so that its text stays legible.
const SCALED: [f64; 2] = [0.7, 1.4];
const HEIGHT: f64 = 230.0;
/// kuva draws a text this far above its position; inside a bar or a field it is subtracted again.
const TEXT_ABOVE: f64 = 10.0;
/// Height of a bar with its gap.
const BAR: f64 = 30.0;
/// Width of a letter in the name of a row, and the margin beside names and numbers.
const LETTER: f64 = 6.2;
const BESIDE: f64 = 18.0;
/// Width and height of a field of the heat map.
const FIELD: (f64, f64) = (96.0, 46.0);

/// Units sold against the stock over time, with oversold units, faults and refused tokens marked.
pub(super) fn units(run: &RunReport) -> String {
    let (stock, timeline) = (float(run.initial_stock), &run.timeline);
    let most = timeline.moments.iter().map(|moment| moment.sold).max().unwrap_or_default();
    let top = float(most).max(stock) * 1.12;
    let in_stock = |moment: &Moment| (seconds(moment.at_ms), float(moment.sold - moment.oversold));
    let all = |moment: &Moment| (seconds(moment.at_ms), float(moment.sold));
    // The area of all units lies behind that of the units in stock: the visible rest is what was oversold.
    let mut plots: Vec<Plot> = Vec::new();
    if run.units_oversold > 0 {
        plots.push(area(timeline.moments.iter().map(all), "var(--over)", 0.85).into());
    }
    let sold = area(timeline.moments.iter().map(in_stock), "var(--sold)", 1.0);
    plots.push(sold.with_color("var(--sold-fill)").into());
    plots.push(line(timeline.moments.iter().map(in_stock), "var(--sold)").into());
    let at = |at_ms: u64| {
        let then = timeline.moments.iter().rev().find(|moment| moment.at_ms <= at_ms);
        (seconds(at_ms), float(then.map_or(0, |moment| moment.sold)))
    };
    for lost in &timeline.lost_updates {
        if let Some(from) = lost.paused_from_ms {
            // From the units that it had read to those that it found when it wrote.
            plots.push(line([at(from), at(lost.at_ms)].into_iter(), "var(--over)").with_dashed().into());
        }
    }
    plots.push(
        marked(timeline.lost_updates.iter().map(|lost| at(lost.at_ms)), "var(--over)", MarkerShape::Cross, 6.0).into(),
    );
    let refused = timeline.refused.iter().filter(|refused| refused.step == RefusalStep::Write);
    plots.push(marked(refused.map(|refused| at(refused.at_ms)), "var(--refused)", MarkerShape::Diamond, 6.0).into());
    let layout = over_time(run, top)
        .with_y_label("units")
        .with_reference_line(ReferenceLine::horizontal(stock).with_color("var(--ink)").with_dasharray("6 4"));
    svg(plots, layout, &format!("Units sold over time against a stock of {}", run.initial_stock))
}

/// Orders answered per second, over time.
pub(super) fn rate(run: &RunReport) -> String {
    let rates = rates(&run.timeline);
    let top = rates.iter().map(|(_, rate)| *rate).fold(1.0, f64::max) * 1.12;
    let plots = vec![
        area(rates.iter().copied(), "var(--rate)", 0.25).into(),
        line(rates.iter().copied(), "var(--rate)").into(),
    ];
    let layout = over_time(run, top).with_y_label("orders/s");
    svg(plots, layout, "Orders answered per second over time")
}

/// Median and 99th percentile of latency, over time.
pub(super) fn latency_over_time(run: &RunReport) -> String {
    let at = &run.timeline.latency_over_time;
    let top = at.iter().map(|at| at.p99).fold(1.0, f64::max) * 1.12;
    let of = |percentile: fn(&LatencyAt) -> f64| at.iter().map(move |at| (seconds(at.at_ms), percentile(at)));
    let plots = vec![line(of(|at| at.p99), "var(--over)").into(), line(of(|at| at.p50), "var(--rate)").into()];
    let layout = over_time(run, top).with_y_label("ms, p50 and p99");
    svg(plots, layout, "Median and 99th percentile of latency over time")
}

/// The distribution of latency.
pub(super) fn latency(run: &RunReport) -> String {
    let bars = &run.timeline.latency;
    let first = bars.iter().position(|bar| bar.count > 0).unwrap_or_default();
    let last = bars.iter().rposition(|bar| bar.count > 0).unwrap_or_default();
    let mut chart = BarPlot::new().with_width(0.9);
    for bar in &bars[first.min(bars.len())..bars.len().min(last + 1)] {
        let label = match bar.within_ms {
            Some(ms) if ms < 1000.0 => format!("{ms} ms"),
            Some(ms) => format!("{} s", ms / 1000.0),
            None => "more".to_owned(),
        };
        chart = chart.with_colored_bar(label, float(bar.count), "var(--rate)");
    }
    let plots = vec![Plot::from(chart)];
    let layout = styled(Layout::auto_from_plots(&plots), HEIGHT)
        .with_x_label("answered within")
        .with_y_label("orders")
        .with_x_tick_rotate(-45.0)
        .with_y_tick_format(TickFormat::Integer);
    svg(plots, layout, "How many orders were answered within how many milliseconds")
}

/// One number of every row, side by side.
pub(super) fn compared(runs: &[&RunReport], what: &str, number: impl Fn(&RunReport) -> f64, colour: &str) -> String {
    let rows: Vec<_> = runs.iter().map(|run| (row_name(run), number(run))).collect();
    bars(&rows, what, colour)
}

/// One number for each name, side by side.
pub(super) fn bars(rows: &[(String, f64)], what: &str, colour: &str) -> String {
    // kuva draws bars from the bottom up.
    let mut chart = BarPlot::new().with_width(0.7);
    for (name, number) in rows.iter().rev() {
        chart = chart.with_colored_bar(name, *number, colour);
    }
    let most = rows.iter().map(|(_, number)| *number).fold(1.0, f64::max);
    let plots = vec![Plot::from(chart.with_horizontal(true))];
    let mut layout =
        styled(Layout::auto_from_plots(&plots), 90.0 + BAR * float(rows.len())).with_x_label(what).with_ticks(3);
    for (at, (_, value)) in (1_u32..).zip(rows.iter().rev()) {
        let middle = f64::from(at) - TEXT_ABOVE / BAR;
        let text = format!("{value:.0}");
        // A text is centred on its position, and as wide as its digits.
        let behind = most * (0.05 + 0.04 * float(text.len()));
        let label = TextAnnotation::new(text, value + behind, middle);
        layout = layout.with_annotation(label.with_color("var(--ink)").with_font_size(12));
    }
    let digits = format!("{most:.0}").len();
    let longest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    // By default the chart takes the room for names from the right margin, and cuts the last number of the axis.
    let layout = layout.with_force_margins(float(longest) * LETTER + BESIDE, BESIDE);
    svg(plots, layout.with_x_axis_max(most * (1.12 + 0.08 * float(digits))), what)
}

/// Strategies against faults: where units were oversold.
pub(super) fn heat(matrix: &Matrix) -> String {
    // kuva draws rows from the bottom up; the first strategy belongs at the top.
    let values = matrix.cells.iter().rev().map(|row| row.iter().map(|cell| cell.heat()).collect::<Vec<_>>());
    let values: Vec<_> = values.collect();
    let known = || values.iter().flatten().copied().filter(|value| !value.is_nan());
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    // kuva stretches values over 0 to 1. Here 0 has to stay 0 whatever the other values are.
    let map = ColorMap::Custom(Arc::new(move |stretched| colour_of(least + stretched * (most - least))));
    let chart = Heatmap::new().with_data(values).with_color_map(map).with_cell_size(0.96);
    let plots = vec![Plot::from(chart)];
    let (rows, columns) = (matrix.strategies.len(), matrix.faults.len());
    let layout = Layout::auto_from_plots(&plots);
    let mut layout = styled(layout, 150.0 + FIELD.1 * float(rows))
        .with_width(220.0 + FIELD.0 * float(columns))
        .with_x_categories(matrix.faults.iter().map(ToString::to_string).collect())
        .with_y_categories(matrix.strategies.iter().rev().map(ToString::to_string).collect())
        .with_x_tick_rotate(-35.0)
        .with_show_grid(false);
    layout.show_colorbar = false;
    for (row, cells) in (1_u32..).zip(matrix.cells.iter().rev()) {
        for (column, cell) in (1_u32..).zip(cells) {
            let line = |text: String, below: f64, size| {
                let middle = f64::from(row) - (TEXT_ABOVE + below) / FIELD.1;
                TextAnnotation::new(text, f64::from(column), middle).with_color("var(--ink)").with_font_size(size)
            };
            layout = layout.with_annotation(line(cell.to_string(), -8.0, 14));
            layout = layout.with_annotation(line(cell.demand(), 8.0, 11));
        }
    }
    svg(plots, layout, "Units oversold by each strategy under each fault")
}

/// See [`Cell::heat`](super::matrix::Cell::heat).
fn colour_of(heat: f64) -> String {
    if heat.is_nan() {
        return "var(--none)".to_owned();
    }
    format!("color-mix(in oklab, var(--hot) {:.0}%, var(--good-fill))", heat * 100.0)
}

/// The name of a row under a chart.
pub(super) fn row_name(run: &RunReport) -> String {
    format!("{} · {}", run.strategy, run.fault)
}

fn rates(timeline: &Timeline) -> Vec<(f64, f64)> {
    // Over four moments: the rate over a hundredth of a short row is noise.
    let every_fourth: Vec<_> = timeline.moments.iter().step_by(4).collect();
    let rate = |pair: &[&Moment]| {
        let (from, to) = (seconds(pair[0].at_ms), seconds(pair[1].at_ms));
        let answered = float(pair[1].answered - pair[0].answered);
        (f64::midpoint(from, to), if to > from { answered / (to - from) } else { 0.0 })
    };
    every_fourth.windows(2).map(rate).collect()
}

fn over_time(run: &RunReport, top: f64) -> Layout {
    let end = seconds(run.timeline.length_ms()).max(0.001);
    let mut layout = styled(Layout::new((0.0, end), (0.0, top)), HEIGHT).with_x_label("seconds");
    for event in run.fault_events.iter().filter(|event| event.fired) {
        let (from, to) = (seconds(event.from_ms), seconds(event.to_ms));
        // An event without duration is visible as well.
        let region = ShadedRegion::vertical(from, to.max(from + end / 300.0).min(end));
        layout = layout.with_shaded_region(region.with_color("var(--fault)").with_opacity(0.3));
    }
    layout.with_x_axis_max(end).with_y_axis_max(top).with_clamp_axis()
}

fn styled(layout: Layout, height: f64) -> Layout {
    let ink = || "var(--ink)".to_owned();
    let muted = || "var(--muted)".to_owned();
    let theme = Theme {
        background: "none".into(),
        axis_color: muted(),
        grid_color: "var(--grid)".into(),
        tick_color: muted(),
        text_color: ink(),
        legend_bg: "none".into(),
        legend_border: muted(),
        pie_leader: muted(),
        box_median: ink(),
        violin_border: muted(),
        colorbar_border: muted(),
        font_family: Some("inherit".into()),
        show_grid: true,
    };
    layout.with_theme(theme).with_width(WIDTH).with_height(height).with_label_size(13).with_tick_size(12)
}

fn area(points: impl Iterator<Item = (f64, f64)>, colour: &str, opacity: f64) -> LinePlot {
    let line = LinePlot::new().with_data(points.collect::<Vec<_>>()).with_color(colour);
    line.with_stroke_width(0.0).with_fill().with_fill_opacity(opacity)
}

fn line(points: impl Iterator<Item = (f64, f64)>, colour: &str) -> LinePlot {
    LinePlot::new().with_data(points.collect::<Vec<_>>()).with_color(colour).with_stroke_width(2.0)
}

fn marked(points: impl Iterator<Item = (f64, f64)>, colour: &str, shape: MarkerShape, size: f64) -> ScatterPlot {
    ScatterPlot::new().with_data(points.collect::<Vec<_>>()).with_color(colour).with_marker(shape).with_size(size)
}

/// The SVG as part of a page: it fills the available width, and has a label for screen readers.
fn svg(plots: Vec<Plot>, layout: Layout, label: &str) -> String {
    let drawn = kuva::render_to_svg(plots, layout);
    let Some((head, rest)) = drawn.split_once('>') else { return String::new() };
    let size = |name: &str| {
        let after = head.split_once(&format!(" {name}=\"")).map(|(_, after)| after);
        after.and_then(|after| after.split('"').next()).unwrap_or("0")
    };
    let (width, height) = (size("width"), size("height"));
    let [least, most] = SCALED.map(|factor| factor * width.parse().unwrap_or(WIDTH));
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" fill="var(--ink)" style="min-width: {least:.0}px; max-width: {most:.0}px">{rest}"#
    )
}

fn seconds(ms: impl TryInto<u64>) -> f64 {
    float(ms) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "units, orders and milliseconds of one experiment, for a drawing")]
fn float(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or_default() as f64
}
