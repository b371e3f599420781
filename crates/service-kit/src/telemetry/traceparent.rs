//! The `traceparent` header: read it, write it, or make one up. Pure; what is
//! done with it is in `trace`. Source: W3C Trace Context, level 2, section 3.2.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
};

/// Length of `00-<32 hex>-<16 hex>-<2 hex>`.
const VERSION_0_LEN: usize = 55;

/// Which trace a request belongs to, and which span of it is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace_id: NonZeroU128,
    pub(crate) span_id: NonZeroU64,
    /// Bit 0: the caller records this trace. Passed on, never decided here.
    pub(crate) flags: u8,
}

impl TraceContext {
    /// The start of a trace.
    pub(crate) fn new() -> Self {
        // Flag bit 1: the trace id is random, so that it may be sampled by.
        let flags = 0b10;
        Self { trace_id: rand::random(), span_id: rand::random(), flags }
    }

    /// The same trace, one span deeper.
    pub(crate) fn child(self) -> Self {
        Self { span_id: rand::random(), ..self }
    }

    /// `None` for what the standard tells to ignore: another length, upper case,
    /// ids of zeros, version `ff`. A later version is read as far as it is known.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let version = hex(header.get(..2)?)?;
        let (known, rest) = header.split_at_checked(VERSION_0_LEN)?;
        match version {
            0xff => return None,
            0 if !rest.is_empty() => return None,
            _ if !(rest.is_empty() || rest.starts_with('-')) => return None,
            _ => {}
        }
        let mut parts = known.split('-').skip(1);
        let (trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || (trace_id.len(), span_id.len(), flags.len()) != (32, 16, 2) {
            return None;
        }
        Some(Self {
            trace_id: NonZeroU128::new(hex(trace_id)?)?,
            span_id: NonZeroU64::new(u64::try_from(hex(span_id)?).ok()?)?,
            flags: u8::try_from(hex(flags)?).ok()? & 0b11,
        })
    }

    /// 32 lower-case hex digits.
    pub(crate) fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// 16 lower-case hex digits.
    pub(crate) fn span_id(self) -> String {
        format!("{:016x}", self.span_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, flags } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// Lower-case digits only: `from_str_radix` alone would take `+` and `A`.
fn hex(digits: &str) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits.bytes().all(lower).then(|| u128::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        let read = TraceContext::parse(GOOD).expect("a good traceparent");
        assert_eq!(read.to_string(), GOOD);
        assert_eq!(read.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn a_child_keeps_trace_and_flags_and_has_its_own_span() {
        let parent = TraceContext::parse(GOOD).expect("a good traceparent");
        let child = parent.child();
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, parent.flags));
        assert_ne!(child.span_id, parent.span_id);
    }

    #[test]
    fn what_the_standard_calls_invalid_is_not_read() {
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
            &format!("{GOOD}-00"),
            &format!("{GOOD}0"),
            &format!("{}00", GOOD.replacen("00", "01", 1)),
            &GOOD.replacen("-4b", "-+b", 1),
            "00-4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7--01-",
        ];
        for header in bad {
            assert_eq!(TraceContext::parse(header), None, "{header:?}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("{}-more", GOOD.replacen("00", "01", 1));
        let read = TraceContext::parse(&later).expect("a later version");
        assert_eq!(read.to_string(), GOOD);
    }
}
