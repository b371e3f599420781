//! Problems for the failures that no handler answers: panics, unknown paths,
//! wrong methods and the framework's own rejections.

use std::any::Any;

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::http::problem::Problem;

const NO_SUCH_PATH: &str = "no route has this path; check it against the OpenAPI document of the service";

/// Answers a path that no route has.
pub(crate) async fn unknown_path() -> Problem {
    Problem::not_found(NO_SUCH_PATH)
}

/// Answers a method that the route does not have.
pub(crate) async fn wrong_method() -> Problem {
    Problem::method_not_allowed()
}

/// Answers a request whose handler panicked. The panic hook has logged the panic.
pub(crate) fn panic_response(_payload: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal().into_response()
}

/// Replaces a failure without a JSON body by a problem of the same status. Headers
/// that do not describe the body are kept.
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
        StatusCode::NOT_FOUND => Problem::not_found(NO_SUCH_PATH),
        StatusCode::METHOD_NOT_ALLOWED => Problem::method_not_allowed(),
        StatusCode::REQUEST_TIMEOUT => Problem::request_timeout(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::unsupported_media_type(),
        StatusCode::TOO_MANY_REQUESTS => Problem::overloaded(),
        status if status.is_server_error() => Problem::internal(),
        status => Problem::new(
            status,
            "bad_request",
            "Bad request",
            "the request could not be parsed; check its headers and body",
        ),
    }
}
