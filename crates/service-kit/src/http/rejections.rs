//! The safety net: failures that leave the router as anything but a problem (a
//! panic, an unknown path, a rejection of the framework) become one here.

use std::any::Any;

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::http::problem::Problem;

/// No route has that path.
pub(crate) async fn unknown_path() -> Problem {
    Problem::not_found("there is nothing under this path")
}

/// A route has that path, but not that method.
pub(crate) async fn wrong_method() -> Problem {
    Problem::method_not_allowed()
}

/// The panic itself was logged where it happened, by the panic hook.
pub(crate) fn panic_response(_payload: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal().into_response()
}

/// Turns a failure in plain text into a problem of the same status. Headers that
/// do not speak of the body are kept.
pub(crate) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || is_json(response.headers()) {
        return response;
    }
    let mut headers = response.headers().clone();
    for body_header in
        [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING]
    {
        headers.remove(body_header);
    }
    let mut replaced = problem_of(status).into_response();
    for (name, value) in &headers {
        replaced.headers_mut().insert(name, value.clone());
    }
    replaced
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().ends_with(b"json"))
}

fn problem_of(status: StatusCode) -> Problem {
    match status {
        StatusCode::UNAUTHORIZED => Problem::unauthorized(),
        StatusCode::NOT_FOUND => Problem::not_found("there is nothing under this path"),
        StatusCode::METHOD_NOT_ALLOWED => Problem::method_not_allowed(),
        StatusCode::REQUEST_TIMEOUT => Problem::request_timeout(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::unsupported_media_type(),
        StatusCode::TOO_MANY_REQUESTS => Problem::overloaded(),
        status if status.is_server_error() => Problem::internal(),
        status => Problem::new(status, "bad_request", "Bad request", "the request cannot be understood"),
    }
}
