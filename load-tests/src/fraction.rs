//! A fraction of a whole number.

/// `fraction` of `number`, rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a small number")]
pub(crate) fn fraction_of(number: u64, fraction: f64) -> u64 {
    (real(number) * fraction) as u64
}

/// The number as a float.
#[expect(clippy::cast_precision_loss, reason = "a small number")]
pub(crate) fn real(number: u64) -> f64 {
    number as f64
}
