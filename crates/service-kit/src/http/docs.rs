//! The OpenAPI document of a service and the Swagger UI page that shows it without
//! network access. Here is what the documents of all services share; each operation
//! is documented at its handler.

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

/// The path of the document.
pub const DOCUMENT: &str = "/openapi.json";
/// The path of the page.
pub const PAGE: &str = "/docs";
const BEARER: &str = "bearer";
const LICENSE: &str = "MIT OR Apache-2.0";

/// The routes of [`DOCUMENT`], [`PAGE`] and `/`, which says what the service is. They require no credentials.
pub fn pages(document: OpenApi) -> Router {
    let about: Arc<str> = about(&document.info).into();
    // The default validator is a service on the internet.
    let config = Config::from(DOCUMENT).validator_url("none");
    let page = SwaggerUi::new(PAGE).config(config);
    // Routes are cloned for every connection; the document is large.
    let document = Arc::new(document);
    Router::new()
        .route("/", get(async move || about.to_string()))
        .route(DOCUMENT, get(async move || Json(document.as_ref()).into_response()))
        .merge(page)
}

/// What the service is and where everything else about it is, for a person with a browser or `curl`.
fn about(info: &Info) -> String {
    let description = info.description.as_deref().unwrap_or_default();
    let pages = [
        (PAGE, "every operation, with examples to try"),
        (DOCUMENT, "the same for programs (OpenAPI 3.1)"),
        ("/readyz", "200 while the service can answer requests"),
        ("/metrics", "metrics for Prometheus"),
    ];
    let mut text = format!("{} {}\n{description}\n\n", info.title, info.version);
    for (path, what) in pages {
        text += &format!("{path:<14}{what}\n");
    }
    text
}

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Base;

/// A document without operations: title, description, licence and the schema of a problem.
pub fn document(title: &str, description: &str) -> OpenApi {
    let mut license = License::new(LICENSE);
    license.identifier = Some(LICENSE.to_owned());
    let mut info = Info::new(title, env!("CARGO_PKG_VERSION")); // the workspace's
    (info.description, info.license) = (Some(description.to_owned()), Some(license));
    let mut document = Base::openapi();
    document.info = info;
    document
}

/// As [`document`], for a service whose operations all require the bearer token.
pub fn document_with_bearer(title: &str, description: &str) -> OpenApi {
    let mut document = document(title, description);
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme(BEARER, bearer);
    document.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    document
}

/// Failures of any operation. An operation that documents the same status later replaces the entry.
#[derive(Debug)]
pub struct CommonErrors;

/// Further failures of an operation with a request body.
#[derive(Debug)]
pub struct CommonBodyErrors;

/// Further failures of an operation between services, which requires the bearer
/// token and accepts a deadline.
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
            (408, "request_timeout: the body was not received in time"),
            (413, "body_too_large"),
            (415, "unsupported_media_type, unsupported_content_encoding"),
            (422, "validation_failed"),
        ])
    }
}

impl IntoResponses for CommonAuthErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems([(401, "unauthorized"), (504, "deadline_exceeded: the work did not finish in the caller's time")])
    }
}

fn problems<const N: usize>(statuses: [(u16, &str); N]) -> BTreeMap<String, RefOr<Response>> {
    let problem = |description: &str| {
        let shape = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
        ResponseBuilder::new().description(description).content("application/problem+json", shape).build()
    };
    statuses.map(|(status, description)| (status.to_string(), problem(description).into())).into()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_first_page_says_what_the_service_is_and_every_page_it_names_is_there() {
        let router = pages(document("Holdfast: tests", "Tests pages."));
        let get = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            router.clone().oneshot(request).await.expect("an answer")
        };
        let body = axum::body::to_bytes(get("/").await.into_body(), 4096).await.expect("a body");
        let text = std::str::from_utf8(&body).expect("text");
        assert!(text.starts_with("Holdfast: tests 0.1.0\nTests pages.\n\n/docs "), "{text}");
        for path in [PAGE, DOCUMENT] {
            assert!(text.contains(path) && !get(path).await.status().is_client_error(), "{path}");
        }
    }
}
