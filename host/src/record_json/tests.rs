use super::{Form, RecordError, RecordInput, RecordOut, parse};
use crate::model::text;
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

fn parse_one(line: &str) -> Result<RecordInput, RecordError> {
    Ok(parse(line.as_bytes(), true, 10, Timestamp(7))?.remove(0))
}

#[test]
fn each_form_becomes_its_bytes() {
    for (json, value) in [
        (r#"{"value": "a\nb"}"#, Some(&b"a\nb"[..])),
        (r#"{"value": {"total": 10.10,  "n": 1}}"#, Some(br#"{"total": 10.10,  "n": 1}"#)),
        (r#"{"value": 12.50}"#, Some(b"12.50")),
        (r#"{"value": null}"#, None),
        (r#"{}"#, None),
        (r#"{"value": ""}"#, Some(b"")),
        (r#"{"value_base64": "AAH/"}"#, Some(&[0, 1, 255])),
    ] {
        let incoming = parse_one(json).expect(json);
        assert_eq!(incoming.record.value.as_deref(), value, "{json}");
        assert_eq!(incoming.record.timestamp, 7);
    }
}

#[test]
fn bad_records_are_named() {
    for (text, lines, index) in [
        ("{}\n\n{\"valu\": 1}", true, 1),
        ("{\"value\": 1, \"value_base64\": \"AA==\"}", true, 0),
        ("{\"value_base64\": \"?\"}", true, 0),
        ("[{}, {}, 3]", false, 2),
        ("[{}", false, 0),
        ("hello", false, 0),
        ("{\"headers\": [{\"value\": \"x\"}]}", true, 0),
    ] {
        let refused = parse(text.as_bytes(), lines, 10, Timestamp(0)).expect_err(text);
        assert_eq!((refused.index, refused.is_beyond), (index, false), "{text}: {refused:?}");
    }
}

#[test]
fn more_records_than_are_taken_are_refused_before_they_are_read() {
    for (text, lines, count) in [
        ("[{}, {}, {}]", false, 3),
        ("{}\n{}\n\n{}\n", true, 3),
        ("[]", false, 0),
        ("[{}, {}, {}, {\"bad\": 1}]", false, 4),
        (&format!("[{}{{}}]", "{},".repeat(100_000)), false, 100_001),
        (&"{}\n".repeat(100_000), true, 100_000),
    ] {
        let read = parse(text.as_bytes(), lines, 3, Timestamp(0)).map(|read| read.len());
        match count {
            0..=3 => assert_eq!(read, Ok(count)),
            _ => assert!(read.as_ref().is_err_and(|refused| refused.is_beyond && refused.index == 3), "{read:?}"),
        }
    }
}

#[test]
fn what_is_read_can_be_written_back() {
    let record = LogRecord {
        offset: 3,
        timestamp: 9,
        key: Some(vec![0xff, 0]),
        value: Some("{\"a\":\n1.0}".into()),
        headers: vec![("h".into(), None), ("h".into(), Some(b"x".to_vec())), ("b".into(), Some(vec![0x80]))],
    };
    for value in [
        "{\"a\": 1.0}",
        "[]",
        "12.50",
        "true",
        "\"quoted\"",
        "null",
        "plain",
        "",
        " 12",
        "12\n",
        "{\"a\":\n1}",
        "{\"a\":\t1}",
        "{\"a\":\"\u{200e}\"}",
    ] {
        let record = LogRecord { value: Some(value.into()), ..record.clone() };
        let line = serde_json::to_string(&RecordOut::of(2, record.clone(), Form::Json)).expect("plain data");
        // As the command line shows it.
        let line = text::json(&line).into_owned();
        assert_eq!(parse_one(&line).expect(&line).record, record, "{line}");
    }
    for form in [Form::Text, Form::Json] {
        let line = serde_json::to_string(&RecordOut::of(2, record.clone(), form)).expect("plain data");
        assert!(!line.contains('\n'), "{line}");
        let back = parse_one(&line).expect(&line);
        assert_eq!((back.partition, &back.record.key, &back.record.headers), (Some(2), &record.key, &record.headers));
        assert_eq!(back.record.value, record.value);
    }
    let tombstone = LogRecord { value: None, ..record };
    let line = serde_json::to_string(&RecordOut::of(0, tombstone, Form::Text)).expect("plain data");
    assert!(line.contains(r#""value":null"#), "{line}");
}
