//! The lazy reader of JSON beside serde_json, and change events.

use sandbar_debezium::columns::{Columns, CompleteRow};
use sandbar_debezium::json::scan::Index;
use sandbar_debezium::json::text::unescape;
use sandbar_debezium::json::{self, JsonError, Kind};
use sandbar_debezium::{Decimal, Event, Id};
use sandbar_fuzz::{Entropy, mutate};
use serde_json::Value;

const WORDS: [&[u8]; 26] = [
    b"\"",
    b"\\",
    b"\\\"",
    b"\\\\",
    b"\\u00e9",
    b"\\ud83d\\ude00",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"null",
    b"true",
    b"-0",
    b"1e5",
    b"01",
    b"\x01",
    b"                                                                ",
    b"\"__debezium_unavailable_value\"",
    b"\"AA==\"",
    b"\"[]\"",
    b"\"default\":0,",
];

/// The reader takes the objects and arrays that serde_json takes, and finds the same in them.
#[test]
fn debezium_json() {
    sandbar_fuzz::run("debezium_json", |entropy| {
        let mut bytes = container(entropy, 3).into_bytes();
        if entropy.once_in(2) {
            mutate(&mut bytes, &WORDS, entropy);
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { return };
        let is_container = text.trim_ascii_start().starts_with(['{', '[']);
        let expected = serde_json::from_str::<serde::Ignored>(text).is_ok() && is_container;
        let mut index = Index::default();
        let read = json::read(text.as_bytes(), &mut index);
        let checked = read.and_then(json::Value::check);
        assert_eq!(checked.is_ok(), expected, "{text:?}: {checked:?}");
        let mut index = Index::default();
        if let (Ok(value), Ok(expected)) = (json::read(text.as_bytes(), &mut index), serde_json::from_str::<Value>(text)) {
            assert_eq!(walked(value).expect("it was checked"), expected, "{text:?}");
        }
    });
}

mod serde {
    /// Any JSON.
    pub type Ignored = Box<serde_json::value::RawValue>;
}

/// A value, member by member.
fn walked(value: json::Value<'_>) -> Result<Value, JsonError> {
    let text = |escaped: &[u8]| {
        let mut plain = Vec::new();
        unescape(escaped, &mut plain)?;
        String::from_utf8(plain).map_err(|_| JsonError::Utf8)
    };
    Ok(match value.kind() {
        Kind::Null => Value::Null,
        Kind::Bool(is) => Value::Bool(is),
        Kind::Text(escaped) => Value::String(text(escaped)?),
        Kind::Number(digits) => serde_json::from_slice(digits).map_err(|_| JsonError::Word)?,
        Kind::Array => {
            let mut elements = value.elements().expect("an array");
            let mut all = Vec::new();
            while let Some(element) = elements.next()? {
                all.push(walked(element)?);
            }
            Value::Array(all)
        }
        Kind::Object => {
            let mut members = value.members().expect("an object");
            let mut all = serde_json::Map::new();
            while let Some((name, member)) = members.next()? {
                all.insert(text(name)?, walked(member)?);
            }
            Value::Object(all)
        }
    })
}

fn container(entropy: &mut Entropy<'_>, depth: usize) -> String {
    let space = |entropy: &mut Entropy<'_>| (*entropy.pick(&["", "", " ", "\n", " \t"])).to_owned();
    let count = entropy.below(5);
    let is_object = entropy.once_in(2);
    let items: Vec<String> = (0..count)
        .map(|_| {
            let value = value(entropy, depth);
            let item =
                if is_object { format!("{}{}:{}{value}", string(entropy), space(entropy), space(entropy)) } else { value };
            space(entropy) + &item + &space(entropy)
        })
        .collect();
    let inside = if items.is_empty() { space(entropy) } else { items.join(",") };
    if is_object { format!("{{{inside}}}") } else { format!("[{inside}]") }
}

fn value(entropy: &mut Entropy<'_>, depth: usize) -> String {
    match entropy.below(6) {
        0 if depth > 0 => container(entropy, depth - 1),
        1 => string(entropy),
        2 => i64::from(entropy.u32() as i32).to_string(),
        3 => (*entropy.pick(&["1.5", "-0.25e-3", "1E+2", "0", "-0"])).to_owned(),
        4 => (*entropy.pick(&["null", "true", "false"])).to_owned(),
        _ => string(entropy),
    }
}

/// A JSON string; now and then with more than one block of the scanner in it.
fn string(entropy: &mut Entropy<'_>) -> String {
    let most = if entropy.once_in(8) { 150 } else { 10 };
    Value::from(entropy.text(most)).to_string()
}

/// An update that did not send two columns, one of which is its default before.
const UNSENT: &str = r#"{"schema":{"fields":[{"field":"before","fields":[{"field":"status","default":"new"}]}]},
    "payload":{"op":"u","before":{"order_id":7,"status":"new","items":"[1]","tags":[],"total":"Ctw="},
    "after":{"order_id":7,"status":"__debezium_unavailable_value","items":"__debezium_unavailable_value","tags":["a"]}}}"#;

