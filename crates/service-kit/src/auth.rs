//! Credentials between services: one bearer token, compared in constant time.
//! Absence: no user accounts; the public face is not authenticated here.

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::problem::Problem;

/// The token both sides know. `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct BearerToken(SecretString);

impl BearerToken {
    /// Wraps a token as it stands in the environment.
    pub fn new(token: impl Into<String>) -> Self {
        Self(SecretString::from(token.into()))
    }

    fn admits(&self, request: &Request) -> bool {
        let value = request
            .headers()
            .get(header::AUTHORIZATION)
            .map(axum::http::HeaderValue::as_bytes);
        let offered = value.and_then(|v| v.strip_prefix(b"Bearer "));
        offered.is_some_and(|offered| self.0.expose_secret().as_bytes().ct_eq(offered).into())
    }
}

/// For `axum::middleware::from_fn_with_state(token, require_bearer)`.
pub async fn require_bearer(
    State(token): State<BearerToken>,
    request: Request,
    next: Next,
) -> Response {
    if token.admits(&request) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}
