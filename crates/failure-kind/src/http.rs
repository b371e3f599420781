//! Errors of reqwest: the calls between services.

use reqwest::Error;

use crate::FailureKind;

impl FailureKind {
    /// The kind of an error of a call over HTTP. A response is no error, whatever its status.
    pub fn of_http(error: &Error) -> Self {
        if error.is_connect() {
            Self::Unreachable
        } else if error.is_timeout() {
            Self::Silent
        } else if error.is_decode() || error.is_builder() || error.is_redirect() {
            Self::WrongAnswer
        } else {
            Self::Gone
        }
    }
}
