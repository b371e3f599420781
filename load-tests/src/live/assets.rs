//! The files of the page, which are part of the program. No build step: they are served as they are written.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Name, media type, and content.
const FILES: [(&str, &str, &str); 9] = [
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("page/app.js")),
    ("sale.js", "text/javascript; charset=utf-8", include_str!("page/sale.js")),
    ("chart.js", "text/javascript; charset=utf-8", include_str!("page/chart.js")),
    ("dom.js", "text/javascript; charset=utf-8", include_str!("page/dom.js")),
    ("steps.js", "text/javascript; charset=utf-8", include_str!("page/steps.js")),
    ("trace.js", "text/javascript; charset=utf-8", include_str!("page/trace.js")),
    ("quorum.js", "text/javascript; charset=utf-8", include_str!("page/quorum.js")),
    ("report.js", "text/javascript; charset=utf-8", include_str!("page/report.js")),
];
const PAGE: &str = include_str!("page/index.html");
/// Everything comes from this server, and no markup brings a script or a style of its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn page() -> Response {
    respond("text/html; charset=utf-8", PAGE)
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, media_type, content)) => respond(media_type, content),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn respond(media_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Another version of the program has another page at the same address.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}
