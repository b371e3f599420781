//! Failures as RFC 9457 problem details: a text for people, a code for programs,
//! and whether a retry may succeed.
//!
//! Absence: no problem carries an internal error; the log has the error, under the
//! problem's `trace_id`.

use std::{borrow::Cow, fmt, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use problem_details::{JsonProblemDetails, ProblemDetails};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::telemetry::trace;

/// Members that every problem has; [`Problem::with`] must not add them again.
const RESERVED_MEMBERS: [&str; 8] = ["type", "title", "status", "detail", "instance", "code", "retryable", "trace_id"];

/// Of the one kind of 415 whose response has `Accept-Encoding` (RFC 9110, 12.5.3).
const UNSUPPORTED_CONTENT_ENCODING: &str = "unsupported_content_encoding";
/// The shortest wait before a retry, in `Retry-After`.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bounds the response: a body with 10,000 invalid lines must not get a megabyte back.
const MAX_FIELD_ERRORS: usize = 256;

/// One failure, sent as `application/problem+json`.
///
/// `instance` and `trace_id` are taken from the current request when the response is made.
#[derive(Debug, Clone)]
#[must_use = "a problem does nothing until it is returned"]
pub struct Problem {
    // Boxed, so that a `Result` with a problem stays small.
    details: Box<ProblemDetails<Members>>,
    retry_after: Option<Duration>,
}

/// The members beyond RFC 9457.
#[derive(Debug, Clone, Serialize)]
struct Members {
    code: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// One invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body, such as `/lines/0/quantity`.
    /// `/query/…` and `/headers/…` point to parameters and headers.
    #[schema(example = "/lines/0/quantity")]
    pub pointer: String,
    /// The reason, in words.
    #[schema(example = "lower than 1")]
    pub detail: String,
}

impl Problem {
    /// A problem that a retry does not solve. Programs match on `code`; `title` is
    /// the same for every problem of that code; `detail` describes this one.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let members = Members { code, retryable: false, trace_id: None, more: Map::new() };
        let details =
            ProblemDetails::from_status_code(status).with_title(title).with_detail(detail).with_extensions(members);
        let details = match Uri::try_from(format!("/problems/{code}")) {
            Ok(kind) => details.with_type(kind),
            Err(_not_a_uri) => details,
        };
        Self { details: Box::new(details), retry_after: None }
    }

    /// The same request may succeed later.
    pub fn retryable(mut self) -> Self {
        self.details.extensions.retryable = true;
        self
    }

    /// As [`Problem::retryable`], with a `Retry-After` header: whole seconds, rounded up.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self.retryable()
    }

    /// Adds a member. A value that cannot be JSON is left out and logged.
    ///
    /// # Panics
    /// In debug builds, if `key` is a member that every problem has: the JSON would contain it twice.
    pub fn with(mut self, key: &'static str, value: impl Serialize) -> Self {
        debug_assert!(!RESERVED_MEMBERS.contains(&key), "`{key}` is already a member of every problem");
        match serde_json::to_value(value) {
            Ok(value) => {
                self.details.extensions.more.insert(key.to_owned(), value);
            }
            Err(error) => tracing::error!(%error, key, "problem member could not be serialised and was left out"),
        }
        self
    }

    /// The HTTP status of the response.
    pub fn status(&self) -> StatusCode {
        self.details.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The machine-readable kind of problem.
    pub fn code(&self) -> &'static str {
        self.details.extensions.code
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.details.extensions.retryable
    }
}

