//! Who may call: one shared bearer token between services. No users, no roles.

use std::{convert::Infallible, str::FromStr};

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::http::problem::Problem;

/// A secret that opens a service. Not shown by `Debug`, wiped when dropped.
/// An empty one opens nothing.
#[derive(Debug, Clone)]
pub struct BearerToken(SecretString);

impl BearerToken {
    /// Takes the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(SecretString::from(secret.into()))
    }

    /// The secret, for the one place that sends it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Takes as long for a near miss as for a wild guess; only the length shows.
    fn matches(&self, credentials: &[u8]) -> bool {
        let secret = self.expose().as_bytes();
        !secret.is_empty() && bool::from(secret.ct_eq(credentials))
    }
}

impl From<String> for BearerToken {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl From<&str> for BearerToken {
    fn from(secret: &str) -> Self {
        Self::new(secret)
    }
}

impl FromStr for BearerToken {
    type Err = Infallible;

    fn from_str(secret: &str) -> Result<Self, Infallible> {
        Ok(Self::new(secret))
    }
}

/// Middleware for [`axum::middleware::from_fn_with_state`]: passes requests with
/// `Authorization: Bearer <token>` on and answers all others 401 `unauthorized`.
pub async fn require_bearer(State(token): State<BearerToken>, request: Request, next: Next) -> Response {
    if credentials(&request).is_some_and(|credentials| token.matches(credentials)) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}

/// The scheme is case-insensitive (RFC 9110, 11.1), the token is not.
fn credentials(request: &Request) -> Option<&[u8]> {
    let value = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}
