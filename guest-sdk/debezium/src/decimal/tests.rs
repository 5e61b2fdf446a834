use super::*;
use std::cmp::Ordering;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text.as_bytes()).expect("the case is a decimal")
}

#[test]
fn texts_come_out_as_they_went_in() {
    for text in ["0", "0.00", "27.80", "-0.10", "12.00", "-99999999.99", "1234567890.123456789", "0.000001"] {
        assert_eq!(decimal(text).to_string(), text);
    }
    let longest = "99999999999999999999999999999999999.999";
    assert_eq!(decimal(longest).to_string(), longest);
    for (text, expected) in
        [("1e3", "1000"), ("1.50E+1", "15.0"), ("-9.999999999E7", "-99999999.99"), ("1E-2", "0.01"), ("0e9", "0")]
    {
        assert_eq!(decimal(text).to_string(), expected, "{text}");
    }
}

#[test]
fn what_is_no_decimal_is_refused() {
    use DecimalError::*;
    let cases = [
        ("", Syntax),
        ("-", Syntax),
        (".5", Syntax),
        ("5.", Syntax),
        ("1,5", Syntax),
        ("1.2.3", Syntax),
        ("0x1", Syntax),
        ("1e", Syntax),
        ("1e+", Syntax),
        ("--1", Syntax),
        ("1e5.5", Syntax),
        ("NaN", NotFinite),
        ("NAN", NotFinite),
        ("-Infinity", NotFinite),
        ("1e99", TooLong),
        ("1e-99", TooLong),
        ("1e99999999999", TooLong),
        ("1000000000000000000000000000000000000000", TooLong),
    ];
    for (text, expected) in cases {
        assert_eq!(Decimal::parse(text.as_bytes()), Err(expected), "{text}");
    }
}

