//! Why an action of the page is not carried out.

/// Why an action was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

pub(super) fn refuse<T>(code: &'static str, detail: &str) -> Result<T, Refusal> {
    Err(Refusal { code, detail: detail.to_owned() })
}
