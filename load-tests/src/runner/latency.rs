//! Percentiles of latency.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer latencies are recorded as this one, in microseconds: ten minutes.
const LONGEST_US: u64 = 600_000_000;
/// Significant digits of a recorded latency.
const DIGITS: u8 = 3;

/// A distribution of latency.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty distribution.
    pub(super) fn new() -> Self {
        Self(
            Histogram::new_with_bounds(1, LONGEST_US, DIGITS)
                .expect("the bounds are constants that hdrhistogram accepts"),
        )
    }

    /// Adds one latency.
    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US));
    }

    /// How many were recorded.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that the given share did not exceed, in milliseconds; 0 if none was recorded.
    pub(super) fn ms_at(&self, quantile: f64) -> f64 {
        ms(self.0.value_at_quantile(quantile))
    }

    /// The longest, in milliseconds; 0 if none was recorded.
    pub(super) fn max_ms(&self) -> f64 {
        ms(self.0.max())
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_precise_to_a_thousandth_and_long_latencies_are_capped() {
        let mut latencies = Latencies::new();
        (1..=100).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        for (quantile, expected) in [(0.5, 50.0), (0.99, 99.0)] {
            let found = latencies.ms_at(quantile);
            assert!((found - expected).abs() <= expected / 1000.0, "{found} at {quantile}");
        }
        latencies.record(Duration::from_hours(1));
        assert!((latencies.max_ms() - 600_000.0).abs() <= 600.0, "{}", latencies.max_ms());
        assert_eq!(latencies.count(), 101);
    }

    #[test]
    fn without_a_latency_every_percentile_is_0() {
        assert!(Latencies::new().ms_at(0.99) < f64::EPSILON);
    }
}
