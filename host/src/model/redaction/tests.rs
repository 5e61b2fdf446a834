//! Masks of records that want to pass them.

use super::*;

fn mask(paths: &[&str]) -> Mask {
    let paths = paths.iter().map(|path| path.parse().expect("a path")).collect();
    Mask::of([RedactionRule { paths, ..RedactionRule::default() }].iter())
}

/// Checks a value masked by these paths; `not_json` and the like for one that is masked whole.
#[track_caller]
fn check(paths: &[&str], value: &str, expected: &str) {
    let shown = match mask(paths).value(Some(value)) {
        Masked::Json(json) => json,
        Masked::Whole(Some(why)) => why.as_str().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown, expected, "{paths:?} of {value}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn paths_mask_their_places_and_leave_the_rest_as_it_is() {
    check(&["$.email"], r#"{"email":"secret", "total": 10.10}"#, r#"{"email":"***","total":10.10}"#);
    check(&["$.a.b"], r#"{"a":{"b":"secret","c":1},"b":2}"#, r#"{"a":{"b":"***","c":1},"b":2}"#);
    check(&["$.a[*].b"], r#"{"a":[{"b":"secret"},{"b":["secret"]},{"c":3}]}"#, r#"{"a":[{"b":"***"},{"b":"***"},{"c":3}]}"#);
    check(&["$.a[1]"], r#"{"a":[1,"secret",3]}"#, r#"{"a":[1,"***",3]}"#);
    check(&["$[0]"], r#"["secret",2]"#, r#"["***",2]"#);
    check(&["$.*"], r#"{"a":"secret","b":{"c":"secret"}}"#, r#"{"a":"***","b":"***"}"#);
    check(
        &["$..email"],
        r#"{"a":[{"x":{"email":"secret"}}],"email":null}"#,
        r#"{"a":[{"x":{"email":"***"}}],"email":"***"}"#,
    );
    check(&["$..a..b"], r#"{"b":1,"a":{"a":{"x":{"b":"secret"}}}}"#, r#"{"b":1,"a":{"a":{"x":{"b":"***"}}}}"#);
    check(&["$..*"], r#"{"a":"secret","b":[1]}"#, r#"{"a":"***","b":"***"}"#);
    check(&["$.email", "$.name"], r#"{"name":"secret","email":7}"#, r#"{"name":"***","email":"***"}"#);
    check(&["$.n"], r#"{"n":12345678901234567890123,"m":1e400,"o":-0.0}"#, r#"{"n":"***","m":1e400,"o":-0.0}"#);
    check(&["$.x"], "{}", "{}");
    check(&["$['e-mail']"], r#"{"e-mail":"secret"}"#, r#"{"e-mail":"***"}"#);
}

#[test]
fn a_path_of_a_row_holds_in_its_envelopes() {
    for (value, expected) in [
        (r#"{"before":null,"after":{"email":"secret"},"op":"c"}"#, r#"{"before":null,"after":{"email":"***"},"op":"c"}"#),
        (r#"{"before":{"email":"secret"},"after":null}"#, r#"{"before":{"email":"***"},"after":null}"#),
        (r#"{"schema":{},"payload":{"email":"secret"}}"#, r#"{"schema":{},"payload":{"email":"***"}}"#),
        (r#"{"payload":{"after":{"email":"secret"}}}"#, r#"{"payload":{"after":{"email":"***"}}}"#),
        (r#"{"payload":{"before":{"email":"secret"}}}"#, r#"{"payload":{"before":{"email":"***"}}}"#),
        (r#"{"email":"secret"}"#, r#"{"email":"***"}"#),
    ] {
        check(&["$.email"], value, expected);
    }
    check(&["$.after.email"], r#"{"payload":{"after":{"email":"secret"}}}"#, r#"{"payload":{"after":{"email":"***"}}}"#);
    // An unwrapped payload may be JSON in a text, as an outbox has it.
    check(&["$.email"], r#"{"payload":"{\"email\":\"secret\"}"}"#, r#"{"payload":"***"}"#);
}

#[test]
fn no_spelling_passes_a_mask() {
    check(&["$.email"], r#"{"email":"secret1","email":"secret2"}"#, r#"{"email":"***","email":"***"}"#);
    check(&["$.a.b"], r#"{"a":{"b":"secret"},"a":{"b":["secret"]}}"#, r#"{"a":{"b":"***"},"a":{"b":"***"}}"#);
    check(&["$.email"], r#"{"\u0065mail":"secret"}"#, r#"{"email":"***"}"#);
    check(&["$.email"], r#"{"e\u006dail":{"x":"secret"}}"#, r#"{"email":"***"}"#);
    check(&["$['a/b']"], r#"{"a\/b":"secret"}"#, r#"{"a/b":"***"}"#);
    check(&["$.x"], r#"{"y":"{\"x\":\"secret\"}"}"#, r#"{"y":"***"}"#);
    check(&["$.x"], r#"{"y":" \ufeff [\"secret\"]"}"#, r#"{"y":"***"}"#);
    check(&["$.x"], r#"{"y":"\"{\\\"x\\\":\\\"secret\\\"}\""}"#, r#"{"y":"***"}"#);
    check(&["$.x"], r#"{"y":"\ud800 secret"}"#, r#"{"y":"***"}"#);
    check(&["$.x"], "{\"x\" :\t\n\"secret\" }", r#"{"x":"***"}"#);
}

#[test]
fn content_without_known_places_is_masked_whole() {
    for value in [
        "",
        "secret",
        "\"secret\"",
        "12",
        "true",
        "null",
        "\u{feff}{\"x\":\"secret\"}",
        "{\"x\":\"secret\"} {}",
        "{\"x\":\"secret\"}secret",
        "{\"x\":\"secret\"",
        "{'x':'secret'}",
        "{x:\"secret\"}",
        "{\"x\":\"secret\",}",
        "{\"a\":1,\"x\":\"se\ncret\"}",
        "{\"a\":1} // {\"x\":\"secret\"}",
        "{\"\\ud800\":\"secret\"}",
        "{\"a\":01,\"x\":\"secret\"}",
        "{\"a\":NaN,\"x\":\"secret\"}",
        "Struct{x=secret}",
    ] {
        check(&["$.x"], value, "not_json");
    }
    let deep = |levels: usize| format!("{}\"secret\"{}", "[".repeat(levels), "]".repeat(levels));
    check(&["$.x"], &deep(65), "too_deep");
    check(&["$.x"], &deep(100_000), "too_deep");
    check(&["$..[0]"], &deep(100_000), r#"["***"]"#);
    assert!(matches!(mask(&["$.x"]).value(Some(&deep(64))), Masked::Json(_)));
    assert_eq!(mask(&["$.x"]).value(None), Masked::Whole(Some(Unmaskable::Binary)));
}

#[test]
fn a_large_value_is_masked_in_time() {
    let row = r#"{"a":[{"email":"secret","n":1}],"b":"x"},"#;
    let value = format!("[{}0]", row.repeat(20_000));
    let Masked::Json(shown) = mask(&["$..email", "$[*].a[*].n"]).value(Some(&value)) else { panic!("it is JSON") };
    assert_eq!((shown.matches("\"***\"").count(), shown.contains("secret")), (40_000, false));
}

#[test]
fn keys_headers_and_values_are_masked_by_their_own_rules() {
    let rule = |rule: RedactionRule| Mask::of([rule].iter());
    let keys = rule(RedactionRule { keys: true, ..RedactionRule::default() });
    assert_eq!((keys.key(Some("42")), keys.value(Some("secret"))), (Masked::Whole(None), Masked::Same));
    let values = rule(RedactionRule { values: true, ..RedactionRule::default() });
    assert_eq!((values.key(None), values.value(Some("{}"))), (Masked::Same, Masked::Whole(None)));
    let headers = rule(RedactionRule { headers: vec!["Authorization".into()], ..RedactionRule::default() });
    for (name, is_masked) in [
        ("authorization", true),
        ("AUTHORIZATION", true),
        ("was.authorization", true),
        ("author", false),
        ("sandbar.error.message", true),
        ("was.sandbar.error.message", true),
        ("Was.was.Sandbar.error.message", true),
        ("was.sandbar.error.code", false),
        ("sandbar.error.code", false),
    ] {
        assert_eq!(headers.has_header(name), is_masked, "{name}");
    }
    assert!(rule(RedactionRule { headers: vec!["*".into()], ..RedactionRule::default() }).has_header("any"));
    let paths = mask(&["$.email"]);
    for (key, expected) in [
        ("42", Masked::Same),
        (r#"{"email":"secret"}"#, Masked::Json(r#"{"email":"***"}"#.into())),
        ("Struct{email=secret}", Masked::Whole(Some(Unmaskable::NotJson))),
        (r#""{\"email\":\"secret\"}""#, Masked::Whole(Some(Unmaskable::NotJson))),
    ] {
        assert_eq!(paths.key(Some(key)), expected, "{key}");
    }
    assert_eq!(paths.key(None), Masked::Whole(Some(Unmaskable::Binary)));
}

#[test]
fn several_rules_mask_all_that_one_of_them_masks() {
    let path = |raw: &str| vec![raw.parse().expect("a path")];
    let rules = [
        RedactionRule { paths: path("$.a"), keys: true, ..RedactionRule::default() },
        RedactionRule { paths: path("$.b"), headers: vec!["h".into()], ..RedactionRule::default() },
    ];
    let mask = Mask::of(rules.iter());
    assert_eq!(mask.value(Some(r#"{"a":1,"b":2,"c":3}"#)), Masked::Json(r#"{"a":"***","b":"***","c":3}"#.into()));
    assert_eq!((mask.key(Some("k")), mask.has_header("h")), (Masked::Whole(None), true));
}
