//! How a problem looks in an OpenAPI document. Never built: the shape exists
//! for its schema alone, and a test compares it with what is really sent.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::http::problem::{FieldError, Problem};

/// Why a request failed (RFC 9457), as `application/problem+json`. Other
/// members depend on the code.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "a shape for the schema, never a value")]
struct Shape {
    /// Names the kind of problem; a relative reference.
    #[schema(example = "/problems/validation_failed")]
    r#type: String,
    /// The kind of problem in words; the same for all of one kind.
    #[schema(example = "Validation failed")]
    title: String,
    /// The HTTP status, once more.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this very request.
    #[schema(example = "/lines/0/quantity: lower than 1")]
    detail: String,
    /// Path of the request.
    #[schema(example = "/v1/things")]
    instance: String,
    /// What programs match on.
    #[schema(example = "validation_failed")]
    code: String,
    /// Whether the same request may succeed later; `Retry-After` may say when.
    retryable: bool,
    /// Finds the request in logs and traces (W3C trace context).
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736", pattern = "^[0-9a-f]{32}$")]
    trace_id: String,
    /// The fields that are wrong, where the code is `validation_failed`.
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
