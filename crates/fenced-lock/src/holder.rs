//! The holder of a lock as another client reads it. Outdated before it is read: for display, never for
//! decisions.

use crate::Token;

/// The current holder of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub(crate) name: String,
    pub(crate) token: Option<Token>,
}

impl Holder {
    /// The [owner](crate::Grant::owner) of its grant: begins with the name of its client.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fencing token of its grant. Absent where the backend issues none, and where no quorum agrees
    /// on one.
    pub fn token(&self) -> Option<Token> {
        self.token
    }
}
