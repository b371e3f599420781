//! Refuses what a browser sends on behalf of another site: the page can stop processes, and has no password.
//!
//! Invariant: a request with an `Origin` that is not this server, or that a browser marks as cross-site, changes
//! nothing and reads nothing. A name that somebody points at this machine (DNS rebinding) is another origin: a server
//! on a loopback address is addressed by `localhost` or by a loopback address.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

pub(super) async fn require(request: Request, next: Next) -> Response {
    if is_same_site(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "This request was sent for another site. Open the page itself.\n").into_response()
    }
}

fn is_same_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let from_browser = text(header::HeaderName::from_static("sec-fetch-site"));
    let origin = text(header::ORIGIN);
    let same_origin = origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, from)| from == host));
    is_name_of_a_server(host) && same_origin && from_browser.is_none_or(|site| matches!(site, "same-origin" | "none"))
}

/// `localhost`, an IP address, or a name without a dot, as containers have: none of them can be registered by somebody
/// else and pointed here.
fn is_name_of_a_server(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    !bare.is_empty() && (bare.parse::<IpAddr>().is_ok() || !bare.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(headers: &[(&'static str, &'static str)]) -> bool {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        is_same_site(&headers.collect())
    }

    #[test]
    fn the_page_itself_and_programs_are_allowed() {
        for host in ["127.0.0.1:8088", "localhost:8088", "[::1]:8088", "stage:8088", "192.168.1.7"] {
            assert!(allowed(&[("host", host)]), "{host}");
        }
        let page = [("host", "127.0.0.1:8088"), ("origin", "http://127.0.0.1:8088"), ("sec-fetch-site", "same-origin")];
        assert!(allowed(&page));
    }

    #[test]
    fn another_site_is_refused() {
        let here = ("host", "127.0.0.1:8088");
        assert!(!allowed(&[here, ("origin", "http://evil.example")]));
        assert!(!allowed(&[here, ("origin", "null")]));
        assert!(!allowed(&[here, ("sec-fetch-site", "cross-site")]));
        assert!(!allowed(&[here, ("sec-fetch-site", "same-site")]), "another port of this machine is another origin");
        assert!(!allowed(&[here, ("origin", "http://127.0.0.1:9000")]));
        assert!(!allowed(&[("host", "rebound.example:8088"), ("origin", "http://rebound.example:8088")]));
        assert!(!allowed(&[]));
    }
}
