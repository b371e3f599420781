//! What a run found, as data (`model`), and its forms: terminal, `report.md`, `matrix.md`, `report.json`, `index.html`.
//!
//! Absence: nothing is measured here, and only `verdict` judges.

pub mod baseline;
mod charts;
pub mod close_up;
pub mod document;
mod drawing;
pub mod files;
mod hero;
mod html;
mod json;
mod markdown;
mod matrix;
mod matrix_markdown;
pub mod model;
#[cfg(test)]
pub(crate) mod sample;
mod sentences;
mod summary;
mod table;
pub mod terminal;
pub mod timeline;
pub mod verdict;
