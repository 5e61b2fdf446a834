//! Inputs on which readers of Debezium's events have had wrong values: each comes out right, or fails by its name.

use crate::common::{Outputs, deleted, put, run};
use sandbar_sdk::testing::{Input, Value, json};

const KEY: &str = r#"{"order_id":7}"#;

/// The outputs that are expected, or a part of the reason.
#[track_caller]
fn check(config: &Value, key: &str, value: &str, expected: Result<Outputs, &str>) {
    let outputs = run(config, Input::text(value).key(key));
    match (outputs, expected) {
        (Err(error), Err(part)) => assert!(error.contains(part), "{value}: {error}"),
        (outputs, Ok(expected)) => assert_eq!(outputs, expected, "{value}"),
        (outputs, Err(part)) => panic!("{value}: {outputs:?}, where the reason says {part:?}"),
    }
}

fn event(op: &str, before: &str, after: &str) -> String {
    format!(r#"{{"before":{before},"after":{after},"source":{{"db":"shop"}},"op":"{op}","ts_ms":1}}"#)
}

/// The bytes of `__debezium_unavailable_value`.
const NUMBERS: &str = "[95, 95, 100, 101, 98, 101, 122, 105, 117, 109, 95, 117, 110, 97, 118, 97, 105, 108, 97, 98, 108, 101, 95, 118, 97, 108, 117, 101]";

#[test]
fn a_value_that_was_not_sent_is_recognised_in_every_column_type() {
    let config = json!({"keep": ["order_id", "v"], "items_field": null});
    for mark in [
        r#""__debezium_unavailable_value""#,
        r#"["__debezium_unavailable_value"]"#,
        NUMBERS,
        &NUMBERS.replace(' ', ""),
        r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#,
        r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
        r#"["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]"#,
        r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
        r#""{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}""#,
        r#""5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#,
    ] {
        let after = format!(r#"{{"order_id":7,"v":{mark}}}"#);
        let before = r#"{"order_id":7,"v":[1,2]}"#;
        const REFUSED: Result<Outputs, &str> = Err("column `v` was not sent");
        check(&config, KEY, &event("u", before, &after), Ok(put(KEY, r#"{"order_id":7,"v":[1,2]}"#)));
        for without in [
            "null",
            r#"{"order_id":7}"#,
            r#"{"order_id":7,"v":null}"#,
            r#"{"order_id":7,"v":""}"#,
            r#"{"order_id":7,"v":"[]"}"#,
            r#"{"order_id":7,"v":"{}"}"#,
            r#"{"order_id":7,"v":[]}"#,
            &after,
        ] {
            check(&config, KEY, &event("u", without, &after), REFUSED);
        }
        // The default of the column, as the schema says it; without a schema nothing tells it from a value.
        let fallback = r#"{"order_id":7,"v":"n/a"}"#;
        let schema = r#"{"fields":[{"field":"after","fields":[{"type":"string","default":"n/a","field":"v"}]}]}"#;
        let with_schema = format!(r#"{{"schema":{schema},"payload":{}}}"#, event("u", fallback, &after));
        check(&config, KEY, &with_schema, REFUSED);
        check(
            &config,
            KEY,
            &with_schema.replace(r#""v":"n/a""#, r#""v":"old""#),
            Ok(put(KEY, r#"{"order_id":7,"v":"old"}"#)),
        );
        check(&config, KEY, &event("u", fallback, &after), Ok(put(KEY, fallback)));
        check(&config, KEY, &after, REFUSED);
    }
}

/// REPLICA IDENTITY USING INDEX (order_id, status): `before` has these two, and the default of `items`.
#[test]
fn the_default_of_the_items_is_not_what_was_left_out() {
    let config = json!({"keep": ["status"]});
    let mark = r#""__debezium_unavailable_value""#;
    let row = |status: &str, items: &str| format!(r#"{{"order_id":7,"status":"{status}","items":{items}}}"#);
    let update = |items: &str| event("u", &row("new", items), &row("paid", mark));
    check(&config, KEY, &update(r#""[]""#), Err("column `items` was not sent"));
    let items = r#""[{\"qty\": 2, \"unit_price\": 7.90}]""#;
    let paid = r#"{"status":"paid","order_total":"15.80","item_count":2}"#;
    check(&config, KEY, &update(items), Ok(put(KEY, paid)));
    // Sent as it is, an order without items is one.
    let none = r#"{"status":"paid","order_total":"0","item_count":0}"#;
    check(&config, KEY, &event("u", "null", &row("paid", r#""[]""#)), Ok(put(KEY, none)));
}

/// Of a topic that is keyed by something else, the row says the key. Debezium writes zero, an empty value or the default
/// into a column that is `NOT NULL` and outside of the replica identity.
#[test]
fn a_filler_is_no_key() {
    let config = json!({"keep": ["sku"], "items_field": null});
    let customer = r#"{"customer_id":1}"#;
    let row = |id: &str| format!(r#"{{"order_id":{id},"sku":"tea"}}"#);
    const REFUSED: Result<Outputs, &str> = Err("set REPLICA IDENTITY FULL");
    let sku = || Ok(put(KEY, r#"{"sku":"tea"}"#));
    for filler in ["0", "0.00", r#""""#, r#""0.00""#, r#""AA==""#, "false", "null", r#"{"scale":0,"value":"AA=="}"#] {
        let filled = row(filler);
        check(&config, customer, &event("d", &filled, "null"), REFUSED);
        check(&config, customer, &filled.replace(r#""tea""#, r#""tea","__deleted":"true""#), REFUSED);
        check(&config, customer, &event("u", &filled, &row("7")), REFUSED);
        // The record's own key is certain.
        check(&config, KEY, &event("d", &filled, "null"), Ok(deleted(KEY)));
        check(&config, KEY, &event("u", &filled, &row("7")), sku());
    }
    check(&config, customer, &event("d", r#"{"sku":"tea"}"#, "null"), REFUSED);
    // Nothing has moved.
    check(&config, customer, &event("u", "null", &row("7")), sku());
    check(&config, customer, &event("u", &row("7"), &row("7")), sku());
    let zero = r#"{"order_id":0}"#;
    check(&config, customer, &event("u", &row("0"), &row("0")), Ok(put(zero, r#"{"sku":"tea"}"#)));
    check(&config, zero, &event("d", &row("0"), "null"), Ok(deleted(zero)));
    // One part is not known.
    let wide = json!({"keep": ["sku"], "items_field": null, "key_field": ["order_id", "region"]});
    let part = |region: &str| format!(r#"{{"order_id":7,"region":{region},"sku":"tea"}}"#);
    check(&wide, customer, &event("d", &part(r#""""#), "null"), REFUSED);
    check(&wide, customer, &event("d", &part(r#""eu""#), "null"), Ok(deleted(r#"{"order_id":7,"region":"eu"}"#)));
    // By the schema `eu` is the default.
    let schema = r#"{"fields":[{"field":"before","fields":[{"type":"string","default":"eu","field":"region"}]}]}"#;
    let delete = format!(r#"{{"schema":{schema},"payload":{}}}"#, event("d", &part(r#""eu""#), "null"));
    check(&wide, customer, &delete, REFUSED);
    check(
        &wide,
        customer,
        &delete.replace(r#""region":"eu""#, r#""region":"us""#),
        Ok(deleted(r#"{"order_id":7,"region":"us"}"#)),
    );
}

#[test]
fn a_connector_may_have_a_placeholder_of_its_own() {
    let config = json!({"keep": ["v"], "items_field": null, "unavailable_value_placeholder": "-gone-"});
    let with = |value: &str| event("u", r#"{"v":"old"}"#, &format!(r#"{{"v":{value}}}"#));
    for mark in [r#""-gone-""#, r#"["-gone-"]"#, "[45,103,111,110,101,45]", r#""LWdvbmUt""#] {
        check(&config, KEY, &with(mark), Ok(put(KEY, r#"{"v":"old"}"#)));
    }
    let other = r#""__debezium_unavailable_value""#;
    check(&config, KEY, &with(other), Ok(put(KEY, &format!(r#"{{"v":{other}}}"#))));
}

#[test]
fn an_envelope_that_lost_a_part_is_no_row() {
    let config = json!({"keep": ["status", "total"], "items_field": null});
    for (value, part) in [
        (r#"{"before":null,"after":{"status":"new"}}"#, "no `op`"),
        (r#"{"before":{"status":"new"},"after":{"status":"paid"}}"#, "no `op`"),
        (r#"{"before":{"status":"paid"},"after":null}"#, "no `op`"),
        (r#"{"before":{"status":"paid"},"after":null,"Op":"d"}"#, "no `op`"),
        (r#"{"before":null,"after":{"status":"new"},"op":"C"}"#, r#"op is "C""#),
        (r#"{"payload":{"before":null,"after":{"status":"new"},"op":"c"}}"#, "`payload`"),
        (r#"{"foo":1,"bar":2}"#, "none of the kept columns, but `foo`, `bar`. Set `allow_empty: true`"),
        (&event("c", "null", r#"{"foo":1}"#), "none of the kept columns, but `foo`"),
        (r#"{"audit_id":1,"op":"d","before":null,"after":null}"#, "no envelope for certain"),
        (r#"{"ts_ms":1}"#, "a heartbeat"),
        (r#"{"databaseName":"d","ddl":"ALTER","tableChanges":[],"source":{}}"#, "a change of a schema"),
        (r#"{"status":"END","id":"1","event_count":3,"data_collections":[],"ts_ms":1}"#, "the end of a transaction"),
    ] {
        check(&config, KEY, value, Err(part));
    }
    let allowed = json!({"keep": ["status"], "items_field": null, "allow_empty": true});
    check(&allowed, KEY, r#"{"foo":1}"#, Ok(put(KEY, "{}")));
    let flat = json!({"keep": ["before", "op"], "items_field": null, "envelope": "flat"});
    let row = r#"{"before":"noon","after":null,"op":"c"}"#;
    check(&flat, KEY, row, Ok(put(KEY, r#"{"before":"noon","op":"c"}"#)));
    let envelopes = json!({"keep": ["status"], "items_field": null, "envelope": "debezium"});
    check(&envelopes, KEY, r#"{"status":"new"}"#, Err("`envelope: debezium`"));
    check(&envelopes, KEY, &event("c", "null", r#"{"status":"new"}"#), Ok(put(KEY, r#"{"status":"new"}"#)));
}

#[test]
fn a_key_of_several_columns_is_kept_whole() {
    let config = json!({"keep": ["sku"], "items_field": null});
    for (key, whole) in [
        (r#"{"order_id":7,"line_no":1}"#, r#"{"order_id":7,"line_no":1}"#),
        (r#"{"order_id": 7, "line_no": 2}"#, r#"{"order_id":7,"line_no":2}"#),
        (r#"{"line_no":3,"order_id":7}"#, r#"{"line_no":3,"order_id":7}"#),
        (r#"{"schema":{},"payload":{"order_id":7,"line_no":4}}"#, r#"{"order_id":7,"line_no":4}"#),
        (
            r#"{"order_id":7,"__dbz__physicalTableIdentifier":"shop.public.eu"}"#,
            r#"{"order_id":7,"__dbz__physicalTableIdentifier":"shop.public.eu"}"#,
        ),
        (r#"{"order_id":{"scale":0,"value":"Bw=="},"line_no":1}"#, r#"{"order_id":7,"line_no":1}"#),
    ] {
        let row = r#"{"order_id":7,"sku":"tea"}"#;
        check(&config, key, &event("c", "null", row), Ok(put(whole, r#"{"sku":"tea"}"#)));
        check(&config, key, &event("d", row, "null"), Ok(deleted(whole)));
        assert_eq!(run(&config, Input::tombstone().key(key)), deleted(whole), "{key}");
    }
    let place = r#"{"order_id":7,"place":{"x":1}}"#;
    check(&config, place, &event("d", "null", "null"), Err("has a JSON object as `place`"));
    // Of a topic that is keyed by something else, the row says the whole key.
    let wide = json!({"keep": ["sku"], "items_field": null, "key_field": ["order_id", "line_no"]});
    let row = |line: u8| format!(r#"{{"order_id":7,"line_no":{line},"sku":"tea"}}"#);
    let customer = r#"{"customer_id":1}"#;
    let one = r#"{"order_id":7,"line_no":1}"#;
    check(&wide, customer, &event("c", "null", &row(1)), Ok(put(one, r#"{"sku":"tea"}"#)));
    check(&wide, customer, &event("d", &row(1), "null"), Ok(deleted(one)));
    check(&wide, customer, &event("c", "null", r#"{"order_id":7,"sku":"tea"}"#), Err("`order_id`, `line_no`"));
}

fn with_schema(column: &str, row: &str) -> String {
    let fields = format!(r#"[{{"field":"after","fields":[{{"type":"string","field":"status"}},{column}]}}]"#);
    format!(r#"{{"schema":{{"fields":{fields}}},"payload":{{"before":null,"after":{row},"op":"c"}}}}"#)
}

#[test]
fn money_is_read_by_the_schema_or_by_the_configuration() {
    let config = json!({"keep": ["status", "total"], "items_field": null});
    let decimal = |name: &str, scale: &str| {
        format!(
            r#"{{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{{"scale":{scale}}},"field":"{name}"}}"#
        )
    };
    let row = r#"{"status":"new","total":"Dw=="}"#;
    let total = |total: &str| Ok(put(KEY, &format!(r#"{{"status":"new","total":"{total}"}}"#)));
    check(&config, KEY, &with_schema(&decimal("total", "\"2\""), row), total("0.15"));
    check(&config, KEY, &with_schema(&decimal("total", "\"-2\""), row), total("1500"));
    check(&config, KEY, &with_schema(&decimal("total", "127"), row), Err("more than 38 digits"));
    check(
        &config,
        KEY,
        &with_schema(&decimal("total", "\"x\""), row),
        Err("column `total`: the scale in the event's schema"),
    );
    // Nobody keeps these columns.
    let other = r#"{"status":"new","rate":"Dw==","weight":{"scale":999,"value":"!"}}"#;
    for scale in ["\"127\"", "\"-2\"", "\"x\"", "null"] {
        check(&config, KEY, &with_schema(&decimal("rate", scale), other), Ok(put(KEY, r#"{"status":"new"}"#)));
    }
    let variable = r#"{"type":"struct","name":"io.debezium.data.VariableScaleDecimal","field":"total"}"#;
    let scaled = r#"{"status":"new","total":{"scale":-2,"value":"Dw=="}}"#;
    check(&config, KEY, &with_schema(variable, scaled), total("1500"));
    // Decimals within a column come encoded, one by one.
    let decimals = decimal("element", "\"2\"");
    for parts in [
        format!(r#""type":"array","items":{decimals}"#),
        format!(r#""type":"map","keys":{{"type":"string"}},"values":{decimals}"#),
        format!(r#""type":"struct","fields":[{{"type":"string"}},{{"type":"array","items":{decimals}}}]"#),
        r#""type":"array","items":{"type":"struct","name":"io.debezium.data.VariableScaleDecimal"}"#.to_owned(),
    ] {
        let column = format!(r#"{{{parts},"field":"total"}}"#);
        let list = r#"{"status":"new","total":["Dw=="]}"#;
        check(&config, KEY, &with_schema(&column, list), Err("column `total`: it has decimals within it"));
        let none = r#"{"status":"new","total":null}"#;
        check(&config, KEY, &with_schema(&column, none), Ok(put(KEY, none)));
    }
    let texts = r#"{"type":"array","items":{"type":"string"},"field":"total"}"#;
    let list = r#"{"status":"new","total":["0.15"]}"#;
    check(&config, KEY, &with_schema(texts, list), Ok(put(KEY, list)));
    // A schema that says something else than the configuration wins, one that says nothing leaves it to that.
    let precise =
        json!({"keep": ["status", "total"], "items_field": null, "decimals": {"total": {"mode": "precise", "scale": 2}}});
    let text = r#"{"status":"new","total":"1234"}"#;
    check(&precise, KEY, &with_schema(r#"{"type":"string","field":"total"}"#, text), total("1234"));
    check(&precise, KEY, &with_schema(r#"{"type":"string","field":"note"}"#, row), total("0.15"));
    check(&precise, KEY, &with_schema(r#"{"type":"boolean","field":"total"}"#, text), Err("says that it is no decimal"));
    let dropping = json!({"keep": ["status"], "items_field": null, "drop_when": {"field": "total", "in": ["0.15"]}});
    check(&dropping, KEY, &with_schema(&decimal("total", "\"2\""), row), Err("`drop_when` cannot look at `total`"));
    // Nor is it a key, or the price of an item.
    let foreign = r#"{"customer_id":1}"#;
    let keyed = json!({"keep": ["status"], "items_field": null, "key_field": "total"});
    check(&keyed, foreign, &with_schema(&decimal("total", "\"2\""), row), Err("the row has an encoded decimal"));
    let number = r#"{"status":"new","total":7}"#;
    check(
        &keyed,
        foreign,
        &with_schema(&decimal("total", "\"0\""), number),
        Ok(put(r#"{"total":7}"#, r#"{"status":"new"}"#)),
    );
    let sold = json!({"keep": ["status"], "items_field": "total"});
    let item = format!(r#"{{"type":"struct","fields":[{}]}}"#, decimal("unit_price", "\"0\""));
    let items = format!(r#"{{"type":"array","items":{item},"field":"total"}}"#);
    let row = r#"{"status":"new","total":[{"qty":1,"unit_price":"1234"}]}"#;
    check(&sold, KEY, &with_schema(&items, row), Err("column `total`: it has decimals within it"));
    let none = r#"{"status":"new","total":null}"#;
    let empty = r#"{"status":"new","order_total":"0","item_count":0}"#;
    check(&sold, KEY, &with_schema(&items, none), Ok(put(KEY, empty)));
}

#[test]
fn text_and_base64_are_never_guessed() {
    let config = |spec: Value| json!({"keep": ["total"], "items_field": null, "decimals": {"total": spec}});
    let total = |total: &str| Ok(put(KEY, &format!(r#"{{"total":"{total}"}}"#)));
    let row = |total: &str| event("c", "null", &format!(r#"{{"total":{total}}}"#));
    let precise = config(json!({"mode": "precise", "scale": 2}));
    let string = config(json!({"mode": "string"}));
    let double = config(json!("double"));
    let unsaid = config(json!(2));
    check(&precise, KEY, &row(r#""1234""#), total("-26588.24"));
    check(&string, KEY, &row(r#""1234""#), total("1234"));
    check(&unsaid, KEY, &row(r#""1234""#), Err("is a number and base64 alike"));
    check(&precise, KEY, &row(r#""27.80""#), Err("is not the base64"));
    check(&string, KEY, &row(r#""Ctw=""#), Err("is not a number"));
    check(&string, KEY, &row("27.8"), Err("decimal.handling.mode=string"));
    check(&double, KEY, &row("27.8"), total("27.8"));
    check(&double, KEY, &row(r#""27.80""#), Err("decimal.handling.mode=double"));
    check(&unsaid, KEY, &row(r#""27.80""#), total("27.80"));
    check(&unsaid, KEY, &row(r#""Ctw=""#), total("27.80"));
    check(&config(json!(-2)), KEY, &row(r#""Dw==""#), total("1500"));
}

#[test]
fn mongodb_documents_fail_with_the_way_out() {
    let config = json!({"keep": ["order_id", "status"], "items_field": null});
    let document =
        r#"{"before":null,"after":"{\"_id\": 1}","updateDescription":null,"source":{"connector":"mongodb"},"op":"c"}"#;
    check(&config, KEY, document, Err("the event's `after` is a JSON text, and no JSON object (the MongoDB connector"));
    let update = r#"{"before":null,"after":null,"updateDescription":{"updatedFields":"{}"},"source":{},"op":"u"}"#;
    check(&config, KEY, update, Err("set capture.mode=change_streams_update_full"));
}

/// Shapes of other connectors: MySQL's unsigned numbers, bits and zero dates (null, or the epoch in a column that is
/// not null), Oracle's numbers.
#[test]
fn values_of_other_connectors_are_kept_as_they_are() {
    let config = json!({"keep": ["big", "flags", "on", "amount"], "items_field": null, "decimals": {"amount": {"mode": "precise", "scale": 0}}});
    let row = r#"{"big":18446744073709551615,"flags":"Aw==","on":null,"amount":{"scale":2,"value":"Ctw="}}"#;
    let kept = r#"{"big":18446744073709551615,"flags":"Aw==","on":null,"amount":"27.80"}"#;
    check(&config, KEY, &event("c", "null", row), Ok(put(KEY, kept)));
}
