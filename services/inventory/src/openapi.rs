//! What no handler tells of the OpenAPI 3.1 document: its title, the credentials, the shape of a problem. Checked in
//! as `docs/openapi/inventory.json`; a test compares the two. The laboratory's calls are not in it.

use service_kit::problem::Problem;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

const BEARER: &str = "bearer";

/// The parts that no handler tells.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Holdfast: inventory",
        description = "Owns stock: registers fencing tokens, sets units aside, gives them back. Internal: every call wants the bearer token. Every failure is a problem (RFC 9457) with a `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem)),
    modifiers(&Credentials)
)]
pub struct Base;

/// One token opens every call.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme(BEARER, bearer);
        document.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    }
}
