//! Exit statuses of the process. Bad usage is 2, which clap returns.

/// Valid, and no promise was broken.
pub const PASSED: u8 = 0;
/// A promise or a rule was broken.
pub const BROKEN: u8 = 1;
/// Nothing was shown: the run was void, or could not be made.
pub const VOID: u8 = 3;
