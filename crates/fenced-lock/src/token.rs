//! Fencing tokens.

use std::fmt;

/// A number that grows with every grant of a resource, so that storage can refuse an older one.
///
/// From 1 to 2⁵³ − 1, which JSON readers and Lua numbers represent exactly.
///
/// ```
/// use fenced_lock::Token;
///
/// assert!(Token::new(34)? > Token::new(33)?, "the later grant has the higher token");
/// assert!(Token::new(0).is_err());
/// # Ok::<_, fenced_lock::TokenOutOfRange>(())
/// ```
///
/// Source: Martin Kleppmann, "How to do distributed locking".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// A number outside of the range from 1 to 2⁵³ − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a fencing token: tokens go from 1 to 2^53 - 1")]
pub struct TokenOutOfRange(pub u64);

impl Token {
    /// The largest token, 2⁵³ − 1.
    pub const MAX: u64 = (1 << 53) - 1;

    /// Checks the range, for example of a token that the storage reported.
    ///
    /// # Errors
    /// [`TokenOutOfRange`] for 0 and above [`MAX`](Self::MAX).
    pub fn new(number: u64) -> Result<Self, TokenOutOfRange> {
        if (1..=Self::MAX).contains(&number) { Ok(Self(number)) } else { Err(TokenOutOfRange(number)) }
    }

    /// The token as a number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u64> for Token {
    type Error = TokenOutOfRange;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        Self::new(number)
    }
}
