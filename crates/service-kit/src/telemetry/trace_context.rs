//! W3C trace context: read from the `traceparent` header, written to it, or
//! begun here. `tracestate` is not carried. Source: W3C Trace Context, level 1.
//!
//! OpenTelemetry's propagator reads and writes the header. It also accepts fields
//! that are too short or have a sign, so the form is checked first.

use std::collections::HashMap;

use axum::http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::TextMapPropagator as _,
    trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceState},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{IdGenerator as _, RandomIdGenerator},
};

const TRACEPARENT: &str = "traceparent";
/// Lengths of the fields that every version has: version, trace id, span id, flags.
const FIELD_LENGTHS: [usize; 4] = [2, 32, 16, 2];
/// The length of a header of version `00`, which has no more than these fields.
const VERSION_00_LENGTH: usize = 55;

/// The caller's span. `None` without a valid header, and with two of them
/// (W3C Trace Context, 3.2.2).
pub(crate) fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    parse(value.to_str().ok()?)
}

fn parse(header: &str) -> Option<SpanContext> {
    if !is_well_formed(header) {
        return None;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), header.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

fn is_well_formed(header: &str) -> bool {
    let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fields = header.split('-').zip(FIELD_LENGTHS);
    let good = fields.filter(|(field, length)| field.len() == *length && field.bytes().all(is_lower_hex));
    good.count() == FIELD_LENGTHS.len() && (header.len() == VERSION_00_LENGTH || !header.starts_with("00"))
}

/// The `traceparent` header of a span.
pub(crate) fn traceparent(span: SpanContext) -> Option<String> {
    let mut carrier = HashMap::new();
    let context = Context::new().with_remote_span_context(span);
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// A new span: in the caller's trace, with its flags, or the first of a trace
/// that is not recorded.
pub(crate) fn new_span(caller: Option<&SpanContext>) -> SpanContext {
    let ids = RandomIdGenerator::default();
    let (trace_id, flags) = caller.map_or_else(
        || (ids.new_trace_id(), TraceFlags::default()),
        |caller| (caller.trace_id(), caller.trace_flags()),
    );
    SpanContext::new(trace_id, ids.new_span_id(), flags, false, TraceState::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        let read = parse(GOOD).expect("a good traceparent");
        assert_eq!(read.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(traceparent(read).as_deref(), Some(GOOD));
    }

    #[test]
    fn a_new_span_keeps_the_callers_trace_and_flags() {
        let caller = parse(GOOD).expect("a good traceparent");
        let span = new_span(Some(&caller));
        assert_eq!((span.trace_id(), span.trace_flags()), (caller.trace_id(), caller.trace_flags()));
        assert_ne!(span.span_id(), caller.span_id());
    }

    #[test]
    fn a_span_without_a_caller_begins_a_valid_trace() {
        let (one, another) = (new_span(None), new_span(None));
        assert!(one.is_valid() && another.is_valid());
        assert_ne!(one.trace_id(), another.trace_id());
        assert!(!one.is_sampled());
    }

    #[test]
    fn an_invalid_header_is_ignored() {
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let bad = [
            "",
            "00",
            "é",
            zero_trace,
            zero_span,
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0x", 1),
            &GOOD.replace('-', "_"),
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}-00"),
            &format!("{GOOD}0"),
            &format!("{}00", GOOD.replacen("00", "01", 1)),
            &GOOD.replacen("-4b", "-+b", 1),
            "00-4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7--01-",
        ];
        for header in bad {
            assert_eq!(parse(header), None, "{header:?}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("{}-more", GOOD.replacen("00", "01", 1));
        let read = parse(&later).expect("a later version");
        assert_eq!(traceparent(read).as_deref(), Some(GOOD));
    }
}
