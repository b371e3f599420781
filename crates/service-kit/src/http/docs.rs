//! The OpenAPI document of a service, and the page to browse it without any
//! network: what all services say alike is said here. What else the document
//! says is the service's business, and stands at its handlers.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, Router, response::IntoResponse as _, routing::get};
use utoipa::{
    IntoResponses, OpenApi as _, ToSchema as _,
    openapi::{
        ContentBuilder, Info, License, OpenApi, Ref, RefOr, Response, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::http::problem::Problem;

/// Where the document is served.
pub const DOCUMENT: &str = "/openapi.json";
/// Where it can be browsed.
pub const PAGE: &str = "/docs";
const BEARER: &str = "bearer";
const LICENSE: &str = "MIT OR Apache-2.0";

/// [`DOCUMENT`] and [`PAGE`], for everybody: no credentials are asked for.
pub fn pages(document: OpenApi) -> Router {
    // The validator would be asked over the network.
    let config = Config::from(DOCUMENT).validator_url("none");
    let page = SwaggerUi::new(PAGE).config(config);
    // Routes are copied for every connection; the document, which is large, must not be.
    let document = Arc::new(document);
    Router::new().route(DOCUMENT, get(async move || Json(document.as_ref()).into_response())).merge(page)
}

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Base;

/// A document without a call yet: what the service is, and the shape of a problem.
pub fn document(title: &str, description: &str) -> OpenApi {
    let mut license = License::new(LICENSE);
    license.identifier = Some(LICENSE.to_owned());
    let mut info = Info::new(title, env!("CARGO_PKG_VERSION")); // one for the workspace
    (info.description, info.license) = (Some(description.to_owned()), Some(license));
    let mut document = Base::openapi();
    document.info = info;
    document
}

/// The same, of a service all of whose calls want the bearer token.
pub fn document_with_bearer(title: &str, description: &str) -> OpenApi {
    let mut document = document(title, description);
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme(BEARER, bearer);
    document.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    document
}

/// How any call can fail. What a call says of the same status after this counts.
#[derive(Debug)]
pub struct CommonErrors;

/// How any call can fail that takes a body.
#[derive(Debug)]
pub struct CommonBodyErrors;

/// How any call between services can fail: it wants the bearer token, and its
/// caller may say how long it waits.
#[derive(Debug)]
pub struct CommonAuthErrors;

impl IntoResponses for CommonErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([(429, "overloaded"), (500, "internal"), (503, "dependency_unavailable")])
    }
}

impl IntoResponses for CommonBodyErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([
            (400, "malformed_json"),
            (408, "request_timeout: the body came too slowly"),
            (413, "body_too_large"),
            (415, "unsupported_media_type"),
            (422, "validation_failed"),
        ])
    }
}

impl IntoResponses for CommonAuthErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([(401, "unauthorized"), (504, "deadline_exceeded: less time was left than this takes")])
    }
}

fn problems<const N: usize>(statuses: [(u16, &str); N]) -> BTreeMap<String, RefOr<Response>> {
    let problem = |description: &str| {
        let shape = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
        ResponseBuilder::new().description(description).content("application/problem+json", shape).build()
    };
    statuses.map(|(status, description)| (status.to_string(), problem(description).into())).into()
}
