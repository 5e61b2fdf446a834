//! JSON that somebody else wrote. Structs are read by the names of their fields, never as lists.

use serde::de::Deserialize;
use serde_json::{Result, Value};

use super::by_name::ByName;

/// Reads a text.
pub fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T> {
    serde_json::from_slice::<ByName<T>>(text).map(|ByName(value)| value)
}

/// Reads a value that was parsed already.
pub fn of_value<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T> {
    ByName::deserialize(value).map(|ByName(value)| value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Point {
        x: i64,
        #[serde(default)]
        y: i64,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    enum Shape {
        Nothing,
        Named { at: Point },
        Line(Point, Point),
        Dot(Point),
    }

    #[derive(Debug, serde::Deserialize)]
    struct Whole<'a> {
        #[serde(default)]
        one: Option<Point>,
        #[serde(default)]
        more: Vec<Point>,
        #[serde(default)]
        named: BTreeMap<String, Point>,
        #[serde(default)]
        pair: Option<(i64, Point)>,
        #[serde(default)]
        shape: Option<Shape>,
        #[serde(borrow, default)]
        raw: Option<&'a RawValue>,
        #[serde(default)]
        any: Value,
    }

    #[track_caller]
    fn check_refused(text: &str) {
        let refused = read::<Whole<'_>>(text.as_bytes()).expect_err(text).to_string();
        assert!(refused.contains("sequence"), "{text}: {refused}");
        let value: Value = serde_json::from_str(text).expect("JSON");
        assert!(of_value::<Whole<'_>>(&value).is_err(), "{text}");
    }

    #[test]
    fn a_list_is_no_struct_at_any_depth() {
        check_refused("[]");
        check_refused(r#"[{"x":1}]"#);
        check_refused(r#"{"one":[1,2]}"#);
        check_refused(r#"{"more":[{"x":1},[1,2]]}"#);
        check_refused(r#"{"named":{"a":[1,2]}}"#);
        check_refused(r#"{"pair":[1,[1,2]]}"#);
        check_refused(r#"{"shape":{"Named":[{"x":1}]}}"#);
        check_refused(r#"{"shape":{"Named":{"at":[1,2]}}}"#);
        check_refused(r#"{"shape":{"Line":[{"x":1},[1,2]]}}"#);
        check_refused(r#"{"shape":{"Dot":[1,2]}}"#);
    }

    #[test]
    fn everything_else_is_read_as_before() {
        let text = r#"{"one":{"x":1},"more":[{"x":1,"y":2}],"named":{"a":{"x":3}},"pair":[4,{"x":5}],
            "shape":{"Line":[{"x":1},{"x":2}]},"raw":[1.50, {"a" :null}],"any":[1,[2],{"b":"c"}]}"#;
        let Whole { one, more, named, pair, shape, raw, any } = read(text.as_bytes()).expect("it fits");
        let point = |x, y| Point { x, y };
        assert_eq!((one, more), (Some(point(1, 0)), vec![point(1, 2)]));
        assert_eq!((named["a"].x, pair), (3, Some((4, point(5, 0)))));
        assert_eq!(shape, Some(Shape::Line(point(1, 0), point(2, 0))));
        assert_eq!((raw.map(RawValue::get), any), (Some(r#"[1.50, {"a" :null}]"#), json!([1, [2], {"b": "c"}])));
        for (text, expected) in
            [(r#""Nothing""#, Shape::Nothing), (r#"{"Named":{"at":{"x":7}}}"#, Shape::Named { at: point(7, 0) })]
        {
            assert_eq!(read::<Shape>(text.as_bytes()).expect(text), expected);
        }
    }
}