/// The problems that every service can answer.
impl Problem {
    /// 400: the body is not JSON.
    pub fn malformed_json(detail: impl Into<String>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, "malformed_json", "Request body is not valid JSON", detail)
    }

    /// 422: JSON with invalid fields, listed in `errors`. Beyond 256 they are
    /// left out and counted in `errors_left_out`.
    pub fn validation_failed<'a>(errors: impl Into<Cow<'a, [FieldError]>>) -> Self {
        let errors = errors.into();
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let left_out = errors.len().saturating_sub(MAX_FIELD_ERRORS);
        let detail = match &*errors {
            [whole] if whole.pointer.is_empty() => whole.detail.clone(),
            [only] => format!("{}: {}", only.pointer, only.detail),
            all if left_out == 0 => format!("{} fields are invalid; `errors` lists them", all.len()),
            all => format!("{} fields are invalid; `errors` lists the first {MAX_FIELD_ERRORS}", all.len()),
        };
        let listed = &errors[..errors.len() - left_out];
        let problem = Self::new(status, "validation_failed", "Validation failed", detail).with("errors", listed);
        match left_out {
            0 => problem,
            more => problem.with("errors_left_out", more),
        }
    }

    /// 415: the content type is not JSON.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Unsupported media type",
            "the request body must be JSON, sent with the header Content-Type: application/json",
        )
    }

    /// 415: the body is compressed or otherwise encoded; `Accept-Encoding` names the encoding that is read.
    pub fn unsupported_content_encoding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            UNSUPPORTED_CONTENT_ENCODING,
            "Unsupported content encoding",
            "the request body must be sent as it is, without a Content-Encoding header or with identity",
        )
    }

    /// 413: longer than `limit` bytes.
    pub fn body_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "Request body too large",
            format!("the request body exceeds the limit of {limit} bytes; send a smaller one"),
        )
    }

    /// 408: the body was not received in time.
    pub fn request_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "Request body timed out",
            "the request body was not received in time; send the request again",
        )
        .retryable()
    }

    /// 404: no such path, or no resource of that name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// 405: the path has no such method; `Allow` lists those it has.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "this path does not have the method; the Allow header lists those it has",
        )
    }

    /// 401: the credentials are missing or wrong; the problem does not reveal which.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Unauthorized",
            "a valid bearer token is required in the header Authorization: Bearer TOKEN",
        )
    }

    /// 429: this replica is at its limit of concurrent work.
    pub fn overloaded() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "overloaded",
            "Service overloaded",
            "this replica is at its limit of concurrent requests; retry after the time in the Retry-After header",
        )
        .retry_after(DEFAULT_RETRY_AFTER)
    }

    /// 503: `name` does not answer, and the request cannot be decided without it.
    pub fn dependency_unavailable(name: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "dependency_unavailable",
            "Dependency unavailable",
            format!("{name} does not answer; retry after the time in the Retry-After header"),
        )
        .retry_after(DEFAULT_RETRY_AFTER)
    }

    /// 504: the work did not finish in the caller's time. It may take effect or not.
    pub fn deadline_exceeded() -> Self {
        let detail =
            "the work did not finish in the time given by Deadline-Ms and may still take effect; retry with more time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", "Caller's deadline exceeded", detail)
            .retry_after(DEFAULT_RETRY_AFTER)
    }

    /// 500: a defect, a panic included. The log has the cause under the `trace_id`.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "the service failed unexpectedly; its log has the cause under this trace_id",
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.details.detail.as_deref().unwrap_or_default();
        write!(f, "{} {}: {detail}", self.status().as_u16(), self.code())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(trace::current_path().as_deref(), trace::current_trace_id())
    }
}

impl Problem {
    /// The response to a request for `path` in this trace.
    pub(crate) fn respond(self, path: Option<&str>, trace_id: Option<String>) -> Response {
        let Self { mut details, retry_after } = self;
        details.instance = path.and_then(|path| Uri::try_from(path).ok());
        details.extensions.trace_id = trace_id;
        let unauthorized = details.status == Some(StatusCode::UNAUTHORIZED);
        let encoded = details.extensions.code == UNSUPPORTED_CONTENT_ENCODING;

        let mut response = JsonProblemDetails::from(*details).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if unauthorized {
            // RFC 9110, 15.5.2: a 401 names the scheme that would be accepted.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if encoded {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response
    }
}
