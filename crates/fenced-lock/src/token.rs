//! Fencing tokens.

use std::fmt;

/// A number that grows with every grant of a resource; storage refuses an older one.
///
/// From 1 to 2⁵³ − 1, so that it survives every JSON reader and a Lua number unharmed.
///
/// ```
/// use fenced_lock::Token;
///
/// assert!(Token::new(34)? > Token::new(33)?, "who came later has the higher one");
/// assert!(Token::new(0).is_err());
/// # Ok::<_, fenced_lock::TokenOutOfRange>(())
/// ```
///
/// Source: Martin Kleppmann, "How to do distributed locking".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// A number that cannot be a fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no fencing token: they go from 1 to 2^53 - 1")]
pub struct TokenOutOfRange(pub u64);

impl Token {
    /// The largest token, 2⁵³ − 1.
    pub const MAX: u64 = (1 << 53) - 1;

    /// Parses a token, for example one that the storage told.
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
