//! axum's extractors with problems as rejections. A handler that uses them answers
//! no malformed input itself.

use std::error::Error as _;

use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::QueryRejection},
    http::{HeaderMap, header, request::Parts},
};
use garde::Validate;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::http::{
    body,
    problem::{FieldError, Problem},
};

/// A message may quote the input; longer messages are truncated.
const MAX_DETAIL_CHARS: usize = 300;

/// A JSON body that was parsed and validated.
///
/// # Rejections
/// 415 for another media type or a content encoding, 413 for a body that is too large, 408 for one that is
/// too slow, 400 `malformed_json` for text that is not JSON, 422 `validation_failed`
/// for JSON of the wrong shape (the first such field, as serde stops there) or with
/// values out of range (every such field).
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        if !is_identity(request.headers()) {
            return Err(Problem::unsupported_content_encoding());
        }
        let bytes = body::read(request).await?;
        let value: T = parse(&bytes)?;
        value.validate().map_err(|report| {
            let errors = report.into_inner().into_iter();
            let named = errors
                .map(|(path, error)| FieldError { pointer: pointer(&path.to_string()), detail: error.to_string() });
            Problem::validation_failed(named.collect::<Vec<_>>())
        })?;
        Ok(Self(value))
    }
}

/// Parameters of the path. A value that does not parse is 404 `not_found`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status().is_client_error() => {
                tracing::debug!(%rejection, "path parameter does not parse: answered 404");
                Err(Problem::not_found("no resource can have this identifier; check its format"))
            }
            Err(rejection) => {
                tracing::error!(%rejection, "handler and route disagree on path parameters: answered 500");
                Err(Problem::internal())
            }
        }
    }
}

/// The query string. A parameter that does not parse is 422 `validation_failed`, with
/// a pointer such as `/query/limit`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::validation_failed(vec![query_error(&rejection)])),
        }
    }
}

/// No `Content-Encoding` but `identity`, in however many headers and list elements.
fn is_identity(headers: &HeaderMap) -> bool {
    let declared = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut encodings = declared.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    encodings
        .all(|encoding| matches!(encoding.trim_ascii(), b"") || encoding.trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// `application/json` or `application/…+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE);
    let Some(declared) = declared.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = declared.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| (pointer(&error.path().to_string()), error.into_inner()));
    let trailing = |error| (String::new(), error);
    let ended = parsed.and_then(|value| json.end().map(|()| value).map_err(trailing));
    ended.map_err(|(pointer, error)| match error.classify() {
        Category::Data => Problem::validation_failed(vec![data_error(pointer, &error)]),
        Category::Syntax | Category::Eof | Category::Io => Problem::malformed_json(truncated(&error.to_string())),
    })
}

/// Serde reports a missing field at the object that lacks it; the pointer gets the field's name.
fn data_error(mut pointer: String, error: &serde_json::Error) -> FieldError {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&position).unwrap_or(&message);
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    if let Some(field) = missing {
        pointer.push('/');
        pointer.push_str(&escaped(field));
    }
    FieldError { pointer, detail: truncated(message) }
}

fn query_error(rejection: &QueryRejection) -> FieldError {
    let mut message = rejection.body_text();
    let mut cause = rejection.source();
    while let Some(deeper) = cause {
        message = deeper.to_string();
        cause = deeper.source();
    }
    // "limit: invalid digit found in string", unless the error is not about one parameter.
    match message.split_once(": ") {
        Some((name, detail)) if !name.contains(' ') => {
            FieldError { pointer: format!("/query/{}", escaped(name)), detail: truncated(detail) }
        }
        _ => FieldError { pointer: "/query".to_owned(), detail: truncated(&message) },
    }
}

/// `lines[0].quantity` → `/lines/0/quantity`.
fn pointer(path: &str) -> String {
    let mut pointer = String::new();
    for part in path.split(['.', '[']) {
        let part = part.strip_suffix(']').unwrap_or(part);
        // serde_path_to_error writes "." for the whole document and "?" for an unknown part.
        if !part.is_empty() && part != "?" {
            pointer.push('/');
            pointer.push_str(&escaped(part));
        }
    }
    pointer
}

/// RFC 6901, section 3.
fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

fn truncated(message: &str) -> String {
    match message.char_indices().nth(MAX_DETAIL_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
