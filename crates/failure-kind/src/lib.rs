//! How a dependency fails, in six kinds that hold for every dependency.
//!
//! A kind answers two questions of every caller: may the connection be used again ([`FailureKind::ends_connection`]),
//! and is it an outage, which heals by itself ([`FailureKind::is_outage`]). Errors of sockets and of Postgres, which several
//! crates meet, are mapped to kinds here; those of a library that one crate uses, next to its client there. A new kind of
//! failure is a variant of [`FailureKind`] and the lines that recognise it.
//!
//! Absence: nothing is retried, closed or logged here; the caller does so.

mod io;
#[cfg(feature = "postgres")]
mod postgres;

use strum::IntoStaticStr;

/// How a dependency failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum FailureKind {
    /// No connection could be made: nothing listens there, the name has no address, TLS or the credentials were refused.
    Unreachable,
    /// A connection that existed has ended, or the server has announced that it ends it.
    Gone,
    /// No answer within the deadline. The connection may be dead without either side having been told.
    Silent,
    /// The dependency answered that it will not do this now: too many connections, out of memory, a lock or statement
    /// timeout, a serialisation failure, a full queue. It executed nothing.
    Refused,
    /// The server accepts no writes: a standby, or the old primary after a fail-over. It executed nothing, and will
    /// accept no write on this connection.
    ReadOnly,
    /// An answer that the protocol does not foresee: a defect of the caller, of the dependency or of its configuration.
    WrongAnswer,
}

impl FailureKind {
    /// The name in metrics and logs: `unreachable`, `read_only`, …
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The connection must be closed, and never be used for another request.
    pub const fn ends_connection(self) -> bool {
        match self {
            Self::Unreachable | Self::Gone | Self::Silent | Self::ReadOnly => true,
            Self::Refused | Self::WrongAnswer => false,
        }
    }

    /// The dependency is unavailable, and the same request may succeed later. [`FailureKind::WrongAnswer`] is a defect
    /// that time does not mend.
    pub const fn is_outage(self) -> bool {
        !matches!(self, Self::WrongAnswer)
    }
}
