//! What no handler tells of the OpenAPI 3.1 document. Checked in as
//! `docs/openapi/order.json`; a test compares the two.

use service_kit::problem::Problem;
use utoipa::OpenApi;

/// The parts that no handler tells.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Holdfast: orders",
        description = "Places orders under a distributed lock. Every failure is a problem (RFC 9457) with a `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem))
)]
pub struct Base;
