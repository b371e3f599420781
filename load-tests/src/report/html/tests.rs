//! The text of the page, without a browser.

use super::*;
use crate::faults::Fault;
use crate::report::baseline::Baseline;
use crate::report::model::{RowVoid, VoidReason};
use crate::report::{json, sample};

fn page(report: &Report) -> String {
    text(report).expect("a page").0
}

#[test]
fn the_page_opens_with_the_verdict_in_one_sentence() {
    let report = sample::report();
    let page = page(&report);
    assert!(page.contains(r#"class="banner" id="verdict">PASSED: "#), "{}", &page[..400]);
    assert!(page.contains(r#"<body class="passed">"#));
    let mut void = report;
    let reason = VoidReason::Row { row: void.runs[0].name(), reason: RowVoid::LoadTooLight { oversold: 1, stock: 9 } };
    void.verdict = void.verdict.also_void(vec![reason]);
    let page = super::text(&void).expect("a page").0;
    assert!(page.contains(r#"class="banner" id="verdict">VOID: off without"#));
    assert!(page.contains(r#"<body class="void">"#), "without this class the page of a void run has green");
}

#[test]
fn every_row_is_in_the_table_and_has_its_four_charts() {
    let report = sample::report();
    let page = page(&report);
    assert_eq!(page.matches("<article").count(), report.runs.len());
    // Three more cover all rows: units sold, orders per second, the heat map.
    let close_ups = report.runs.iter().filter(|run| run.close_up.is_some()).count();
    assert!(close_ups > 0);
    assert_eq!(page.matches("<svg ").count(), report.runs.len() * 4 + close_ups + 3);
    assert_eq!(page.matches("role=\"img\"").count(), page.matches("<svg ").count());
}

#[test]
fn a_violation_is_shown_as_text_and_never_as_markup() {
    let page = page(&sample::report());
    assert!(page.contains("&lt;a&gt; &amp; b: 400 units are reserved or sold"));
    assert!(!page.contains("<a> & b"));
}

#[test]
fn no_colour_is_fixed_inside_a_chart() {
    let page = page(&sample::report());
    let charts = page.split("<svg ").skip(1).filter_map(|rest| rest.split("</svg>").next());
    for chart in charts {
        let fixed = [r##"fill="#"##, r##"stroke="#"##, r#"fill="black"#, r#"stroke="black"#, r#"fill="white"#];
        let found: Vec<_> = fixed.iter().filter(|colour| chart.contains(**colour)).collect();
        assert!(found.is_empty(), "{found:?} in {chart}");
    }
}

#[test]
fn a_run_of_one_strategy_has_no_heat_map_and_a_run_of_nothing_has_a_page() {
    let mut report = sample::report();
    report.runs.truncate(1);
    assert!(!page(&report).contains("cells that may oversell"));
    report.runs.clear();
    assert!(page(&report).contains("no row without a lock was run"));
}

#[test]
fn of_many_rows_the_most_significant_of_each_strategy_has_charts() {
    let mut runs = Vec::new();
    for _ in 0..9 {
        runs.push(sample::run(Strategy::RedlockFenced, Fault::PauseOrder));
        runs.push(sample::run(Strategy::Redlock, Fault::None));
    }
    runs.push(sample::run(Strategy::Redlock, Fault::PauseInventory));
    runs.push(sample::run(Strategy::RedlockFenced, Fault::PauseInventory));
    let drawn: Vec<_> = charted(&runs).into_iter().map(|run| (run.strategy, run.fault)).collect();
    assert_eq!(drawn, [(Strategy::Redlock, Fault::PauseInventory), (Strategy::RedlockFenced, Fault::PauseInventory)]);
}

#[test]
fn an_earlier_report_is_compared_with_this_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut earlier = sample::report();
    earlier.runs.truncate(2);
    earlier.runs[0].orders_per_second = 25.0;
    json::write(&earlier, folder.path()).expect("report.json");
    let baseline = Baseline::read(&folder.path().join("report.json")).expect("a baseline");
    let mut report = sample::report();
    report.comparison = Some(baseline.compare(&report.runs));
    let page = page(&report);
    assert!(page.contains("25 → 50 (× 2.00)"), "{}", page.split("id=\"comparison\"").nth(1).unwrap_or_default());
    assert_eq!(report.comparison.expect("compared").rows.len(), 2, "rows without a counterpart are not compared");
}
