//! The trace context of a record: its headers `traceparent` and `tracestate`, as W3C Trace Context defines their values
//! (<https://www.w3.org/TR/trace-context/>) and OpenTelemetry's Kafka clients write them.
//!
//! Producers choose these headers. A value is read only after its length was checked, and a bad one is no context.
//!
//! A sampled record has a span where spans are exported ([`TraceSpan`]), and its outputs name that span as their parent.

use std::io::Write;

use sha2::{Digest, Sha256};

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

/// The flag of a trace that somebody keeps, and the flags that are known at all: that one, and "the trace id is random".
const SAMPLED: u8 = 0x01;
const FLAGS_KNOWN: u8 = 0x03;

/// The host's span of one input record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSpan {
    pub trace_id: [u8; 16],
    pub parent_id: [u8; 8],
    pub span_id: [u8; 8],
    pub flags: u8,
    /// Names the span as the parent of the record's outputs.
    traceparent: [u8; TRACEPARENT_BYTES],
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

    /// Adds the headers that carry the context on, unless the guest gave the output one of them. With `span`, outputs name it
    /// as their parent, and so does a `traceparent` that the guest copied from the record.
    pub fn carry_on(self, span: Option<&'a TraceSpan>, headers: &mut Vec<HeaderRef<'a>>) {
        let traceparent = span.map_or(self.traceparent, |span| &span.traceparent);
        if !headers.iter().any(|(name, _)| is_trace_header(name.as_bytes())) {
            headers.extend(Self { traceparent, ..self }.headers());
            return;
        }
        let copies = headers.iter_mut().filter(|(name, value)| *name == TRACEPARENT && *value == Some(self.traceparent));
        copies.for_each(|(_, value)| *value = Some(traceparent));
    }

    /// The span of a record whose trace is sampled. `place` says where the record is processed and where it came from: the
    /// same record has the same span, however often and on whatever host it is processed.
    pub fn span(self, place: impl FnOnce() -> String) -> Option<TraceSpan> {
        let ids = &self.traceparent[..TRACEPARENT_BYTES];
        let flags = hex_bytes::<1>(&ids[53..])[0] & FLAGS_KNOWN;
        if flags & SAMPLED == 0 {
            return None;
        }
        let trace_id = hex_bytes(&ids[3..35]);
        let parent_id = hex_bytes(&ids[36..52]);
        let mut hash = Sha256::new();
        hash.update(&ids[3..52]);
        hash.update(place());
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&hash.finalize()[..8]);
        // All zeros would be no id.
        span_id[7] |= u8::from(span_id == [0; 8]);
        let mut traceparent = [0; TRACEPARENT_BYTES];
        let parts = (hex::encode(trace_id), hex::encode(span_id));
        write!(&mut traceparent[..], "00-{}-{}-{flags:02x}", parts.0, parts.1).expect("it has this length");
        Some(TraceSpan { trace_id, parent_id, span_id, flags, traceparent })
    }

    /// The headers that carry the context on.
    fn headers(self) -> impl Iterator<Item = HeaderRef<'a>> {
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

/// The bytes of digits that [`is_hex`] has passed.
fn hex_bytes<const N: usize>(digits: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).expect("proved to be digits");
    bytes
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

    /// An output that the guest gave `headers` carries these on from a record with the headers `of`.
    #[track_caller]
    fn check_output(of: &[HeaderRef<'_>], has_span: bool, headers: &[HeaderRef<'_>], carried: &[(&str, Option<&str>)]) {
        let context = TraceContext::of(of.iter().map(|(name, value)| (name.as_bytes(), *value))).expect("valid");
        let span = context.span(|| "shop/a orders 0 7".to_owned()).filter(|_| has_span);
        let mut found = headers.to_vec();
        context.carry_on(span.as_ref(), &mut found);
        let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8(value.to_vec()).expect("text"));
        let found: Vec<_> = found.into_iter().map(|(name, value)| (name, text(value))).collect();
        let carried: Vec<_> = carried.iter().map(|(name, value)| (*name, value.map(str::to_owned))).collect();
        assert_eq!(found, carried);
    }

    /// The span of `shop/a orders 0 7` as a parent.
    const OWN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-7edb1de76387e06e-01";

    #[test]
    fn outputs_name_the_span_as_their_parent() {
        let parent = ("traceparent", Some(VALID.as_bytes()));
        let state = ("tracestate", Some(&b"a=1"[..]));
        let own = [("traceparent", Some(OWN)), ("tracestate", Some("a=1"))];
        check_output(&[parent, state], true, &[], &own);
        check_output(&[parent, state], false, &[], &[("traceparent", Some(VALID)), ("tracestate", Some("a=1"))]);
        // Copied by the guest, as forward() does.
        check_output(&[parent, state], true, &[parent, state], &own);
        check_output(&[parent, state], true, &[state], &[("tracestate", Some("a=1"))]);
        let others = [("traceparent", None), ("traceparent", Some(&b"x"[..]))];
        check_output(&[parent], true, &others, &[("traceparent", None), ("traceparent", Some("x"))]);
        let later = format!("cc{}-what-comes", &VALID[2..]);
        check_output(&[("traceparent", Some(later.as_bytes()))], true, &[], &[("traceparent", Some(OWN))]);
    }

    #[test]
    fn a_sampled_record_has_one_span_wherever_it_runs() {
        let span = |text: &str, place: &str| {
            let header = ("traceparent".as_bytes(), Some(text.as_bytes()));
            TraceContext::of([header].into_iter()).expect("valid").span(|| place.to_owned())
        };
        let first = span(VALID, "shop/a orders 0 7").expect("sampled");
        assert_eq!(hex::encode(first.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((hex::encode(first.parent_id), first.flags), ("00f067aa0ba902b7".to_owned(), 1));
        assert_eq!(span(VALID, "shop/a orders 0 7"), Some(first));
        for place in ["shop/a orders 0 8", "shop/a orders 1 7", "shop/b orders 0 7"] {
            assert_ne!(span(VALID, place).expect("sampled").span_id, first.span_id);
        }
        assert_eq!(span(&VALID.replace("-01", "-ff"), "p").expect("sampled").flags, 3);
        assert_eq!(span(&VALID.replace("-01", "-00"), "p"), None);
        assert_eq!(span(&VALID.replace("-01", "-02"), "p"), None);
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
