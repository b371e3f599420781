//! What theory expects of a strategy under a fault: it must not oversell, it must oversell, or either.
//!
//! Absence: no measurement, and no list of strategies or faults: the row of a strategy has its promise, the file
//! of a fault the strategies that are certain to oversell under it.

use std::time::Duration;

use contract::{Promise, Strategy};

use crate::faults::Fault;

/// What theory expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theory {
    /// The strategy must not oversell.
    Never,
    /// The strategy may oversell: it promises nothing, and need not.
    Open,
    /// The strategy must oversell; if it does not, the fault was too mild to show it.
    Certain,
}

impl Theory {
    /// Of a strategy under a fault, with payments of this length.
    pub fn of(strategy: Strategy, fault: Fault, payment: Duration) -> Self {
        if promises_no_oversell(strategy, fault) {
            Self::Never
        } else if strategy.promise() == Promise::Nothing || (fault.spec().certain_to_oversell)(strategy, payment) {
            Self::Certain
        } else {
            Self::Open
        }
    }

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Open => "may",
            Self::Certain => "must",
        }
    }
}

/// The strategy must not oversell under this fault.
pub const fn promises_no_oversell(strategy: Strategy, fault: Fault) -> bool {
    match strategy.promise() {
        Promise::Nothing => false,
        Promise::WithoutFaults => matches!(fault, Fault::None),
        Promise::UnderEveryFault => true,
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;
    use crate::faults::spec::LONG_PAYMENT;

    /// Under each fault one letter for each strategy, in the order of the strategies' table: `n` it must not oversell,
    /// `m` it must, `l` it must if payments are long, `.` either.
    const OTHER_FAULTS: &str = "m...nnn.nnn";
    const EXPECTED: [(Fault, &str); 5] = [
        (Fault::None, "mnnnnnnnnnn"),
        (Fault::PauseInventory, "mmmlnnnmnnn"),
        (Fault::PauseOrder, "mmm.nnn.nnn"),
        (Fault::RedisAmnesia, "mll.nnn.nnn"),
        (Fault::RedisEarlyExpiry, "ml..nnn.nnn"),
    ];

    #[test]
    fn theory_is_known_for_every_strategy_under_every_fault() {
        let short = Duration::from_millis(149);
        for &fault in Fault::VARIANTS {
            let expected = EXPECTED.iter().find(|(named, _)| *named == fault).map_or(OTHER_FAULTS, |(_, row)| row);
            let letter = |&strategy: &Strategy| match (
                Theory::of(strategy, fault, short),
                Theory::of(strategy, fault, LONG_PAYMENT),
            ) {
                (Theory::Never, Theory::Never) => 'n',
                (Theory::Certain, Theory::Certain) => 'm',
                (Theory::Open, Theory::Certain) => 'l',
                (Theory::Open, Theory::Open) => '.',
                mixed => panic!("{strategy} under {fault}: {mixed:?}"),
            };
            let derived: String = Strategy::VARIANTS.iter().map(letter).collect();
            assert_eq!(derived, expected, "{fault}");
        }
    }
}
