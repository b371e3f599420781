//! Arguments that cannot be meant, found after they were parsed: the process ends with exit status 2, as for those that
//! the parser refuses.

use std::fmt;

/// What is wrong with the arguments, and what would be right. An error, or the context of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadUsage(pub(crate) String);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUsage {}
