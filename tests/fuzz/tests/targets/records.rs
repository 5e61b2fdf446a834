//! Records as JSON, names, and text.

use std::fmt::Display;
use std::str::FromStr;

use sandbar::model::names::{ClusterName, Digest, TopicName, TransformId};
use sandbar::model::revision::RequestKey;
use sandbar::model::text;
use sandbar::model::units::{Bytes, Rfc3339, Span, Timestamp};
use sandbar::record_json::{self, Form, RecordInput, RecordOut};
use sandbar_fuzz::{Entropy, mutate};

const SEEDS: [&[u8]; 6] = [
    br#"{"key": "k", "value": {"total": 10.10, "n": [1, null, true]}, "headers": [{"name": "h", "value": "x"}], "timestamp": 7}"#,
    br#"{"key_base64": "AAE=", "value_base64": "/w==", "partition": 3, "topic": "shop.orders", "offset": 9}"#,
    br#"[{"value": "a\nb"}, {"value": null}, {}]"#,
    b"{\"value\": 12.50}\n\n{\"value\": \"\\u00e9\\ud83d\\ude00\"}\n",
    br#"{"headers": [{"name": "", "value_base64": ""}, {"name": "n", "value": null}], "target": "out"}"#,
    b"{\"value\": {\"a\":\t1.0}}",
];
const WORDS: [&[u8]; 14] = [
    b"\"value\":",
    b"\"value_base64\":",
    b"\"key\":",
    b"\"headers\":",
    b"\"name\":",
    b"null",
    b"{",
    b"[",
    b"]",
    b"}",
    b"\\ud800",
    b"9223372036854775807",
    b"-1e400",
    b"\n",
];

const RECORDS_MAX: usize = 50;

/// Records that were read are shown so that they can be read back, on one line.
#[test]
fn records() {
    sandbar_fuzz::run("records", |entropy| {
        let mut bytes = entropy.pick(&SEEDS).to_vec();
        mutate(&mut bytes, &WORDS, entropy);
        let Ok(all) = record_json::parse(&bytes, entropy.once_in(2), RECORDS_MAX, Timestamp(5)) else { return };
        assert!(all.len() <= RECORDS_MAX, "{} records", all.len());
        all.into_iter().for_each(check_shown);
    });
}

fn check_shown(incoming: RecordInput) {
    let record = incoming.record;
    for form in [Form::Text, Form::Json] {
        let line = serde_json::to_string(&RecordOut::of(1, record.clone(), form)).expect("plain data");
        assert!(!line.contains(['\n', '\r']), "{line}");
        let back =
            record_json::one(0, line.as_bytes(), Timestamp(0)).unwrap_or_else(|refused| panic!("{refused:?} in {line}"));
        assert_eq!((&back.record.headers, back.record.offset), (&record.headers, record.offset), "{line}");
        let is_one_line = |bytes: &Option<Vec<u8>>| !bytes.iter().flatten().any(|byte| matches!(byte, b'\n' | b'\r'));
        if form == Form::Text || (is_one_line(&record.key) && is_one_line(&record.value)) {
            assert_eq!((&back.record.key, &back.record.value), (&record.key, &record.value), "{line}");
        }
    }
}

/// A name or a quantity that was read is shown so that it is read back as the same; text is cut and escaped.
#[test]
fn names() {
    sandbar_fuzz::run("names", |entropy| {
        let seeds = ["shop/orders", "shop.orders", "16MiB", "1h 30m", "2026-01-01T00:00:00Z", "prod-1", "1.5GiB", "10ms"];
        let mut bytes = if entropy.once_in(20) {
            Digest::of(b"").to_string().into_bytes()
        } else {
            entropy.pick(&seeds).as_bytes().to_vec()
        };
        mutate(&mut bytes, &[b"999999999999999999999", b"KiB", b"/", b".", b"-", b"day", b"\xe2\x80\xae"], entropy);
        let raw = String::from_utf8_lossy(&bytes);
        check_back::<TransformId>(&raw);
        check_back::<TopicName>(&raw);
        check_back::<ClusterName>(&raw);
        check_back::<Digest>(&raw);
        let _ = raw.parse::<RequestKey>();
        let _ = raw.parse::<Rfc3339>();
        check_back::<Bytes>(&raw);
        check_back::<Span>(&raw);
        check_text(&raw, entropy);
    });
}

#[track_caller]
fn check_back<T: FromStr + Display + PartialEq + std::fmt::Debug>(raw: &str) {
    if let Ok(read) = raw.parse::<T>() {
        assert_eq!(read.to_string().parse::<T>().ok().as_ref(), Some(&read), "{raw:?}");
    }
}

fn check_text(raw: &str, entropy: &mut Entropy<'_>) {
    let bytes_max = entropy.below(64);
    let cut = text::cut(raw, bytes_max);
    assert!(cut.len() <= bytes_max && raw.starts_with(cut));
    assert!(!text::one_line(raw).contains(char::is_control), "{raw:?}");
    assert!(!text::lines(raw).contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{raw:?}");
}