#[test]
fn base64_is_a_twos_complement_number() {
    let cases = [
        ("Ctw=", 2, "27.80"),
        ("Cg==", 2, "0.10"),
        ("AA==", 2, "0.00"),
        ("BD3w", 4, "27.8000"),
        ("/w==", 2, "-0.01"),
        ("gA==", 0, "-128"),
        ("AIA=", 0, "128"),
        ("AxY=", 2, "7.90"),
        ("ESIQ9H3pgRU=", 9, "1234567890.123456789"),
        ("Dw==", 1, "1.5"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAB", 0, "1"),
        ("f////////////////////w==", 0, "170141183460469231731687303715884105727"),
        ("Infinity", 2, "378982984692.34"),
    ];
    for (text, scale, expected) in cases {
        let decimal = Decimal::from_base64(text.as_bytes(), scale).map(|decimal| decimal.to_string());
        assert_eq!(decimal, Ok(expected.to_owned()), "{text}");
    }
    let refused = [
        ("", DecimalError::Base64),
        ("Ctw", DecimalError::Base64),
        ("27.80", DecimalError::Base64),
        ("-Infinity", DecimalError::NotFinite),
        ("NaN", DecimalError::NotFinite),
        ("AQAAAAAAAAAAAAAAAAAAAAA=", DecimalError::TooLong),
        ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", DecimalError::TooLong),
    ];
    for (text, expected) in refused {
        assert_eq!(Decimal::from_base64(text.as_bytes(), 2), Err(expected), "{text}");
    }
}

#[test]
fn arithmetic_is_exact_or_refused() {
    // In doubles 0.1 * 3 is 0.30000000000000004.
    assert_eq!(decimal("0.1").checked_mul(decimal("3")).map(|sum| sum.to_string()), Some("0.3".to_owned()));
    assert_eq!(decimal("0.1").checked_add(decimal("0.25")).map(|sum| sum.to_string()), Some("0.35".to_owned()));
    assert_eq!(decimal("-7.90").checked_add(decimal("7.9")).map(|sum| sum.to_string()), Some("0.00".to_owned()));
    assert_eq!(decimal("7.9").checked_sub(decimal("7.90")).map(Decimal::is_zero), Some(true));
    assert_eq!(decimal("1").checked_sub(decimal("1.25")).map(|sum| sum.to_string()), Some("-0.25".to_owned()));
    let cent = decimal("0.01");
    let many = (0..1_000_000).try_fold(Decimal::ZERO, |sum, _| sum.checked_add(cent));
    assert_eq!(many.map(|sum| sum.to_string()), Some("10000.00".to_owned()));
    let large = decimal("99999999999999999999999999999999999999");
    assert_eq!(large.checked_mul(decimal("10")), None);
    assert_eq!(large.checked_add(decimal("0.1")), None);
    assert_eq!(
        decimal("3000000000").checked_mul(decimal("3000000000")).map(|product| product.to_string()),
        Some("9000000000000000000".to_owned())
    );
    assert_eq!((decimal("2.0").whole(), decimal("1.5").whole(), decimal("-3").whole()), (Some(2), None, Some(-3)));
}

#[test]
fn a_negative_scale_adds_zeros() {
    for (unscaled, scale, expected) in [(15, -2, Ok("1500")), (-1, -3, Ok("-1000")), (0, -99, Ok("0")), (15, 2, Ok("0.15"))]
    {
        let decimal = Decimal::new(unscaled, scale).map(|decimal| decimal.to_string());
        assert_eq!(decimal.as_deref().map_err(|error| *error), expected, "{unscaled} {scale}");
    }
    assert_eq!(Decimal::new(15, -99), Err(DecimalError::TooLong));
    assert_eq!(Decimal::new(15, 39), Err(DecimalError::TooLong));
    assert_eq!(Decimal::from_base64(b"Dw==", -2).map(|decimal| decimal.to_string()), Ok("1500".to_owned()));
}

#[test]
fn decimals_are_ordered_by_their_numbers() {
    let large = "99999999999999999999999999999999999999";
    for (a, b, expected) in [
        ("27.8", "27.80", Ordering::Equal),
        ("0", "-0.00", Ordering::Equal),
        ("1", "1.01", Ordering::Less),
        ("-1", "-1.01", Ordering::Greater),
        (large, "0.00000000000000000000000000000000000001", Ordering::Greater),
        ("0.00000000000000000000000000000000000001", large, Ordering::Less),
        ("-99999999999999999999999999999999999999", "-0.01", Ordering::Less),
    ] {
        assert_eq!(decimal(a).cmp(&decimal(b)), expected, "{a} {b}");
        assert_eq!(decimal(a) == decimal(b), expected == Ordering::Equal, "{a} {b}");
    }
    let names = std::collections::HashSet::from([decimal("27.8"), decimal("27.80"), decimal("0"), decimal("0.00")]);
    assert_eq!(names.len(), 2);
    assert_eq!(decimal("2.500").normalized().to_string(), "2.5");
}

#[test]
fn division_rounds_as_its_caller_says() {
    use Rounding::{Down, HalfEven, HalfUp};
    #[track_caller]
    fn check(a: &str, b: &str, scale: u32, rounding: Rounding, expected: Option<&str>) {
        let quotient = decimal(a).checked_div(decimal(b), scale, rounding);
        assert_eq!(quotient.map(|quotient| quotient.to_string()).as_deref(), expected, "{a} / {b}");
    }
    check("10", "4", 1, Down, Some("2.5"));
    check("10", "3", 2, HalfUp, Some("3.33"));
    check("20", "3", 2, HalfUp, Some("6.67"));
    check("20", "3", 2, Down, Some("6.66"));
    check("-20", "3", 2, HalfUp, Some("-6.67"));
    check("1", "8", 2, HalfUp, Some("0.13"));
    check("1", "8", 2, HalfEven, Some("0.12"));
    check("3", "8", 2, HalfEven, Some("0.38"));
    check("-1", "8", 2, HalfUp, Some("-0.13"));
    check("0.01", "0.03", 4, HalfUp, Some("0.3333"));
    check("27.805", "1", 2, HalfUp, Some("27.81"));
    check("1", "0", 2, Down, None);
    check("99999999999999999999999999999999999999", "1", 2, Down, None);
    assert_eq!(decimal("2.345").rounded(2, HalfEven).map(|rounded| rounded.to_string()), Some("2.34".to_owned()));
}

#[test]
fn decimals_are_texts_and_numbers_to_serde() {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Price {
        price: Decimal,
        #[serde(default)]
        old: Option<Precise<2>>,
    }
    let read = |text: &str| serde_json::from_str::<Price>(text).map_err(|error| error.to_string());
    for (text, expected) in [
        (r#"{"price":27.80}"#, "27.80"),
        (r#"{"price":"27.80"}"#, "27.80"),
        (r#"{"price":12345678901234567890.123456}"#, "12345678901234567890.123456"),
        (r#"{"price":1e2}"#, "100"),
        (r#"{"price":7}"#, "7"),
    ] {
        let price = read(text).expect(text);
        assert_eq!(price.price.to_string(), expected, "{text}");
    }
    let price = read(r#"{"price":"1","old":"Ctw="}"#).expect("both forms");
    assert_eq!(serde_json::to_string(&price).expect("texts"), r#"{"price":"1","old":"27.80"}"#);
    for text in [r#"{"price":"Ctw="}"#, r#"{"price":true}"#, r#"{"price":[1]}"#, r#"{"price":{}}"#, r#"{"price":null}"#] {
        assert!(read(text).is_err(), "{text}");
    }
    // Other formats have no raw text, and their floats are not exact.
    assert_eq!(serde_json::from_value::<Decimal>(serde_json::json!("27.80")).ok(), Some(decimal("27.80")));
    assert_eq!(serde_json::from_value::<Decimal>(serde_json::json!(7)).ok(), Some(decimal("7")));
}

#[test]
fn a_number_of_a_document_is_a_number_or_says_its_scale() {
    for (value, expected) in [
        ("27.80", Ok(Some("27.80"))),
        (r#""27.80""#, Ok(Some("27.80"))),
        (r#"{"scale":2,"value":"Ctw="}"#, Ok(Some("27.80"))),
        ("null", Ok(None)),
        (r#""Ctw=""#, Err(DecimalError::Syntax)),
        (r#""NaN""#, Err(DecimalError::NotFinite)),
        ("1.2.3", Err(DecimalError::Syntax)),
        ("true", Err(DecimalError::Syntax)),
        ("[1]", Err(DecimalError::Syntax)),
        (r#"{"value":"Ctw="}"#, Err(DecimalError::Syntax)),
        ("1e99", Err(DecimalError::TooLong)),
    ] {
        let text = format!("[{value}]");
        let mut index = crate::json::scan::Index::default();
        let root = crate::json::read(text.as_bytes(), &mut index).expect("the case is JSON");
        let value = root.elements().expect("an array").next().expect("JSON").expect("one");
        let number = Decimal::read(value).map(|number| number.map(|number| number.to_string()));
        assert_eq!(number, expected.map(|number| number.map(str::to_owned)), "{text}");
    }
}

#[test]
fn the_handling_mode_decides_about_texts() {
    #[track_caller]
    fn check(encoding: Encoding, value: &str, expected: Result<&str, DecimalError>) {
        let text = format!("[{value}]");
        let mut index = crate::json::scan::Index::default();
        let root = crate::json::read(text.as_bytes(), &mut index).expect("the case is JSON");
        let value = root.elements().expect("an array").next().expect("JSON").expect("one");
        let mut out = Vec::new();
        let written = encoding.write(value, &mut out).map(|()| String::from_utf8(out).expect("UTF-8"));
        assert_eq!(written.as_deref().map_err(|error| *error), expected, "{encoding:?} {text}");
        assert_eq!(encoding.read(value).err(), expected.err(), "{encoding:?} {text}");
    }
    let precise = Encoding::Precise { scale: 2 };
    let unsaid = Encoding::Unsaid { scale: 2 };
    check(precise, "\"Ctw=\"", Ok("\"27.80\""));
    check(precise, "27.80", Ok("\"27.80\""));
    check(precise, "\"1234\"", Ok("\"-26588.24\""));
    check(precise, "\"27.80\"", Err(DecimalError::Base64));
    // Some words for what is not finite are the base64 of an amount.
    check(precise, "\"Infinity\"", Ok("\"378982984692.34\""));
    check(precise, "\"infinity\"", Ok("\"-1292274689527.18\""));
    check(precise, "\"-Infinity\"", Err(DecimalError::NotFinite));
    check(precise, "\"NaN\"", Err(DecimalError::NotFinite));
    check(precise, r#"{"scale":2,"value":"Infinity"}"#, Ok("\"378982984692.34\""));
    check(precise, r#"{"scale":-2,"value":"Dw=="}"#, Ok("\"1500\""));
    check(precise, r#"{"scale":0,"value":"Dw\u003d="}"#, Ok("\"15\""));
    check(Encoding::Text, "\"1234\"", Ok("\"1234\""));
    check(Encoding::Text, "\"27.80\"", Ok("\"27.80\""));
    check(Encoding::Text, "\"Ctw=\"", Err(DecimalError::Syntax));
    check(Encoding::Text, "\"POSITIVE_INFINITY\"", Err(DecimalError::NotFinite));
    check(Encoding::Text, "\"Infinity\"", Err(DecimalError::NotFinite));
    check(Encoding::Text, "27.8", Err(DecimalError::OtherMode("string")));
    check(Encoding::Double, "27.8", Ok("\"27.8\""));
    check(Encoding::Double, "\"27.8\"", Err(DecimalError::OtherMode("double")));
    check(Encoding::Double, "\"NaN\"", Err(DecimalError::NotFinite));
    check(Encoding::VariableScale, r#"{"scale":4,"value":"BD3w"}"#, Ok("\"27.8000\""));
    check(Encoding::VariableScale, "\"BD3w\"", Err(DecimalError::OtherMode("precise")));
    check(unsaid, "\"Infinity\"", Err(DecimalError::NotFinite));
    check(unsaid, "\"Ctw=\"", Ok("\"27.80\""));
    check(unsaid, "\"27.80\"", Ok("\"27.80\""));
    check(unsaid, "\"12345\"", Ok("\"12345\""));
    check(unsaid, "\"-7\"", Ok("\"-7\""));
    check(unsaid, "\"1234\"", Err(DecimalError::Ambiguous));
    check(unsaid, "\"1234567890123456789012345678\"", Err(DecimalError::Ambiguous));
    for encoding in [precise, unsaid, Encoding::Text, Encoding::Double, Encoding::VariableScale] {
        check(encoding, "null", Ok("null"));
        check(encoding, "true", Err(DecimalError::Syntax));
    }
}
