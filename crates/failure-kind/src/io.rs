//! Errors of sockets.

use std::io::{Error, ErrorKind};

use crate::FailureKind;

impl FailureKind {
    /// The kind of an error of a socket. An error that does not tell whether a connection existed counts as
    /// [`FailureKind::Gone`]: the request may have been executed.
    pub fn of_io(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::NotFound
            | ErrorKind::PermissionDenied => Self::Unreachable,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::Silent,
            _ => Self::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_error_has_the_kind_of_what_happened_to_the_connection() {
        let kind = |kind: ErrorKind| FailureKind::of_io(&kind.into());
        assert_eq!(kind(ErrorKind::ConnectionRefused), FailureKind::Unreachable);
        assert_eq!(kind(ErrorKind::TimedOut), FailureKind::Silent);
        assert_eq!(kind(ErrorKind::ConnectionReset), FailureKind::Gone);
        assert_eq!(kind(ErrorKind::Other), FailureKind::Gone);
    }
}
