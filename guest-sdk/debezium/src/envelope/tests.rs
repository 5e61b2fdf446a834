use super::*;
use crate::json;
use crate::json::scan::Index;

/// The op, and the rows `before` and `after`.
type Read = Result<Option<(Op, String, String)>, String>;

#[track_caller]
fn check(envelope: Envelope, text: &str, expected: Result<Option<(Op, &str, &str)>, &str>) {
    let mut index = Index::default();
    let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
    let row = |row: Option<Value<'_>>| row.map_or_else(|| "-".to_owned(), |row| format!("{row:?}"));
    let read: Read = match Event::read_as(root, envelope) {
        Ok(event) => Ok(event.map(|event| (event.op, row(event.before), row(event.after)))),
        Err(error) => Err(error.to_string()),
    };
    match (read, expected) {
        (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
        (read, expected) => {
            let expected = expected.map(|event| event.map(|(op, b, a)| (op, b.to_owned(), a.to_owned())));
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        }
    }
}

fn auto(text: &str, expected: Result<Option<(Op, &str, &str)>, &str>) {
    check(Envelope::Auto, text, expected);
}

#[test]
fn envelopes_are_read_in_each_of_their_shapes() {
    let row = r#"{"n":1}"#;
    auto(r#"{"before":null,"after":{"n":1},"op":"c"}"#, Ok(Some((Op::Create, "-", row))));
    auto(r#"{"after":{"n":1},"source":{},"op":"r","ts_ms":1}"#, Ok(Some((Op::Read, "-", row))));
    auto(r#"{"op":"u","before":{"n":1},"after":{"n":1}}"#, Ok(Some((Op::Update, row, row))));
    auto(r#"{"before":{"n":1},"after":null,"op":"d"}"#, Ok(Some((Op::Delete, row, "-"))));
    auto(r#"{"before":null,"after":null,"op":"d"}"#, Ok(Some((Op::Delete, "-", "-"))));
    auto(r#"{"op":"d","ts_ms":1}"#, Ok(Some((Op::Delete, "-", "-"))));
    auto(r#"{"before":null,"after":null,"source":{},"op":"t"}"#, Ok(Some((Op::Truncate, "-", "-"))));
    auto(r#"{"op":"m","source":{},"message":{"prefix":"p"}}"#, Ok(Some((Op::Message, "-", "-"))));
    auto(r#"{"schema":{},"payload":{"after":{"n":1},"op":"c"}}"#, Ok(Some((Op::Create, "-", row))));
    auto(r#"{"payload":{"after":{"n":1},"op":"c"},"schema":null}"#, Ok(Some((Op::Create, "-", row))));
    auto(r#"{"schema":{},"payload":null}"#, Ok(None));
    // A single message transform may have added a member.
    auto(r#"{"after":{"n":1},"op":"c","region":"eu"}"#, Ok(Some((Op::Create, "-", row))));
}

#[test]
fn flat_rows_are_read_where_they_are_certain() {
    for row in [
        r#"{"n":1}"#,
        r#"{"status":"new","ddl":"x"}"#,
        r#"{"op":"paid","n":1}"#,
        r#"{"source":"web","n":1}"#,
        r#"{"id":1,"payload":"{}"}"#,
        r#"{"schema":"public","payload":"{}"}"#,
        r#"{"before":"noon","n":1,"__op":"u"}"#,
        r#"{"__deleted":"false","n":1}"#,
        r#"{"__deleted":false,"__op":null,"n":1}"#,
        r#"{"n":1,"ts_ms":2}"#,
    ] {
        auto(row, Ok(Some((Op::Flat, "-", row))));
    }
    for row in [r#"{"__deleted":"true","n":1}"#, r#"{"__deleted":true,"n":1}"#, r#"{"n":1,"__op":"d"}"#] {
        auto(row, Ok(Some((Op::Delete, row, "-"))));
        check(Envelope::Flat, row, Ok(Some((Op::Delete, row, "-"))));
    }
    auto(r#"{"n":1,"__op":"t"}"#, Ok(Some((Op::Truncate, "-", "-"))));
    auto(r#"{"n":1,"__op":"x"}"#, Err(r#"the event's op is "x""#));
    auto(r#"{"n":1,"__deleted":"yes"}"#, Err(r#"the row's `__deleted` is "yes""#));
    let row = r#"{"before":null,"after":7,"n":1}"#;
    check(Envelope::Flat, row, Ok(Some((Op::Flat, "-", row))));
    check(Envelope::Flat, &format!(r#"{{"schema":{{}},"payload":{row}}}"#), Ok(Some((Op::Flat, "-", row))));
}

#[test]
fn a_row_of_an_audit_table_is_no_envelope() {
    for row in [
        r#"{"id":1,"op":"d","before":null,"after":null}"#,
        r#"{"id":1,"op":"c","before":null,"after":null,"ts_ms":7}"#,
        r#"{"id":1,"op":"t","after":null}"#,
        r#"{"id":1,"op":"u","before":"{\"n\":1}","after":"{\"n\":2}"}"#,
        r#"{"id":1,"op":"d","before":null,"after":null,"source":"web"}"#,
        r#"{"id":1,"op":null,"before":null,"after":null}"#,
    ] {
        auto(row, Err("no envelope for certain. If it is a flat row, set `envelope: flat`"));
        check(Envelope::Flat, row, Ok(Some((Op::Flat, "-", row))));
    }
    // `ExtractNewRecordState` has marked it, or the connector's `source` is there.
    let row = r#"{"id":1,"op":"d","before":null,"after":null,"__op":"c"}"#;
    auto(row, Ok(Some((Op::Flat, "-", row))));
    let event = r#"{"op":"d","before":null,"after":null,"source":{},"region":"eu"}"#;
    auto(event, Ok(Some((Op::Delete, "-", "-"))));
    check(Envelope::Debezium, r#"{"id":1,"op":"d","before":null,"after":null}"#, Ok(Some((Op::Delete, "-", "-"))));
}

#[test]
fn a_row_with_an_op_and_a_source_is_no_envelope() {
    for op in ["c", "r", "u", "d", "t", "m", "paid"] {
        let row = format!(r#"{{"order_id":1,"op":"{op}","source":{{"channel":"web"}},"status":"new"}}"#);
        auto(
            &row,
            Err("neither `before` nor `after`, and is no envelope for certain. If it is a flat row, set `envelope: flat`"),
        );
        auto(&format!(r#"{{"schema":{{}},"payload":{row}}}"#), Err("neither `before` nor `after`"));
        check(Envelope::Flat, &row, Ok(Some((Op::Flat, "-", row.as_str()))));
    }
    let row = r#"{"order_id":1,"op":"d","source":{"channel":"web"},"__deleted":"false"}"#;
    auto(row, Ok(Some((Op::Flat, "-", row))));
    // Truncates and messages have no rows, and no members but Debezium's.
    auto(r#"{"op":"t","source":{},"ts_ms":1,"ts_us":1,"ts_ns":1,"transaction":null}"#, Ok(Some((Op::Truncate, "-", "-"))));
    auto(r#"{"op":"m","source":{},"ts_ms":1,"message":{},"transaction":null}"#, Ok(Some((Op::Message, "-", "-"))));
    auto(r#"{"op":"d","before":null,"source":{},"region":"eu"}"#, Ok(Some((Op::Delete, "-", "-"))));
    check(Envelope::Debezium, r#"{"op":"m","source":{},"region":"eu"}"#, Ok(Some((Op::Message, "-", "-"))));
}

#[test]
fn a_flat_row_has_its_own_op() {
    for (text, expected) in [
        (r#"{"after":{"n":1},"op":"c"}"#, (Op::Create, Op::Create)),
        (r#"{"n":1}"#, (Op::Flat, Op::Update)),
        (r#"{"n":1,"__op":null}"#, (Op::Flat, Op::Update)),
        (r#"{"n":1,"__op":"c","__deleted":"false"}"#, (Op::Flat, Op::Create)),
        (r#"{"n":1,"__op":"r"}"#, (Op::Flat, Op::Read)),
        (r#"{"n":1,"__op":"u","__deleted":"true"}"#, (Op::Delete, Op::Delete)),
        (r#"{"n":1,"__op":"t"}"#, (Op::Truncate, Op::Truncate)),
    ] {
        let mut index = Index::default();
        let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
        let event = Event::read(root).expect(text).expect("it is no tombstone");
        assert_eq!((event.op, event.row_op), expected, "{text}");
    }
}

#[test]
fn what_is_neither_is_refused_by_its_name() {
    auto(r#"{"before":null,"after":{"n":1}}"#, Err("no `op`, and is no row for certain: it has `before` and `after`"));
    auto(r#"{"before":{"n":1},"after":null,"source":{}}"#, Err("it has `before` and `after`"));
    auto(r#"{"after":{"n":1},"n":1}"#, Err("it has `after`, as an envelope"));
    auto(r#"{"before":{"n":1},"n":1}"#, Err("it has `before`, as an envelope"));
    auto(r#"{"before":null,"after":{"n":1},"Op":"c"}"#, Err("it has `before` and `after`"));
    auto(r#"{"before":null,"after":{"n":1},"op":null}"#, Err("the event's op is null"));
    auto(r#"{"before":null,"after":{"n":1},"op":7}"#, Err("the event's op is a number"));
    auto(r#"{"before":null,"after":{"n":1},"op":"C"}"#, Err(r#"the event's op is "C""#));
    auto(r#"{"before":null,"after":null,"op":""}"#, Err(r#"the event's op is """#));
    auto(r#"{"op":"c","source":{},"ts_ms":1}"#, Err("the event's op is Create, but it has no row `after`"));
    auto(r#"{"before":{"n":1},"after":null,"op":"u"}"#, Err("the event's op is Update, but it has no row `after`"));
    auto(r#"{"before":null,"after":[1],"op":"c"}"#, Err("the event's `after` is a JSON array, and no JSON object"));
    auto(r#"{"before":7,"after":{"n":1},"op":"c"}"#, Err("the event's `before` is a number"));
    auto(r#"{"before":null,"after":"{\"n\":1}","op":"c"}"#, Err("`after` is a JSON text, and no JSON object (the MongoDB"));
    auto(r#"{"after":null,"updateDescription":{},"op":"u","source":{}}"#, Err("capture.mode=change_streams_update_full"));
    auto(r#"{"payload":{"after":{"n":1},"op":"c"}}"#, Err("it has a `payload` that is an object"));
    auto(r#"{"schema":{},"payload":{"after":{"n":1},"op":"c"},"n":1}"#, Err("it has a `payload` that is an object"));
    auto(r#"{"schema":{},"payload":[1]}"#, Err("`payload` is a JSON array"));
    auto(r#"{"schema":{},"payload":"x"}"#, Err("`payload` is a JSON text"));
    auto("[1]", Err("not a JSON object"));
    auto("{}", Err("an empty object"));
    auto(r#"{"ts_ms":1}"#, Err("a heartbeat"));
    auto(
        r#"{"status":"BEGIN","id":"7:1","event_count":null,"data_collections":null,"ts_ms":1}"#,
        Err("the begin or the end of a transaction"),
    );
    auto(
        r#"{"source":{},"ts_ms":1,"databaseName":"shop","schemaName":"public","ddl":"ALTER","tableChanges":[]}"#,
        Err("a change of a schema"),
    );
    auto(
        r#"{"id":"1","source":"/debezium","specversion":"1.0","datacontenttype":"application/json","data":{}}"#,
        Err("a CloudEvent"),
    );
    check(Envelope::Debezium, r#"{"n":1}"#, Err("says `envelope: debezium`"));
    check(Envelope::Debezium, r#"{"__op":"u","n":1}"#, Err("says `envelope: debezium`"));
    check(Envelope::Debezium, r#"{"ts_ms":1}"#, Err("a heartbeat"));
}
