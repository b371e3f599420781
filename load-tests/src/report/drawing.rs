//! The frame and the texts of the charts that are not drawn by kuva. Every colour is a variable of the page.

use std::fmt::{self, Write as _};

/// An SVG that is being drawn.
#[derive(Debug)]
pub(super) struct Drawing(String);

impl Drawing {
    /// An empty one of this size, in units of the SVG, with a label for screen readers.
    pub(super) fn new(width: f64, height: f64, label: &str) -> Self {
        Self(format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" fill="var(--ink)" style="min-width: {:.0}px" font-size="13">"#,
            width * 0.75
        ))
    }

    /// A text beside this point.
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: &str, colour: &str, what: &str) {
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="var({colour})">{what}</text>"#
        ));
    }

    /// A shape, in front of what was drawn before.
    pub(super) fn add(&mut self, shape: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(shape);
    }

    /// The SVG.
    pub(super) fn finish(self) -> String {
        self.0 + "</svg>"
    }
}
