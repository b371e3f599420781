//! RFC 9457 problem details: the one shape of every failure.
//! Invariant: `code` is stable and `detail` is for the person who reads it. Absence: no source chain
//! leaves the process; that goes to the log.

use std::{fmt, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

/// A failure as the caller sees it (`application/problem+json`).
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retryable: bool,
    retry_after: Option<Duration>,
    members: Map<String, Value>,
}

/// One field that was not acceptable.
#[derive(Debug, Clone, Serialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) of the field.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// A problem with a stable `code`, not retryable.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (detail, members) = (detail.into(), Map::new());
        Self {
            status,
            code,
            title,
            detail,
            retryable: false,
            retry_after: None,
            members,
        }
    }
    /// The same request may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
    /// Sets `Retry-After` (whole seconds, at least 1) and [`Problem::retryable`].
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self.retryable()
    }
    /// Adds an extension member.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.members.insert(key.to_owned(), value);
        self
    }
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

/// The failures every service can meet.
impl Problem {
    /// 400: the body is not JSON.
    pub fn malformed_json(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_json",
            "The body is not valid JSON",
            detail,
        )
    }
    /// 422: every field that was not acceptable, by JSON pointer.
    pub fn validation_failed(errors: &[FieldError]) -> Self {
        let named: Vec<_> = errors
            .iter()
            .map(|e| format!("{}: {}", e.pointer, e.detail))
            .collect();
        let title = "The request is not acceptable";
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
            title,
            named.join("; "),
        )
        .with("errors", errors)
    }
    /// 415.
    pub fn unsupported_media_type() -> Self {
        let detail = "send the body with `Content-Type: application/json`";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body is not JSON",
            detail,
        )
    }
    /// 413.
    pub fn body_too_large(limit: usize) -> Self {
        let detail = format!("the body may have {limit} bytes at most");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is too large",
            detail,
        )
    }
    /// 404, for a thing or for a path.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is no such thing here",
            detail,
        )
    }
    /// 405.
    pub fn method_not_allowed() -> Self {
        let detail = "this path does not take that method; see /openapi.json";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            detail,
        )
    }
    /// 401.
    pub fn unauthorized() -> Self {
        let detail =
            "send `Authorization: Bearer …` with the token both services were configured with";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "No or wrong credentials",
            detail,
        )
    }
    /// 429 with `Retry-After`.
    pub fn overloaded() -> Self {
        let detail = "more requests are being worked on than this process takes at once";
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "overloaded",
            "Too much work at once",
            detail,
        )
        .retry_after(Duration::from_secs(1))
    }
    /// 503 with `Retry-After`: something this service leans on is away.
    pub fn dependency_unavailable(name: &str) -> Self {
        let detail =
            format!("{name} did not answer in time; nothing is known to have been written");
        let title = "Something this service leans on is away";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "dependency_unavailable",
            title,
            detail,
        )
        .retry_after(Duration::from_secs(1))
    }
    /// 500: our fault; the cause is in the log under the same `trace_id`.
    pub fn internal() -> Self {
        let detail =
            "this is a fault of the service; its log has the cause under the same trace_id";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            detail,
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::from_iter([
            ("type".to_owned(), format!("/problems/{}", self.code).into()),
            ("title".to_owned(), self.title.into()),
            ("status".to_owned(), self.status.as_u16().into()),
            ("detail".to_owned(), self.detail.into()),
            ("code".to_owned(), self.code.into()),
            ("retryable".to_owned(), self.retryable.into()),
        ]);
        if let Some(path) = crate::trace::current_path() {
            body.insert("instance".to_owned(), path.into());
        }
        if let Some(id) = crate::trace::current_trace_id() {
            body.insert("trace_id".to_owned(), id.into());
        }
        body.extend(self.members);
        let mut response = (self.status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
            );
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
