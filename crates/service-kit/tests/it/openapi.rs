//! The schema of a problem, compared with the JSON that is sent.

use axum::Router;
use service_kit::problem::Problem;
use utoipa::OpenApi;

use crate::server::Server;

#[derive(OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Document;

#[tokio::test]
async fn the_schema_requires_what_every_problem_has() {
    let document = serde_json::to_value(Document::openapi()).expect("JSON");
    let schemas = &document["components"]["schemas"];
    let mut required: Vec<_> = schemas["Problem"]["required"]
        .as_array()
        .expect("required members")
        .iter()
        .map(|name| name.as_str().unwrap_or_default().to_owned())
        .collect();
    required.sort();

    let server = Server::start(Router::new()).await;
    let problem = server.get("/nothing").await.problem(404, "not_found");
    let mut sent: Vec<_> = problem.as_object().expect("members").keys().cloned().collect();
    sent.sort();
    assert_eq!(sent, required);
    assert!(schemas["FieldError"]["properties"]["pointer"].is_object(), "{schemas}");
}
