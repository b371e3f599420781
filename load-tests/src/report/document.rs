//! A Markdown document as a page with charts: what `cost` and `soak` write beside it.
//!
//! Absence: no number is computed here. The page fetches nothing and runs no script.

use std::io;
use std::path::Path;

use contract::Strategy;
use minijinja::value::Value;
use pulldown_cmark::{Options, Parser, html};
use serde::Serialize;

use super::charts;
use super::html::render;
use super::model::{Machine, Origin};

/// A page.
#[derive(Debug)]
pub struct Document<'a> {
    /// The title of the window.
    pub title: &'a str,
    /// The result in one sentence, if there is one, and whether it is good.
    pub verdict: Option<(&'a str, bool)>,
    /// What is looked at before it is read.
    pub charts: Vec<Chart>,
    /// The document.
    pub markdown: &'a str,
    /// Where it comes from.
    pub origin: Origin,
}

/// A chart of a page.
#[derive(Debug)]
pub struct Chart {
    /// What it shows, as a sentence.
    pub title: String,
    svg: String,
}

impl Chart {
    /// One number for each strategy: the first is the best, says the title.
    pub fn of_strategies(of: &str, what: &str, numbers: &[(Strategy, f64)]) -> Option<Self> {
        let mut rows: Vec<_> = numbers.iter().map(|(strategy, number)| (strategy.to_string(), *number)).collect();
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
        let [(best, most), .., (worst, fewest)] = rows.as_slice() else { return None };
        let title = format!("{of}: {best} {most:.0} {what}, {worst} {fewest:.0}");
        Some(Self { title, svg: charts::bars(&rows, what, "var(--rate)") })
    }

    /// Numbers of the same kind, each with a name, in their order.
    pub fn of_rows(title: String, what: &str, rows: &[(String, f64)]) -> Self {
        Self { title, svg: charts::bars(rows, what, "var(--fault)") }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    class: &'static str,
    banner: Option<&'a str>,
    charts: Vec<ShownChart<'a>>,
    body: Value,
    origin: &'a Origin,
    machine: Machine,
}

#[derive(Serialize)]
struct ShownChart<'a> {
    title: &'a str,
    svg: Value,
}

impl Document<'_> {
    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        std::fs::write(file, self.text().map_err(io::Error::other)?)
    }

    fn text(&self) -> Result<String, minijinja::Error> {
        let mut body = String::new();
        // Markup inside the document is text: it is not written by hand.
        let events = Parser::new_ext(self.markdown, Options::ENABLE_TABLES).map(|event| match event {
            pulldown_cmark::Event::Html(text) | pulldown_cmark::Event::InlineHtml(text) => {
                pulldown_cmark::Event::Text(text)
            }
            other => other,
        });
        html::push_html(&mut body, events);
        let page = Page {
            title: self.title,
            class: match self.verdict {
                Some((_, true)) => "passed",
                Some((_, false)) => "broken",
                None => "shown",
            },
            banner: self.verdict.map(|(text, _)| text),
            charts: self
                .charts
                .iter()
                .map(|chart| ShownChart { title: &chart.title, svg: Value::from_safe_string(chart.svg.clone()) })
                .collect(),
            body: Value::from_safe_string(body),
            origin: &self.origin,
            machine: Machine::this(),
        };
        render(include_str!("html/document.html.j2"), page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_a_page_with_its_charts_and_its_tables_and_no_markup_from_its_text() {
        let numbers = [(Strategy::Off, 300.0), (Strategy::Atomic, 900.0)];
        let chart = Chart::of_strategies("One SKU", "orders per second", &numbers).expect("a chart");
        assert_eq!(chart.title, "One SKU: atomic 900 orders per second, off 300");
        assert!(Chart::of_strategies("One SKU", "orders per second", &numbers[..1]).is_none(), "nothing to compare");
        let document = Document {
            title: "Cost",
            verdict: Some(("clean <b>", true)),
            charts: vec![chart],
            markdown: "# Cost\n\n| a | b |\n|---|---|\n| 1 | <script>x</script> |\n",
            origin: Origin { command: "oversell cost".into(), ..Origin::default() },
        };
        let page = document.text().expect("a page");
        assert!(
            page.contains("<td>1</td>") && page.contains("role=\"img\"") && page.contains("oversell cost"),
            "{page}"
        );
        assert!(!page.contains("<script>") && !page.contains("clean <b>"), "{page}");
        assert!(page.contains("<body class=\"passed\">"));
    }
}
