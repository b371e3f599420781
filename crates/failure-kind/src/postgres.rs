//! Errors of sqlx over Postgres, recognised by SQLSTATE and never by a message.
//! Source of the codes: PostgreSQL manual, appendix A.

use sqlx::Error;

use crate::FailureKind;

impl FailureKind {
    /// The kind of an error of Postgres. A code that names a rule of the schema is [`FailureKind::WrongAnswer`]; callers
    /// that have such rules recognise them first.
    pub fn of_postgres(error: &Error) -> Self {
        match error {
            Error::Io(error) => Self::of_io(error),
            // The pool waited for a connection and none became free or could be made in time.
            Error::PoolTimedOut => Self::Silent,
            Error::PoolClosed | Error::WorkerCrashed => Self::Gone,
            Error::Tls(_) => Self::Unreachable,
            Error::Database(error) => error.code().map_or(Self::WrongAnswer, |code| of_sqlstate(&code)),
            _ => Self::WrongAnswer,
        }
    }
}

fn of_sqlstate(code: &str) -> FailureKind {
    match code {
        "25006" => FailureKind::ReadOnly,
        // The server ends the session: admin_shutdown, crash_shutdown, database_dropped, idle_session_timeout,
        // idle_in_transaction_session_timeout, transaction_timeout.
        "57P01" | "57P02" | "57P04" | "57P05" | "25P03" | "25P04" => FailureKind::Gone,
        // cannot_connect_now: the server starts, stops or recovers.
        "57P03" => FailureKind::Unreachable,
        // lock_not_available, query_canceled (also statement_timeout).
        "55P03" | "57014" => FailureKind::Refused,
        _ => match code.get(..2) {
            Some("08") => FailureKind::Gone,
            // invalid_authorization_specification; 3D: the database does not exist.
            Some("28" | "3D") => FailureKind::Unreachable,
            // 40: rolled back (serialisation, deadlock); 53: resources (connections, memory, disk).
            Some("40" | "53") => FailureKind::Refused,
            _ => FailureKind::WrongAnswer,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_has_one_kind() {
        for (code, kind) in [
            ("25006", FailureKind::ReadOnly),
            ("57P01", FailureKind::Gone),
            ("57P03", FailureKind::Unreachable),
            ("08006", FailureKind::Gone),
            ("28P01", FailureKind::Unreachable),
            ("40P01", FailureKind::Refused),
            ("53300", FailureKind::Refused),
            ("57014", FailureKind::Refused),
            ("23505", FailureKind::WrongAnswer),
            ("", FailureKind::WrongAnswer),
        ] {
            assert_eq!(of_sqlstate(code), kind, "{code}");
        }
    }
}
