//! Who may call: one shared bearer token between services. No users, no roles.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    str::FromStr,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::future::Either;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tower::{Layer, Service};

use crate::problem::Problem;

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
    fn opens_with(&self, offered: &[u8]) -> bool {
        let secret = self.expose().as_bytes();
        !secret.is_empty() && bool::from(secret.ct_eq(offered))
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

/// A layer that lets only `Authorization: Bearer <token>` through, and answers
/// 401 `unauthorized` to everybody else.
pub fn require_bearer(token: impl Into<BearerToken>) -> RequireBearer {
    RequireBearer { token: token.into() }
}

/// Made by [`require_bearer`].
#[derive(Debug, Clone)]
pub struct RequireBearer {
    token: BearerToken,
}

impl<S> Layer<S> for RequireBearer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { token: self.token.clone(), inner }
    }
}

/// A service behind [`RequireBearer`].
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    token: BearerToken,
    inner: S,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if offered(&request).is_some_and(|offered| self.token.opens_with(offered)) {
            Either::Left(self.inner.call(request))
        } else {
            Either::Right(ready(Ok(Problem::unauthorized().into_response())))
        }
    }
}

/// The scheme is case-insensitive (RFC 9110, 11.1), the token is not.
fn offered(request: &Request) -> Option<&[u8]> {
    let value = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}
