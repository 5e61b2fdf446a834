use super::*;
use crate::{Decimal, Id, Precise};
use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Row {
    n: u32,
}

fn change<T: DeserializeOwned>(text: &str) -> Result<Change<T>, String> {
    Change::from_value(Some(text.as_bytes())).map_err(|error| error.to_string())
}

#[track_caller]
fn check_after<T: DeserializeOwned + fmt::Debug + PartialEq>(text: &str, expected: Result<T, &str>) {
    let after = change::<T>(text).map(|change| change.after.expect("the case has a row"));
    match (after, expected) {
        (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
        (after, expected) => assert_eq!(after, expected.map_err(str::to_owned), "{text}"),
    }
}

#[test]
fn rows_are_typed_in_every_shape() {
    #[track_caller]
    fn check(text: &str, expected: Result<(Op, Option<u32>, Option<u32>), &str>) {
        let change = change::<Row>(text);
        let rows = change.map(|change| (change.op, change.before.map(|row| row.n), change.after.map(|row| row.n)));
        match (rows, expected) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
            (rows, expected) => assert_eq!(rows, expected.map_err(str::to_owned), "{text}"),
        }
    }
    check(r#"{"before":null,"after":{"n":1,"m":2},"op":"c"}"#, Ok((Op::Create, None, Some(1))));
    check(r#"{"before":{"n":1},"after":{"n":2},"op":"u"}"#, Ok((Op::Update, Some(1), Some(2))));
    check(r#"{"before":{"n":1},"after":null,"op":"d"}"#, Ok((Op::Delete, Some(1), None)));
    check(r#"{"schema":{},"payload":{"before":null,"after":{"n":1},"op":"r"}}"#, Ok((Op::Read, None, Some(1))));
    check(r#"{"n":1}"#, Ok((Op::Flat, None, Some(1))));
    check(r#"{"\u006e":1}"#, Ok((Op::Flat, None, Some(1))));
    check(r#"{"schema":{},"payload":null}"#, Err("null, where the transform expects a change event"));
    check(
        r#"{"before":null,"after":{"n":-1},"op":"c"}"#,
        Err("after: column `n`: invalid value: integer `-1`, expected u32"),
    );
    check(r#"{"before":null,"after":{"m":1},"op":"c"}"#, Err("after: missing field `n`"));
    check(r#"{"before":null,"after":{"n":1,"m":nul},"op":"c"}"#, Err("column `m`"));
    check(r#"{"before":null,"after":{"n":1,"n":2},"op":"c"}"#, Err("duplicate field `n`"));
    check("1", Err("a comma, a colon, a quote or a bracket is missing or out of place"));
    // Arrays are no rows, although serde takes them for structs.
    check(r#"{"before":null,"after":[1],"op":"c"}"#, Err("`after` is a JSON array"));
    check("[1]", Err("the value is not a JSON object"));
    check(r#"{"before":null,"after":{"n":1}}"#, Err("no `op`"));
    check(r#"{"before":null,"after":"{\"n\":1}","op":"c"}"#, Err("ExtractNewDocumentState"));
}

#[test]
fn a_tombstone_is_no_event_in_a_wrapper_too() {
    for tombstone in [None, Some(r#"{"schema":null,"payload":null}"#), Some(r#"{"payload":null,"schema":{}}"#)] {
        let bytes = tombstone.map(str::as_bytes);
        let change = Option::<Change<Row>>::from_value(bytes).map_err(|error| error.to_string());
        assert!(matches!(change, Ok(None)), "{tombstone:?}: {change:?}");
        assert!(Change::<Row>::from_value(bytes).is_err(), "{tombstone:?}");
    }
    let change = Option::<Change<Row>>::from_value(Some(br#"{"n":1}"#)).expect("a row").expect("no tombstone");
    assert_eq!(change.after, Some(Row { n: 1 }));
    assert!(Option::<Change<Row>>::from_value(Some(b"{}")).is_err());
}

const MARK: &str = "\"__debezium_unavailable_value\"";

#[derive(Debug, PartialEq, Deserialize)]
struct Note {
    id: i64,
    note: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Numbers {
    ints: Vec<i32>,
}

fn note(text: &str) -> Note {
    Note { id: 1, note: Some(text.to_owned()) }
}

#[test]
fn a_value_that_was_not_sent_is_taken_from_before_or_refused() {
    let update = |before: &str, note: &str| format!(r#"{{"before":{before},"after":{{"id":1,"note":{note}}},"op":"u"}}"#);
    const REFUSED: Result<Note, &str> = Err("column `note` was not sent");
    check_after(&update("null", "\"new\""), Ok(note("new")));
    check_after(&update(r#"{"id":1,"note":"old"}"#, MARK), Ok(note("old")));
    check_after::<Note>(&update("null", MARK), REFUSED);
    check_after::<Note>(&update(r#"{"id":1}"#, MARK), REFUSED);
    check_after::<Note>(&update("null", MARK), Err("set REPLICA IDENTITY FULL"));
    // `before` has the key alone: a large value was never null or empty.
    check_after::<Note>(&update(r#"{"id":1,"note":null}"#, MARK), REFUSED);
    check_after::<Note>(&update(r#"{"id":1,"note":""}"#, MARK), REFUSED);
    check_after::<Note>(&update(r#"{"id":1,"note":"[]"}"#, MARK), REFUSED);
    check_after::<Note>(&update(r#"{"id":1,"note":"{}"}"#, MARK), REFUSED);
    // Nor the default, where the schema says it.
    let with_default = |row: &str, before: &str| {
        let schema =
            format!(r#"{{"fields":[{{"field":"{row}","fields":[{{"type":"string","default":"n/a","field":"note"}}]}}]}}"#);
        format!(r#"{{"schema":{schema},"payload":{}}}"#, update(before, MARK))
    };
    for row in ["before", "after"] {
        check_after::<Note>(&with_default(row, r#"{"id":1,"note":"n/a"}"#), REFUSED);
        check_after(&with_default(row, r#"{"id":1,"note":"old"}"#), Ok(note("old")));
    }
    check_after(&update(r#"{"id":1,"note":"n/a"}"#, MARK), Ok(note("n/a")));
    check_after::<Note>(&format!(r#"{{"id":1,"note":{MARK}}}"#), REFUSED);
    // `before` itself: Oracle leaves out large objects there.
    check_after::<Note>(
        &update(&format!(r#"{{"id":1,"note":{MARK}}}"#), "\"new\""),
        Err("before: column `note` was not sent"),
    );
    // Nobody reads the column.
    check_after(&format!(r#"{{"before":null,"after":{{"n":1,"note":{MARK}}},"op":"u"}}"#), Ok(Row { n: 1 }));
    let ints = r#"[95, 95, 100, 101, 98, 101, 122, 105, 117, 109, 95, 117, 110, 97, 118, 97, 105, 108, 97, 98, 108, 101, 95, 118, 97, 108, 117, 101]"#;
    let update = |before: &str| format!(r#"{{"before":{before},"after":{{"ints":{ints}}},"op":"u"}}"#);
    check_after::<Numbers>(&update("null"), Err("column `ints` was not sent"));
    check_after(&update(r#"{"ints":[1,2]}"#), Ok(Numbers { ints: vec![1, 2] }));
    check_after::<Numbers>(&update(r#"{"ints":[]}"#), Err("column `ints` was not sent"));
}

#[test]
fn a_connector_may_have_a_placeholder_and_an_envelope_of_its_own() {
    #[derive(Debug)]
    struct Own;
    impl Connector for Own {
        const UNAVAILABLE_VALUE_PLACEHOLDER: &'static str = "(gone)";
        const ENVELOPE: Envelope = Envelope::Debezium;
    }
    let read = |text: &str| {
        let change = ChangeOf::<Own, Note>::from_value(Some(text.as_bytes())).map_err(|error| error.to_string());
        change.map(|change| change.change.after)
    };
    let mark = read(r#"{"before":{"id":1,"note":"old"},"after":{"id":1,"note":"(gone)"},"op":"u"}"#);
    assert_eq!(mark, Ok(Some(note("old"))));
    let refused = read(r#"{"before":null,"after":{"id":1,"note":"(gone)"},"op":"u"}"#);
    assert!(refused.is_err_and(|error| error.contains("was not sent")));
    let theirs = read(&format!(r#"{{"before":null,"after":{{"id":1,"note":{MARK}}},"op":"u"}}"#));
    assert_eq!(theirs, Ok(Some(note("__debezium_unavailable_value"))));
    assert!(read(r#"{"id":1,"note":"n"}"#).is_err_and(|error| error.contains("envelope: debezium")));
}

#[test]
fn a_type_may_go_on_without_a_value_that_was_not_sent() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Kept {
        note: Sent<Option<String>>,
    }
    let update = |before: &str, note: &str| format!(r#"{{"before":{before},"after":{{"note":{note}}},"op":"u"}}"#);
    let sent = |note: Option<&str>| Ok(Kept { note: Sent::Value(note.map(str::to_owned)) });
    check_after(&update("null", "\"new\""), sent(Some("new")));
    check_after(&update("null", "null"), sent(None));
    check_after(&update(r#"{"note":"old"}"#, MARK), sent(Some("old")));
    check_after(&update("null", MARK), Ok(Kept { note: Sent::NotSent }));
    let both = change::<Kept>(&update(&format!(r#"{{"note":{MARK}}}"#), "\"new\"")).expect("both rows are read");
    assert_eq!(both.before.and_then(|row| row.note.value()), None);
    check_after::<Kept>(&update("null", "7"), Err("invalid type: integer `7`"));
    assert_eq!(serde_json::from_str::<Sent<i64>>("7").ok(), Some(Sent::Value(7)));
}

#[test]
fn a_flat_row_has_a_column_of_its_type() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Product {
        #[serde(default)]
        category: Option<String>,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Any {}
    let none = || Product { category: None };
    check_after(r#"{"category":null,"n":1}"#, Ok(none()));
    check_after::<Product>(r#"{"n":1}"#, Err("a flat row that has no column of the type Product"));
    // An envelope is certain, and the table may have had no such column.
    check_after(r#"{"before":null,"after":{"n":1},"op":"c"}"#, Ok(none()));
    check_after(r#"{"n":1}"#, Ok(Any {}));
    assert!(change::<serde::de::IgnoredAny>(r#"{"n":1}"#).is_ok());
}

/// serde_json reads each of these as a neighbour of it, by its fast way.
#[test]
fn floats_of_a_row_are_exact() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Reading {
        last: f64,
        all: Vec<f64>,
    }
    let reading = Reading { last: 97.45365320034685, all: vec![51.248178375505404] };
    check_after(r#"{"last":97.45365320034685,"all":[51.248178375505404]}"#, Ok(reading));
}

#[test]
fn structs_within_a_row_are_objects_too() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Place {
        x: i64,
        y: Option<(i64, i64)>,
        kind: Kind,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Point,
        Line { to: i64 },
        Arc(i64, i64),
        Other(String),
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Places {
        places: Vec<Place>,
    }
    let flat = |place: &str| format!(r#"{{"places":[{place}]}}"#);
    let place = |y, kind| Ok(Places { places: vec![Place { x: 1, y, kind }] });
    check_after(&flat(r#"{"x":1,"y":[2,3],"kind":"point"}"#), place(Some((2, 3)), Kind::Point));
    check_after(&flat(r#"{"x":1,"kind":{"line":{"to":7}}}"#), place(None, Kind::Line { to: 7 }));
    check_after(&flat(r#"{"x":1,"kind":{"arc":[1,2]}}"#), place(None, Kind::Arc(1, 2)));
    check_after(&flat(r#"{"x":1,"kind":{"other":"a\u0062"}}"#), place(None, Kind::Other("ab".to_owned())));
    check_after::<Places>(&flat(r#"[1,[2,3],"point"]"#), Err("a JSON array, where the type Place is a JSON object"));
    check_after::<Places>(&flat(r#"{"x":1,"kind":{"line":[7]}}"#), Err("a JSON array"));
    check_after::<Places>(&flat(r#"{"x":1,"y":[2,3,4],"kind":"point"}"#), Err("too many elements"));
    check_after::<Places>(&flat(r#"{"x":1.2.3,"kind":"point"}"#), Err("column `places`"));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    check_after::<serde_json::Value>(&deep, Err("nested too deep"));
    check_after::<serde_json::Value>(r#"{"a":[1,"b",{"c":null}]}"#, Ok(serde_json::json!({"a": [1, "b", {"c": null}]})));
}

#[derive(Debug, PartialEq, Deserialize)]
struct Money {
    total: Option<Decimal>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct PreciseMoney {
    total: Precise<2>,
}

/// The schema of a decimal in bytes, without the name of its field.
fn decimal(scale: &str) -> String {
    format!(r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{{"scale":"{scale}"}}"#)
}

/// The event with a schema in which the column has this type.
fn with_schema(column: &str, total: &str) -> String {
    format!(
        r#"{{"schema":{{"fields":[{{"field":"after","fields":[{{{column},"field":"total"}}]}}]}},"payload":{{"before":null,"after":{{"total":{total}}},"op":"c"}}}}"#
    )
}

#[test]
fn decimals_of_a_row_are_exact() {
    let money = |text: &str| Ok(Money { total: Some(text.parse().expect("a decimal")) });
    let exact = |text: &str, expected: &str| {
        let change = change::<Money>(text).expect(text);
        let total = change.after.and_then(|row| row.total).expect("it has one");
        assert_eq!(total.to_string(), expected, "{text}");
    };
    exact(r#"{"total":27.80}"#, "27.80");
    exact(r#"{"total":"27.80"}"#, "27.80");
    exact(r#"{"total":12345678901234567890.12}"#, "12345678901234567890.12");
    exact(r#"{"total":{"scale":-2,"value":"Dw=="}}"#, "1500");
    check_after(r#"{"total":null}"#, Ok(Money { total: None }));
    check_after::<Money>(r#"{"total":"Ctw="}"#, Err(r#"column `total`: "Ctw=" is not a number"#));
    check_after::<Money>(r#"{"total":"NaN"}"#, Err("NaN or infinite"));
    check_after::<Money>(r#"{"total":true}"#, Err("is no decimal"));
    check_after(&with_schema(&decimal("2"), "\"Ctw=\""), money("27.80"));
    check_after(&with_schema(&decimal("-2"), "\"Dw==\""), money("1500"));
    check_after(&with_schema(r#""type":"string""#, "\"1234\""), money("1234"));
    check_after(&with_schema(r#""type":"double""#, "27.8"), money("27.8"));
    check_after::<Money>(&with_schema(&decimal("two"), "\"Ctw=\""), Err("the scale in the event's schema"));
    check_after::<Money>(&with_schema(&decimal("127"), "\"Dw==\""), Err("more than 38 digits"));
    let list = format!(r#""type":"array","items":{{{}}}"#, decimal("2"));
    check_after::<serde_json::Value>(&with_schema(&list, r#"["1234"]"#), Err("column `total`: it has decimals within it"));
    check_after(&with_schema(&list, "null"), Ok(Money { total: None }));
    let precise = |text: &str| Ok(PreciseMoney { total: Precise(text.parse().expect("a decimal")) });
    check_after(r#"{"total":"Ctw="}"#, precise("27.80"));
    check_after(r#"{"total":27.80}"#, precise("27.80"));
    check_after(&with_schema(&decimal("4"), "\"BD3w\""), precise("27.8000"));
    check_after(&with_schema(r#""type":"string""#, "\"1234\""), precise("1234"));
    check_after::<PreciseMoney>(r#"{"total":"27.80"}"#, Err("is not the base64 of a decimal's bytes"));
}

#[test]
fn ids_of_a_row_are_numbers_or_texts() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Keyed {
        total: Id,
    }
    let number = |number: i64| Ok(Keyed { total: Id::Number(number) });
    check_after(r#"{"total":7}"#, number(7));
    check_after(r#"{"total":"7"}"#, Ok(Keyed { total: Id::Text("7".to_owned()) }));
    check_after(r#"{"total":{"scale":0,"value":"Bw=="}}"#, number(7));
    check_after(&with_schema(&decimal("0"), "\"Bw==\""), number(7));
    check_after(&with_schema(&decimal("2"), "\"Arw=\""), number(7));
    let variable = r#""type":"struct","name":"io.debezium.data.VariableScaleDecimal""#;
    check_after(&with_schema(variable, r#"{"scale":-1,"value":"Bw=="}"#), number(70));
    check_after::<Keyed>(&with_schema(&decimal("2"), "\"Ctw=\""), Err("27.80, expected a whole number of 64 bits"));
    check_after::<Keyed>(r#"{"total":1.5}"#, Err("column `total`: invalid type: floating point `1.5`, expected"));
    check_after::<Keyed>(r#"{"total":18446744073709551615}"#, Err("invalid value: integer `18446744073709551615`"));
}

/// A type that serde buffers first asks for any value.
#[test]
fn a_schema_counts_in_types_that_are_buffered() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Flattened<T> {
        #[serde(flatten)]
        money: T,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Text {
        total: String,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Plain {
        total: Decimal,
    }
    let number = |text: &str| text.parse::<Decimal>().expect("a decimal");
    let precise = PreciseMoney { total: Precise(number("27.8000")) };
    check_after(&with_schema(&decimal("4"), "\"BD3w\""), Ok(Flattened { money: precise }));
    let plain = Plain { total: number("-26588.24") };
    check_after(&with_schema(&decimal("2"), "\"1234\""), Ok(Flattened { money: plain }));
    check_after(&with_schema(&decimal("2"), "\"Ctw=\""), Ok(Text { total: "27.80".to_owned() }));
    check_after::<Flattened<Plain>>(&with_schema(&decimal("two"), "\"Ctw=\""), Err("the scale in the event's schema"));

    // `1234` is base64, too. The schema says that it is a text, or says nothing.
    let string = r#""type":"string""#;
    let precise = |text: &str| Ok(Flattened { money: PreciseMoney { total: Precise(number(text)) } });
    check_after(&with_schema(string, "\"1234\""), precise("1234"));
    check_after(&with_schema(string, r#""12\u00334""#), precise("1234"));
    check_after(r#"{"total":"1234"}"#, precise("-26588.24"));
    check_after(&with_schema(r#""type":"bytes""#, "\"1234\""), precise("-26588.24"));
    check_after::<Flattened<PreciseMoney>>(&with_schema(string, "\"Ctw=\""), Err(r#""Ctw=" is not a number"#));
    check_after::<Flattened<PreciseMoney>>(&with_schema(r#""type":"double""#, "\"1234\""), Err("mode=double"));
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Money { total: Precise<2> },
    }
    check_after(&with_schema(string, "\"1234\""), Ok(Either::Money { total: Precise(number("1234")) }));
    // Other types read the same text as they do without a buffer.
    check_after(&with_schema(string, "\"1234\""), Ok(Flattened { money: Plain { total: number("1234") } }));
    check_after(&with_schema(string, "\"1234\""), Ok(Flattened { money: Text { total: "1234".to_owned() } }));
    let all = serde_json::json!({"total": "1234"});
    check_after(&with_schema(string, "\"1234\""), Ok(Flattened { money: all }));
    #[derive(Debug, PartialEq, Deserialize)]
    struct Keyed {
        total: Id,
    }
    check_after(&with_schema(string, "\"1234\""), Ok(Flattened { money: Keyed { total: Id::Text("1234".to_owned()) } }));
}

/// The texts of one row, or of one event, say nothing about those of another.
#[test]
fn the_schema_of_a_row_counts_in_that_row_alone() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Flattened {
        #[serde(flatten)]
        money: PreciseMoney,
    }
    let precise = |text: &str| Ok(Flattened { money: PreciseMoney { total: Precise(text.parse().expect("a decimal")) } });
    let string = with_schema(r#""type":"string""#, "\"1234\"");
    check_after(&string, precise("1234"));
    check_after(r#"{"total":"1234"}"#, precise("-26588.24"));
    check_after(&with_schema(&decimal("2"), "\"1234\""), precise("-26588.24"));
    // An error leaves nothing behind.
    check_after::<Flattened>(&with_schema(r#""type":"string""#, "\"12345\"").replace("12345", "x"), Err("is not a number"));
    check_after(r#"{"total":"1234"}"#, precise("-26588.24"));
    // A column that the schema does not describe has the same text.
    let two = string.replace(r#""total":"1234""#, r#""total":"1234","note":"1234""#);
    check_after::<Flattened>(&two, Err("two columns have this text"));
    let two = string.replace(r#""total":"1234""#, r#""total":"1234","note":"1235""#);
    check_after(&two, precise("1234"));
}
