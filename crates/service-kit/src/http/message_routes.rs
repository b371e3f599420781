//! `/v1/lab/messages/{topic}`: begins, reads and ends a recording of messages. Routed only where the lab is on.

use axum::{Json, Router, extract::Path, http::StatusCode, routing::put};

use crate::{
    http::problem::Problem,
    telemetry::messages::{self, Message},
};

/// A shorter topic would match almost every message.
const SHORTEST: usize = 3;

/// `PUT` begins, `GET` reads, `DELETE` ends.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/v1/lab/messages/{topic}", put(begin).get(read).delete(end))
}

async fn begin(Path(topic): Path<String>) -> Result<StatusCode, Problem> {
    if topic.len() < SHORTEST {
        return Err(Problem::not_found("a topic has at least three characters: name a SKU"));
    }
    messages::begin(topic);
    Ok(StatusCode::NO_CONTENT)
}

async fn read(Path(topic): Path<String>) -> Result<Json<Vec<Message>>, Problem> {
    messages::recorded(&topic).map(Json).ok_or_else(|| Problem::not_found("nobody records this topic; begin with PUT"))
}

async fn end(Path(topic): Path<String>) -> StatusCode {
    messages::end(&topic);
    StatusCode::NO_CONTENT
}
