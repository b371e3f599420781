//! The database of the advisory locks, and the limit on its sessions.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::backend::address::InvalidAddress;

/// A Postgres database: `postgres://user[:password]@host[:port]/database`. Databases of
/// one server do not share locks. `Debug` and `Display` never show the password.
#[derive(Clone)]
pub struct AdvisoryDatabase {
    options: PgConnectOptions,
    max_sessions: NonZeroUsize,
}

impl AdvisoryDatabase {
    /// Parses the address.
    pub fn parse(address: &str) -> Result<Self, InvalidAddress> {
        let rule = "postgres://user[:password]@host[:port]/database";
        let scheme = ["postgres://", "postgresql://"].iter().any(|scheme| address.trim().starts_with(scheme));
        let options = address.trim().parse().ok().filter(|_| scheme);
        let options = options.ok_or_else(|| InvalidAddress::new(address, "Postgres", rule))?;
        Ok(Self { options, max_sessions: NonZeroUsize::MIN.saturating_add(49) })
    }

    /// How many locks can be held or waited for at the same time: each needs a session of its own, and the server
    /// limits their number too (`max_connections`). 50 by default.
    #[must_use]
    pub fn with_max_sessions(self, max_sessions: NonZeroUsize) -> Self {
        Self { max_sessions, ..self }
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(super) fn max_sessions(&self) -> usize {
        self.max_sessions.get()
    }

    /// Host and port, the server's name in errors and metrics.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.options.get_host(), self.options.get_port())
    }
}

impl fmt::Display for AdvisoryDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}/{}", self.name(), self.options.get_database().unwrap_or_default())
    }
}

impl fmt::Debug for AdvisoryDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdvisoryDatabase({self})")
    }
}

impl FromStr for AdvisoryDatabase {
    type Err = InvalidAddress;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        Self::parse(address)
    }
}