/// Change events near real ones are read without a panic, whatever stands in their columns.
#[test]
fn debezium_events() {
    let recorded = include_str!("../../../../guest-sdk/debezium/tests/samples/events.ndjson")
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["value"].as_str().map(|text| text.as_bytes().to_vec()));
    let samples: Vec<Vec<u8>> = recorded.chain([UNSENT.as_bytes().to_vec()]).collect();
    let mut columns = Columns::default();
    for name in ["order_id", "total", "items", "tags", "status", "description"] {
        columns.add(name);
    }
    sandbar_fuzz::run("debezium_events", |entropy| {
        let mut bytes = entropy.pick(&samples).clone();
        mutate(&mut bytes, &WORDS, entropy);
        let mut index = Index::default();
        if let Ok(Ok(Some(event))) = json::read(&bytes, &mut index).map(Event::read) {
            check_event(&columns, &event);
        }
        let scale = entropy.below(40) as u32;
        check_decimal(Decimal::from_base64(entropy.text(24).as_bytes(), scale).ok());
        let digits = format!("{}e{}", entropy.i64(), entropy.below(60));
        check_decimal(Decimal::parse(digits.as_bytes()).ok());
    });
}

fn check_event(columns: &Columns, event: &Event<'_>) {
    let _ = event.forms(columns);
    if let Ok(Some(before)) = event.known_before(columns) {
        columns.numbers().filter_map(|column| before.get(column)).for_each(check_value);
    }
    let whole = CompleteRow::of_event(columns, event);
    let Some(after) = event.after else {
        assert!(whole.is_err(), "{event:?} has no row");
        return;
    };
    let plain = CompleteRow::new(columns, after, event.before);
    for row in [&whole, &plain].into_iter().flatten() {
        columns.numbers().filter_map(|column| row.get(column).ok().flatten()).for_each(check_value);
    }
    let Ok(whole) = whole else { return };
    // The schema only takes values away: those that may be a default.
    let plain = plain.expect("it reads no more than the whole row does");
    for column in columns.numbers() {
        if let Ok(Some(value)) = whole.get(column) {
            let found = plain.get(column).expect("known without the schema, too").map(json::Value::text);
            assert_eq!(found, Some(value.text()), "{event:?}");
        }
    }
}

fn check_value(value: json::Value<'_>) {
    let _ = value.check();
    if let Some(id) = Id::read(value) {
        assert!(serde_json::from_str::<Value>(&id.key("id")).is_ok(), "{id:?}");
    }
    if let Kind::Text(text) | Kind::Number(text) = value.kind() {
        check_decimal(Decimal::from_base64(text, 2).ok());
        check_decimal(Decimal::parse(text).ok());
    }
}

/// A decimal is written so that it is read back as the same; sums and products end or say that they are too long.
fn check_decimal(decimal: Option<Decimal>) {
    let Some(decimal) = decimal else { return };
    let mut text = Vec::new();
    decimal.write(&mut text);
    if let Ok(back) = Decimal::parse(&text) {
        assert_eq!(back, decimal, "{}", String::from_utf8_lossy(&text));
    }
    let _ = (decimal.checked_add(decimal), decimal.checked_sub(decimal), decimal.checked_mul(decimal), decimal.whole());
}
