//! An answer as it goes over the wire, down to the byte: what is stored under
//! an idempotency key is exactly what was sent.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};

use crate::domain::error::OrderError;

/// More than any answer of this service.
const LARGEST: usize = 1 << 20;
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Status, the headers that matter, and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// `application/json` or `application/problem+json`.
    pub content_type: String,
    /// Where the order is, if one was created.
    pub location: Option<String>,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// 201 with the order.
    ///
    /// # Errors
    /// The order cannot be written as JSON, which would be a defect.
    pub fn created(location: String, order: &impl serde::Serialize) -> Result<Self, OrderError> {
        let body = serde_json::to_vec(order).map_err(|_| OrderError::Defect("an order that is no JSON"))?;
        let content_type = "application/json".to_owned();
        Ok(Self { status: StatusCode::CREATED, content_type, location: Some(location), body })
    }

    /// What this response would send. Its other headers are left behind.
    pub async fn of(response: impl IntoResponse) -> Self {
        let (parts, body) = response.into_response().into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Self {
            status: parts.status,
            content_type: content_type.unwrap_or("application/json").to_owned(),
            location: None,
            body: to_bytes(body, LARGEST).await.map(Vec::from).unwrap_or_default(),
        }
    }

    /// The same answer once more, marked as such in a header.
    pub fn replayed(self) -> Response<Body> {
        let mut response = self.into_response();
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        if let Ok(content_type) = HeaderValue::from_str(&self.content_type) {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        if let Some(location) = self.location.and_then(|at| HeaderValue::from_str(&at).ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}
