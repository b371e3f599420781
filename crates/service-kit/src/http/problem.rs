//! Failures as RFC 9457 problem details. A problem says what went wrong, in
//! words for people and a code for programs, and whether trying again may help.
//! It never carries an internal error: those are logged, and named by `trace_id`.

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

/// What every problem has.
const RESERVED_MEMBERS: [&str; 8] = ["type", "title", "status", "detail", "instance", "code", "retryable", "trace_id"];

/// What a retry after a passing trouble should wait at least.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Ten thousand wrong lines must not make an answer of a megabyte.
const MAX_FIELD_ERRORS: usize = 256;

/// One failure, ready to be sent as `application/problem+json`.
///
/// `instance` and `trace_id` are those of the request it is sent in.
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

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body, such as `/lines/0/quantity`;
    /// `/query/…` and `/headers/…` name what is not in the body.
    #[schema(example = "/lines/0/quantity")]
    pub pointer: String,
    /// What is wrong with it.
    #[schema(example = "lower than 1")]
    pub detail: String,
}

impl Problem {
    /// A problem that a retry does not cure. `code` is what programs match on,
    /// `title` is the same for every problem of that code, `detail` is not.
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

    /// As [`Problem::retryable`], and says when: `Retry-After`, in whole seconds, rounded up.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self.retryable()
    }

    /// Adds a member. One whose value is no JSON is left out, and logged.
    ///
    /// # Panics
    /// In debug builds, if every problem has a member of this name already: it would be there twice.
    pub fn with(mut self, key: &'static str, value: impl Serialize) -> Self {
        debug_assert!(!RESERVED_MEMBERS.contains(&key), "every problem has a `{key}` already");
        match serde_json::to_value(value) {
            Ok(value) => {
                self.details.extensions.more.insert(key.to_owned(), value);
            }
            Err(error) => tracing::error!(%error, key, "a member of a problem is no JSON"),
        }
        self
    }

    /// The HTTP status it is sent with.
    pub fn status(&self) -> StatusCode {
        self.details.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What programs match on.
    pub fn code(&self) -> &'static str {
        self.details.extensions.code
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.details.extensions.retryable
    }
}

/// The problems that every service has.
impl Problem {
    /// 400: the body or a header cannot be read at all.
    pub fn malformed_json(detail: impl Into<String>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, "malformed_json", "The body is not JSON", detail)
    }

    /// 422: JSON, but not what was asked for. Every field is named in `errors`;
    /// of a great many, the first ones are, and `errors_left_out` counts the rest.
    pub fn validation_failed<'a>(errors: impl Into<Cow<'a, [FieldError]>>) -> Self {
        let errors = errors.into();
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let detail = match &*errors {
            [whole] if whole.pointer.is_empty() => whole.detail.clone(),
            [only] => format!("{}: {}", only.pointer, only.detail),
            many => format!("{} fields are not acceptable", many.len()),
        };
        let left_out = errors.len().saturating_sub(MAX_FIELD_ERRORS);
        let sent = &errors[..errors.len() - left_out];
        let problem = Self::new(status, "validation_failed", "Validation failed", detail).with("errors", sent);
        match left_out {
            0 => problem,
            more => problem.with("errors_left_out", more),
        }
    }

    /// 415: the body is not declared to be JSON.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Unsupported media type",
            "the body must be sent as application/json",
        )
    }

    /// 413: longer than `limit` bytes.
    pub fn body_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "Body too large",
            format!("the body must not be longer than {limit} bytes"),
        )
    }

    /// 408: the body did not arrive in time.
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "Request timeout", "the body did not arrive in time")
            .retryable()
    }

    /// 404: no such path, or nothing of that name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// 405: the path exists, the method does not; `Allow` tells which do.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "the Allow header names the methods of this path",
        )
    }

    /// 401: no credentials, or wrong ones. Which of both is not told.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", "a valid bearer token is needed")
    }

    /// 429: more requests at once than this replica works on.
    pub fn overloaded() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", "Overloaded", "too many requests are being worked on")
            .retry_after(DEFAULT_RETRY_AFTER)
    }

    /// 503: `name` does not answer, and nothing can be decided without it.
    pub fn dependency_unavailable(name: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "dependency_unavailable",
            "A dependency is unavailable",
            format!("{name} does not answer"),
        )
        .retry_after(DEFAULT_RETRY_AFTER)
    }

    /// 504: the caller has less time left than this takes. It may have been done, or not.
    pub fn deadline_exceeded() -> Self {
        let detail = "it could not be done in the time that the caller has left";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", "The caller's deadline", detail)
            .retry_after(DEFAULT_RETRY_AFTER)
    }

    /// 500: a defect. What it was is in the log, under the `trace_id`.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "this should not have happened; the log knows more",
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
        let Self { mut details, retry_after } = self;
        details.instance = trace::current_path().and_then(|path| Uri::try_from(&*path).ok());
        details.extensions.trace_id = trace::current_trace_id();
        let unauthorized = details.status == Some(StatusCode::UNAUTHORIZED);

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
        response
    }
}
