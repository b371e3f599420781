//! Extractors whose rejections are [`Problem`]s: body, path and query.
//! Invariant: what a handler receives was validated, and every field that was not acceptable is named.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use garde::Validate;
use serde::de::DeserializeOwned;

use crate::problem::{FieldError, Problem};

/// A JSON body that was parsed and validated.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

/// Path parameters; one that does not parse names nothing, so it is a 404.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

/// Query parameters.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        let limit = request
            .extensions()
            .get::<crate::limits::BodyLimit>()
            .map_or(0, |l| l.0);
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|e| unreadable(e, limit))?;
        let value: T = parse(&body)?;
        value
            .validate()
            .map_err(|report| Problem::validation_failed(&field_errors(&report)))?;
        Ok(Self(value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let essence = essence
        .and_then(|v| v.split(';').next())
        .map(|v| v.trim().to_ascii_lowercase());
    essence.is_some_and(|e| {
        e == "application/json" || (e.starts_with("application/") && e.ends_with("+json"))
    })
}

fn unreadable(rejection: BytesRejection, limit: usize) -> Problem {
    if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::body_too_large(limit);
    }
    Problem::malformed_json("the body ended before it was complete")
}

/// Not JSON at all is 400; JSON of another shape is 422 and names the field.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, inner) = (pointer(&error.path().to_string()), error.into_inner());
        match inner.classify() {
            serde_json::error::Category::Data => {
                let detail = inner.to_string();
                Problem::validation_failed(&[FieldError {
                    pointer: path,
                    detail,
                }])
            }
            _ => Problem::malformed_json(inner.to_string()),
        }
    })?;
    json.end()
        .map_err(|error| Problem::malformed_json(error.to_string()))?;
    Ok(value)
}

fn field_errors(report: &garde::Report) -> Vec<FieldError> {
    let named = |(path, error): &(garde::Path, garde::Error)| FieldError {
        pointer: pointer(&path.to_string()),
        detail: error.message().to_owned(),
    };
    report.iter().map(named).collect()
}

/// `lines[0].quantity` → `/lines/0/quantity`.
fn pointer(path: &str) -> String {
    let parts = path.split(['.', '[', ']']).filter(|part| !part.is_empty());
    parts.fold(String::new(), |pointer, part| {
        pointer + "/" + &part.replace('~', "~0").replace('/', "~1")
    })
}

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|e| Problem::not_found(e.body_text()))
    }
}

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|e| {
                let (pointer, detail) = (String::new(), e.body_text());
                Problem::validation_failed(&[FieldError { pointer, detail }])
            })
    }
}
