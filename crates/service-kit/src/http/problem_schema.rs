//! The OpenAPI schema of a problem. A test compares it with the JSON that is sent.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::http::problem::{FieldError, Problem};

/// The reason why a request failed (RFC 9457), as `application/problem+json`.
/// Further members depend on the code.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "exists for its schema, never as a value")]
struct Shape {
    /// The kind of problem, as a relative URI reference.
    #[schema(example = "/problems/validation_failed")]
    r#type: String,
    /// The kind of problem in words, the same for every problem of this kind.
    #[schema(example = "Validation failed")]
    title: String,
    /// The HTTP status of the response.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    status: u16,
    /// The reason why this request failed.
    #[schema(example = "/lines/0/quantity: lower than 1")]
    detail: String,
    /// Path of the request.
    #[schema(example = "/v1/things")]
    instance: String,
    /// The kind of problem, for programs to match on.
    #[schema(example = "validation_failed")]
    code: String,
    /// Whether the same request may succeed later, after `Retry-After` seconds if that header is sent.
    retryable: bool,
    /// The request's id in logs and traces (W3C trace context).
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736", pattern = "^[0-9a-f]{32}$")]
    trace_id: String,
    /// The invalid fields; present if the code is `validation_failed`.
    #[schema(required = false)]
    errors: Option<Vec<FieldError>>,
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Shape::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Problem")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Shape::schemas(schemas);
    }
}
