use super::text::{is_number, unescape};
use super::*;

fn members(text: &str) -> Result<Vec<(String, String)>, JsonError> {
    let mut index = Index::default();
    let mut members = read(text.as_bytes(), &mut index)?.members().ok_or(JsonError::Structure)?;
    let mut read = Vec::new();
    while let Some((name, value)) = members.next()? {
        read.push((String::from_utf8_lossy(name).into_owned(), format!("{value:?}")));
    }
    Ok(read)
}

#[test]
fn members_are_found_whatever_stands_between_them() {
    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(members(text), Ok(expected), "{text}");
    }
    check("{}", &[]);
    check(" { } ", &[]);
    check(r#"{"a":1}"#, &[("a", "1")]);
    check(
        r#" { "a" : 1 , "b" : [ 1 , { "c" : "]" } ] , "d":null } "#,
        &[("a", "1"), ("b", r#"[ 1 , { "c" : "]" } ]"#), ("d", "null")],
    );
    check(r#"{"a":"x\"},{","b":"\\","c":"\u00e9"}"#, &[("a", r#""x\"},{""#), ("b", r#""\\""#), ("c", r#""\u00e9""#)]);
    check(
        r#"{"a":{"b":{"c":[[[]]]}},"long name of a column":"a long text with, commas, and more than 64 bytes of it, {so it seems}"}"#,
        &[
            ("a", r#"{"b":{"c":[[[]]]}}"#),
            ("long name of a column", r#""a long text with, commas, and more than 64 bytes of it, {so it seems}""#),
        ],
    );
    check(r#"{"a":1,"a":2}"#, &[("a", "1"), ("a", "2")]);
}

#[test]
fn what_is_not_json_is_refused() {
    let texts = [
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        r#"{"a"#,
        r#"{"a""#,
        r#"{"a":"#,
        r#"{"a":1"#,
        r#"{"a":1,"#,
        r#"{"a":1,}"#,
        r#"{"a" 1}"#,
        r#"{a:1}"#,
        r#"{"a":1}x"#,
        r#"{"a":1}{}"#,
        r#"{"a":}"#,
        r#"{,"a":1}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":"\"#,
        "1",
        "null",
        "\"x\"",
        "[1]",
        r#"{"a":"x"y,"b":1}"#,
        r#"{"a"x:1}"#,
        r#"{"a":"x""b":1}"#,
        r#"{"a":[1]2}"#,
        r#"{"a":1"b":2}"#,
        r#"{1:2}"#,
        r#"{[]:2}"#,
        r#"}{"#,
        r#"{"a":1]"#,
        r#"{"a":,"b":1}"#,
    ];
    for text in texts {
        assert!(members(text).is_err(), "{text:?} was read as {:?}", members(text));
    }
}

#[test]
fn a_truncated_text_is_never_read_as_a_whole() {
    let text = r#"{"a":"x\"y","b":[1,{"c":"]"}],"d":{"e":null},"f":-1.5e3,"g":"more than one block of sixty-four bytes"}"#;
    for end in 0..text.len() {
        assert!(members(&text[..end]).is_err(), "{}", &text[..end]);
    }
    assert!(members(text).is_ok());
}

#[test]
fn elements_are_found() {
    let mut index = Index::default();
    let mut elements = read(br#"[1, "a,b" ,[2,3],{"c":[4]}, null]"#, &mut index).unwrap().elements().unwrap();
    let mut found = Vec::new();
    while let Some(element) = elements.next().unwrap() {
        found.push(format!("{element:?}"));
    }
    assert_eq!(found, ["1", r#""a,b""#, "[2,3]", r#"{"c":[4]}"#, "null"]);
}

/// This reader reads the texts that serde_json reads, with equal values.
#[test]
fn it_agrees_with_serde_json() {
    fn same(value: Value<'_>, expected: &serde_json::Value) {
        match expected {
            serde_json::Value::Object(map) => {
                let mut members = value.members().expect("an object");
                let mut count = 0;
                while let Some((name, value)) = members.next().expect("well-formed") {
                    same(value, &map[str::from_utf8(name).unwrap()]);
                    count += 1;
                }
                assert_eq!(count, map.len());
            }
            serde_json::Value::Array(list) => {
                let mut elements = value.elements().expect("an array");
                for expected in list {
                    same(elements.next().expect("well-formed").expect("as many elements"), expected);
                }
                assert!(elements.next().expect("well-formed").is_none());
            }
            scalar => assert_eq!(serde_json::from_slice::<serde_json::Value>(value.text()).ok().as_ref(), Some(scalar)),
        }
    }
    let mut index = Index::default();
    for line in include_str!("../../tests/samples/events.ndjson").lines() {
        let expected: serde_json::Value = serde_json::from_str(line).expect("a sample is JSON");
        same(read(line.as_bytes(), &mut index).expect("well-formed"), &expected);
        if let Some(text) = expected["value"].as_str() {
            let expected: serde_json::Value = serde_json::from_str(text).expect("a change event is JSON");
            same(read(text.as_bytes(), &mut index).expect("well-formed"), &expected);
        }
    }
}

#[test]
fn numbers_follow_the_grammar() {
    for text in ["0", "-0", "7", "10.50", "1e9", "1.0E-300", "-9.999999999E7", "12345678901234567890.5"] {
        assert!(is_number(text.as_bytes()), "{text}");
    }
    for text in ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "NaN", "Infinity", "0x1", "1 2", "1-", "--1", "1.2.3"] {
        assert!(!is_number(text.as_bytes()), "{text}");
    }
}

#[test]
fn escapes_are_resolved_as_serde_json_does() {
    for text in
        ["", "plain", r#"\"\\\/\b\f\n\r\t"#, r"a\u00e9b\ud83d\ude00c", r#"[{\"qty\": 2}]"#, "Köln ☃", r"\u0041\u0042"]
    {
        let expected: String = serde_json::from_str(&format!("\"{text}\"")).expect("the case is JSON");
        let mut unescaped = Vec::new();
        assert_eq!(unescape(text.as_bytes(), &mut unescaped), Ok(()), "{text}");
        assert_eq!(unescaped, expected.as_bytes(), "{text}");
    }
    for text in [r"\ud83d", r"\ud83d\u0041", r"\ude00", r"\q", r"\", r"\u12", r"\u12g4", r"\u+123"] {
        assert_eq!(unescape(text.as_bytes(), &mut Vec::new()), Err(JsonError::Text), "{text}");
    }
}

#[test]
fn values_are_checked_before_they_are_copied() {
    let checked = |text: &str| {
        let mut index = Index::default();
        let text = format!("[{text}]");
        read(text.as_bytes(), &mut index)?.elements().unwrap().next()?.unwrap().check()
    };
    for text in ["1.50", "true", "null", r#""x\n""#, r#"["a",{"b":1}]"#] {
        assert_eq!(checked(text), Ok(()), "{text}");
    }
    for text in ["1.5.0", "nul", "NaN", "[1,,2]", r#"{"a" 1}"#, "[}", r#""\q""#, r#""\u12g4""#] {
        assert!(checked(text).is_err(), "{text}");
    }
}
