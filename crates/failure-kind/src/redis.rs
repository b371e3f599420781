//! Errors of the redis crate.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::FailureKind;

impl FailureKind {
    /// The kind of an error of a lock node.
    pub fn of_redis(error: &RedisError) -> Self {
        if error.is_connection_refusal() {
            return Self::Unreachable;
        }
        if error.is_timeout() {
            return Self::Silent;
        }
        if error.is_io_error() || error.is_connection_dropped() {
            return Self::Gone;
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Unreachable,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::Server(
                ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain | ServerErrorKind::MasterDown,
            ) => Self::Refused,
            // "max number of clients reached" comes as plain ERR and closes the connection.
            _ => match error.code() {
                Some("OOM" | "BUSY" | "NOREPLICAS" | "MISCONF") => Self::Refused,
                _ => Self::WrongAnswer,
            },
        }
    }
}
