//! Cases that the captured events do not show: drops, missing values, foreign keys, and wrong input.

use crate::common::{Outputs, deleted, put, run, shipped_config};
use sandbar_sdk::testing::{Input, Value, json};

const KEY: &str = r#"{"order_id":7}"#;
const ITEMS: &str = r#"[{\"qty\": 2, \"unit_price\": 7.90}]"#;

fn row(status: &str) -> String {
    format!(
        r#"{{"order_id":7,"customer_id":1,"items":"{ITEMS}","status":"{status}","total":"Bis=","currency":"EUR","ordered_at":"x"}}"#
    )
}

fn stripped(status: &str) -> String {
    format!(
        r#"{{"order_id":7,"customer_id":1,"status":"{status}","total":"15.79","currency":"EUR","ordered_at":"x","order_total":"15.80","item_count":2}}"#
    )
}

fn event(op: &str, before: &str, after: &str) -> String {
    format!(r#"{{"before":{before},"after":{after},"source":{{"db":"shop"}},"transaction":null,"op":"{op}","ts_ms":1}}"#)
}

#[track_caller]
fn check(config: &Value, key: Option<&str>, value: &str, expected: Outputs) {
    let input = Input { key: key.map(|key| key.as_bytes().to_vec()), ..Input::text(value) };
    assert_eq!(run(config, input), expected, "key {key:?}, value {value}");
}

#[test]
fn an_order_that_is_to_be_dropped_leaves_nothing_behind() {
    let config = shipped_config();
    let paid = row("paid");
    let cancelled = row("cancelled");
    check(&config, Some(KEY), &event("u", &paid, &paid), put(KEY, &stripped("paid")));
    check(&config, Some(KEY), &event("u", &paid, &cancelled), deleted(KEY));
    check(&config, Some(KEY), &event("u", "null", &cancelled), deleted(KEY));
    // Also where it was cancelled before: the configuration may have been another one then.
    check(&config, Some(KEY), &event("u", &cancelled, &cancelled), deleted(KEY));
    check(&config, Some(KEY), &event("u", &cancelled, &paid), put(KEY, &stripped("paid")));
    // The key may have been there before: a table is truncated and loaded again, or the topic is read again after a change
    // of the configuration.
    check(&config, Some(KEY), &event("c", "null", &paid), put(KEY, &stripped("paid")));
    check(&config, Some(KEY), &event("t", "null", "null"), Ok(vec![]));
    check(&config, Some(KEY), &event("c", "null", &cancelled), deleted(KEY));
    // A snapshot may be a second one, of an order that was written before.
    check(&config, Some(KEY), &event("r", "null", &cancelled), deleted(KEY));
    check(&config, Some(KEY), &event("r", "null", &paid), put(KEY, &stripped("paid")));
    check(&config, Some(KEY), &cancelled, deleted(KEY));
    check(&config, Some(KEY), &cancelled.replace(r#""EUR""#, r#""EUR","__op":"c""#), deleted(KEY));
    check(&config, Some(KEY), &paid.replace(r#""EUR""#, r#""EUR","__op":"d""#), deleted(KEY));
    check(&config, Some(KEY), &paid.replace(r#""EUR""#, r#""EUR","__deleted":"true""#), deleted(KEY));
    check(&config, None, &paid.replace(r#""EUR""#, r#""EUR","__deleted":true"#), deleted(KEY));
    check(&config, Some(KEY), &event("c", "null", &row(r"c\u0061ncelled")), deleted(KEY));
    check(&config, Some(KEY), &event("d", &cancelled, "null"), deleted(KEY));
    let unset = row("x").replace(r#""x","total""#, r#"null,"total""#);
    let config = json!({"keep": ["order_id"], "drop_when": {"field": "status", "in": ["gone", null]}});
    check(&config, Some(KEY), &event("u", "null", &unset), deleted(KEY));
    check(
        &config,
        Some(KEY),
        &event("u", "null", &row("new")),
        put(KEY, r#"{"order_id":7,"order_total":"15.80","item_count":2}"#),
    );
    let missing = row("x").replace("status", "state");
    check(&config, Some(KEY), &event("u", "null", &missing), Err("the row has no column `status`".to_owned()));
}

#[test]
fn the_key_is_the_order_whatever_the_records_key_is() {
    let config = shipped_config();
    let paid = row("paid");
    let value = stripped("paid");
    let update = event("u", "null", &paid);
    for key in [
        None,
        Some(r#"{"customer_id":1}"#),
        Some("1"),
        Some(r#""text""#),
        Some("null"),
        Some(r#"{"order_id":null}"#),
        Some("[1]"),
    ] {
        check(&config, key, &update, put(KEY, &value));
        check(&config, key, &event("d", &paid, "null"), deleted(KEY));
    }
    let same = [r#" { "order_id" : 7 } "#, r#"{"schema":{"type":"struct"},"payload":{"order_id":7}}"#];
    for key in same {
        check(&config, Some(key), &update, put(KEY, &value));
    }
    let wide = r#"{"region":"eu","order_id":7}"#;
    check(&config, Some(wide), &update, put(wide, &value));
    // The key names the order even where `before` does not: REPLICA IDENTITY USING INDEX shows other columns as 0.
    check(&config, Some(KEY), &event("d", r#"{"order_id":0}"#, "null"), deleted(KEY));
    check(&config, Some(KEY), &event("d", "null", "null"), deleted(KEY));
    check(
        &config,
        None,
        &event("d", "null", "null"),
        Err("the event's op is Delete, but it has no row `before`".to_owned()),
    );
    check(&config, Some(r#"{"order_id":"A-7"}"#), &update, put(r#"{"order_id":"A-7"}"#, &value));
    check(
        &config,
        Some("{order_id:7}"),
        &update,
        Err("the record's key is not JSON: a comma, a colon, a quote or a bracket is missing or out of place".to_owned()),
    );
    // Keyed by another column, Debezium sends a change of the order's number as a plain update.
    let moved = event("u", &paid.replace(r#""order_id":7"#, r#""order_id":6"#), &paid);
    let both = Ok(vec![(r#"{"order_id":6}"#.to_owned(), None), (KEY.to_owned(), Some(value.clone()))]);
    check(&config, Some(r#"{"customer_id":1}"#), &moved, both);
}

#[test]
fn tombstones_are_passed_on_where_their_key_is_an_order() {
    let config = shipped_config();
    let tombstone =
        |key: Option<&str>| run(&config, Input { key: key.map(|key| key.as_bytes().to_vec()), ..Input::tombstone() });
    assert_eq!(tombstone(Some(KEY)), deleted(KEY));
    assert_eq!(tombstone(Some(r#"{"schema":{},"payload":{"order_id":7}}"#)), deleted(KEY));
    assert_eq!(tombstone(Some(r#"{"customer_id":7}"#)), Ok(vec![]));
    assert_eq!(tombstone(Some("7")), Ok(vec![]));
    assert_eq!(tombstone(None), Ok(vec![]));
    assert!(tombstone(Some("")).is_err());
    assert!(tombstone(Some("{")).is_err());
    check(&config, Some(KEY), r#"{"schema":null,"payload":null}"#, deleted(KEY));
}

#[test]
fn a_value_that_was_not_sent_is_taken_from_before_or_refused() {
    let config = json!({"keep": ["order_id", "note", "tags"]});
    let rows =
        |note: &str, tags: &str, items: &str| format!(r#"{{"order_id":7,"note":{note},"tags":{tags},"items":{items}}}"#);
    let whole = rows(r#""n""#, r#"["t"]"#, &format!("\"{ITEMS}\""));
    let expected = put(KEY, r#"{"order_id":7,"note":"n","tags":["t"],"order_total":"15.80","item_count":2}"#);
    let gone = r#""__debezium_unavailable_value""#;
    let after = rows(gone, r#"["__debezium_unavailable_value"]"#, gone);
    check(&config, Some(KEY), &event("u", &whole, &after), expected.clone());
    let refused = |column: &str| {
        Err(format!(
            "column `{column}` was not sent (PostgreSQL leaves out large values that did not change), and `before` does not hold it: set REPLICA IDENTITY FULL on the table"
        ))
    };
    check(&config, Some(KEY), &event("u", "null", &after), refused("note"));
    check(&config, Some(KEY), &event("u", &after, &after), refused("note"));
    check(&config, Some(KEY), &event("u", r#"{"order_id":7,"note":"n"}"#, &after), refused("tags"));
    check(&config, Some(KEY), &event("u", "null", &rows("1", "2", gone)), refused("items"));
    check(
        &config,
        Some(KEY),
        &event("u", "null", &rows(r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#, "2", "[]")),
        refused("note"),
    );
    // A column that is not kept may be unavailable.
    check(
        &json!({"keep": ["order_id"]}),
        Some(KEY),
        &event("u", "null", &rows(gone, gone, "[]")),
        put(KEY, r#"{"order_id":7,"order_total":"0","item_count":0}"#),
    );
    let text = r#"{"order_id":7,"note":"about __debezium_unavailable_value","tags":null,"items":null}"#;
    check(
        &config,
        Some(KEY),
        text,
        put(
            KEY,
            r#"{"order_id":7,"note":"about __debezium_unavailable_value","tags":null,"order_total":"0","item_count":0}"#,
        ),
    );
}

#[test]
fn money_is_exact_or_refused() {
    let config = json!({"keep": ["total"], "decimals": {"total": 2}, "items_field": null});
    let total = |total: &str| event("c", "null", &format!(r#"{{"order_id":7,"total":{total}}}"#));
    let cases = [
        (r#""Ctw=""#, "27.80"),
        (r#""Ctw\u003d""#, "27.80"),
        ("27.80", "27.80"),
        (r#""27.80""#, "27.80"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("12345678901234567890.12", "12345678901234567890.12"),
        (r#""AA==""#, "0.00"),
        (r#""/w==""#, "-0.01"),
        (r#""AMDELzd2BqFbNGqrUczYmQ==""#, "10009000900090009000900090009000900.09"),
        (r#"{"scale":4,"value":"BD3w"}"#, "27.8000"),
        (r#"{"value":"Dw==","scale":1}"#, "1.5"),
    ];
    for (written, expected) in cases {
        check(&config, Some(KEY), &total(written), put(KEY, &format!(r#"{{"total":"{expected}"}}"#)));
    }
    check(&config, Some(KEY), &total("null"), put(KEY, r#"{"total":null}"#));
    let refused = [
        (r#""NaN""#, r#""NaN" is NaN or infinite, which no exact decimal can be"#),
        (r#""-Infinity""#, r#""-Infinity" is NaN or infinite, which no exact decimal can be"#),
        (r#""27,80""#, r#""27,80" is not the base64 of a decimal's bytes"#),
        (r#""""#, r#""" is not the base64 of a decimal's bytes"#),
        (r#""AQAAAAAAAAAAAAAAAAAAAAAAAAA=""#, r#""AQAAAAAAAAAAAAAAAAAAAAAAAAA=" has more than 38 digits"#),
        ("true", r#""true" is not a number"#),
        ("27.8.0", r#""27.8.0" is not a number"#),
        (r#"{"scale":99,"value":"BD3w"}"#, r#""{\"scale\":99,\"value\":\"BD3w\"}" has more than 38 digits"#),
    ];
    for (written, expected) in refused {
        let written = total(written);
        let sent = run(&config, Input::text(&written).key(KEY));
        assert_eq!(sent, Err(format!("column `total`: {expected}")), "{written}");
    }
}

#[test]
fn what_is_wrong_fails_alone_with_a_reason() {
    let config = shipped_config();
    let bad_items = row("paid").replace(ITEMS, r#"[{\"qty\": 2}]"#);
    let cases = [
        ("", "the value is not JSON: the text ends too early"),
        ("order 7", "the value is not JSON: a comma, a colon, a quote or a bracket is missing or out of place"),
        ("[1]", "the value is not a JSON object"),
        ("\"text\"", "the value is not JSON: a comma, a colon, a quote or a bracket is missing or out of place"),
        (&event("x", "null", &row("paid")), r#"the event's op is "x", which Debezium does not have"#),
        (&event("u", &row("paid"), "null"), "the event's op is Update, but it has no row `after`"),
        (&event("c", "null", &row("paid"))[..200], "the value is not JSON: the text ends too early"),
        (&event("c", "null", &bad_items), "column `items`: item 1 has no unit_price"),
        (
            &event("c", "null", &row("paid").replace(r#""customer_id":1"#, r#""customer_id":1.2.3"#)),
            "column `customer_id`: a word is neither a number nor true, false or null",
        ),
        (&event("c", "null", &row("paid").replace("items", "lines")), "the row has no column `items`"),
        (
            &event("c", "null", &row("pa\nid")),
            "the value is not JSON: a string holds a control character or an unknown escape",
        ),
        (
            r#"{"schema":{"fields":[{"field":"after","fields":7}]},"payload":{"after":{"order_id":7,"items":"[]","status":"x"},"op":"c"}}"#,
            "the value is not JSON: a comma, a colon, a quote or a bracket is missing or out of place",
        ),
    ];
    for (value, expected) in cases {
        check(&config, Some(KEY), value, Err(expected.to_owned()));
    }
    let mut latin1 = event("c", "null", &row("paid")).into_bytes();
    let at = latin1.windows(3).position(|window| window == b"EUR").expect("it has a currency");
    latin1[at] = 0xE9;
    let sent = run(&config, Input::bytes(latin1).key(KEY));
    assert_eq!(sent, Err("what would be written is not UTF-8, so the record is not either".to_owned()));
}

#[test]
fn names_may_be_written_with_escapes() {
    let config = json!({"keep": ["größe", "a\"b"], "items_field": null});
    check(&config, Some(KEY), r#"{"order_id":7,"gr\u00f6\u00dfe":1,"a\u0022b":2}"#, put(KEY, r#"{"größe":1,"a\"b":2}"#));
    check(&config, Some(KEY), r#"{"order_id":7,"größe":1,"a\"b":2}"#, put(KEY, r#"{"größe":1,"a\"b":2}"#));
}
