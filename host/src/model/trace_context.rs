//! The trace context of a record: its headers `traceparent` and `tracestate`, as W3C Trace Context defines their values
//! (<https://www.w3.org/TR/trace-context/>) and OpenTelemetry's Kafka clients write them.
//!
//! Producers choose these headers. A value is read only after its length was checked, and a bad one is no context.

use super::batch::{HEADER_BYTES, HeaderRef};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Length of a `traceparent` of version 00: `00-<32 digits>-<16 digits>-<2 digits>`.
const TRACEPARENT_BYTES: usize = 55;
/// Longest `traceparent` of a later version, which may add parts at the end.
const TRACEPARENT_BYTES_MAX: usize = 256;
/// Longest `tracestate`: the standard asks every system to pass on 512 characters, and allows it to drop a longer one.
const TRACESTATE_BYTES_MAX: usize = 512;

/// Bytes that a carried context adds to a record at most: see [`super::batch::header_bytes`].
pub const CARRIED_BYTES_MAX: usize =
    2 * HEADER_BYTES + TRACEPARENT.len() + TRACEPARENT_BYTES_MAX + TRACESTATE.len() + TRACESTATE_BYTES_MAX;

/// A valid trace context, as the bytes of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext<'a> {
    traceparent: &'a [u8],
    tracestate: Option<&'a [u8]>,
}

/// Returns true for the name of a header that belongs to a trace context.
pub fn is_trace_header(name: &[u8]) -> bool {
    name == TRACEPARENT.as_bytes() || name == TRACESTATE.as_bytes()
}

// === impl TraceContext ===

impl<'a> TraceContext<'a> {
    /// Finds the context in a record's headers. Of several headers with one name the last one counts, as for clients of
    /// Kafka. A `tracestate` that is too long or no text is left out; without a valid `traceparent` it means nothing.
    pub fn of(headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Option<Self> {
        let mut traceparent = None;
        let mut tracestate = None;
        for (name, value) in headers {
            if name == TRACEPARENT.as_bytes() {
                traceparent = value;
            } else if name == TRACESTATE.as_bytes() {
                tracestate = value;
            }
        }
        let traceparent = traceparent.filter(|value| is_traceparent(value))?;
        Some(Self { traceparent, tracestate: tracestate.filter(|value| is_tracestate(value)) })
    }

    /// The headers that carry the context on.
    pub fn headers(self) -> impl Iterator<Item = HeaderRef<'a>> {
        let tracestate = self.tracestate.map(|value| (TRACESTATE, Some(value)));
        std::iter::once((TRACEPARENT, Some(self.traceparent))).chain(tracestate)
    }

    /// Bytes that its headers count against the limits of an output.
    pub fn held_bytes(self) -> usize {
        self.headers().map(|(name, value)| HEADER_BYTES + name.len() + value.map_or(0, <[u8]>::len)).sum()
    }
}

fn is_traceparent(value: &[u8]) -> bool {
    if !(TRACEPARENT_BYTES..=TRACEPARENT_BYTES_MAX).contains(&value.len()) {
        return false;
    }
    let (known, added) = value.split_at(TRACEPARENT_BYTES);
    let version = &known[..2];
    let trace_id = &known[3..35];
    let parent_id = &known[36..52];
    let flags = &known[53..];
    let has_dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
    let is_of_version = match version {
        b"00" => added.is_empty(),
        b"ff" => false,
        _ => added.is_empty() || (added[0] == b'-' && is_text(added)),
    };
    let is_id = |id: &[u8]| is_hex(id) && id.iter().any(|&digit| digit != b'0');
    has_dashes && is_of_version && is_hex(version) && is_id(trace_id) && is_id(parent_id) && is_hex(flags)
}

fn is_tracestate(value: &[u8]) -> bool {
    !value.is_empty() && value.len() <= TRACESTATE_BYTES_MAX && is_text(value)
}

/// Upper case is not allowed in a `traceparent`.
fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Printable ASCII and tabs: the characters of an HTTP header.
fn is_text(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// These headers are carried on as those.
    #[track_caller]
    fn check(headers: &[HeaderRef<'_>], carried: &[HeaderRef<'_>]) {
        let context = TraceContext::of(headers.iter().map(|(name, value)| (name.as_bytes(), *value)));
        let found: Vec<_> = context.iter().flat_map(|context| context.headers()).collect();
        assert_eq!(found, carried);
        assert!(context.map_or(0, TraceContext::held_bytes) <= CARRIED_BYTES_MAX);
    }

    #[test]
    fn a_valid_traceparent_is_carried_on() {
        let later = format!("cc{}-what-comes", &VALID[2..]);
        let longest = format!("cc{}-{}", &VALID[2..], "x".repeat(TRACEPARENT_BYTES_MAX - TRACEPARENT_BYTES - 1));
        for valid in [VALID, &VALID.replace("-01", "-00"), &VALID.replace("-01", "-ff"), &later, &longest] {
            let header = ("traceparent", Some(valid.as_bytes()));
            check(&[("h", None), header], &[header]);
        }
    }

    #[test]
    fn a_malformed_traceparent_is_no_context() {
        let bad = [
            String::new(),
            VALID[..54].to_owned(),
            format!("{VALID}-"),
            format!("{VALID}0"),
            format!("ff{}", &VALID[2..]),
            format!("0g{}", &VALID[2..]),
            format!("cc{}x", &VALID[2..]),
            format!("cc{}-\n", &VALID[2..]),
            format!("cc{}-{}", &VALID[2..], "x".repeat(TRACEPARENT_BYTES_MAX)),
            VALID.to_uppercase(),
            VALID.replace('-', "_"),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            VALID.replace("-01", "-0x"),
            VALID.replace("4b", "4\u{e9}").chars().take(54).collect(),
        ];
        for bad in &bad {
            check(&[("traceparent", Some(bad.as_bytes())), ("tracestate", Some(b"a=1"))], &[]);
        }
        check(&[("traceparent", None)], &[]);
        check(&[("Traceparent", Some(VALID.as_bytes()))], &[]);
        check(&[("tracestate", Some(b"a=1"))], &[]);
        check(&[], &[]);
    }

    #[test]
    fn the_last_header_of_a_name_counts() {
        let valid = ("traceparent", Some(VALID.as_bytes()));
        check(&[("traceparent", Some(b"bad")), valid], &[valid]);
        check(&[valid, ("traceparent", Some(b"bad"))], &[]);
        check(&[valid, ("traceparent", None)], &[]);
    }

    #[test]
    fn a_bad_tracestate_is_left_out() {
        let valid = ("traceparent", Some(VALID.as_bytes()));
        let longest = "a".repeat(TRACESTATE_BYTES_MAX);
        for (state, is_kept) in
            [("a=1,b@c=2", true), (&*longest, true), (&*format!("{longest}a"), false), ("a=\r\n", false), ("", false)]
        {
            let state = ("tracestate", Some(state.as_bytes()));
            let carried = if is_kept { vec![valid, state] } else { vec![valid] };
            check(&[state, valid], &carried);
        }
        check(&[("tracestate", None), valid], &[valid]);
    }
}
