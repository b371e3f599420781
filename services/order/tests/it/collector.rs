//! An OpenTelemetry collector of spans: it keeps what both services send. No test here.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message as _;
use tokio::net::TcpListener;

/// Listens until the end of the test.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    seen: Seen,
}

/// A span, and the service that sent it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) service: String,
    pub(crate) span: Span,
}

type Seen = Arc<Mutex<Vec<Sent>>>;

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Seen::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, seen }
    }

    /// All spans of one trace.
    pub(crate) fn trace(&self, id: &str) -> Vec<Sent> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().filter(|sent| hex(&sent.span.trace_id) == id).cloned().collect()
    }
}

async fn take(State(seen): State<Seen>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.expect("a resource");
        let name = resource.attributes.into_iter().find(|attribute| attribute.key == "service.name");
        let name = name.and_then(|attribute| attribute.value).and_then(|value| value.value);
        let Some(Value::StringValue(service)) = name else { return StatusCode::BAD_REQUEST };
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        let sent = spans.map(|span| Sent { service: service.clone(), span });
        seen.lock().expect("no panic").extend(sent);
    }
    StatusCode::OK
}

pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
