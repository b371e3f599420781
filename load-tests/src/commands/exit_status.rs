//! Exit statuses of the process.

/// Valid, and no promise was broken.
pub const PASSED: u8 = 0;
/// A promise or a rule was broken.
pub const BROKEN: u8 = 1;
/// The arguments cannot be meant; clap returns it too.
pub const USAGE: u8 = 2;
/// Nothing was shown: the run was void, or could not be made.
pub const VOID: u8 = 3;
