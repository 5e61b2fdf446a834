//! The signatures that `#[transform]` takes, and the transform's view of a record.

use sandbar_sdk::prelude::*;
use sandbar_sdk::testing::{Harness, Input, Records, json};

#[derive(Deserialize)]
pub struct Config {
    prefix: String,
}

#[derive(Deserialize)]
pub struct Order<'a> {
    id: u64,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

mod signatures {
    use super::*;

    /// Names that the macro uses too.
    #[transform]
    pub fn record(config: Record<'_>, out: &Config, returned: &mut Output) -> Result<()> {
        returned.send(config.forward().key(out.prefix.as_str()))
    }

    #[transform]
    pub fn nothing(_: Record<'_>) {}

    #[transform]
    pub fn message(record: Record<'_>) -> Message<'_> {
        record.forward()
    }

    #[transform]
    pub fn result_of_nothing(_: Record<'_>) -> Result<(), String> {
        Err("nothing".to_owned())
    }

    #[transform]
    pub fn many(mut record: Record<'_, &str>) -> Result<Vec<Message<'_>>> {
        record.value = record.value.trim();
        Ok(record.value.split(',').map(|word| Message::new().value(word)).collect())
    }

    #[transform]
    pub fn from_both(order: Record<'_, Json<Order<'_>>>, config: &Config) -> Option<Message<'_>> {
        let status = order.value.0.status;
        (status != "void").then(|| Message::new().key(config.prefix.as_str()).value(status))
    }

    #[transform]
    pub fn with_output(Record { value, .. }: Record<'_, Json<Order>>, config: &Config, out: &mut Output<'_>) -> Result<()> {
        out.send_json(Message::new().key(config.prefix.as_str()), &json!({"id": value.id}))
    }

    #[transform]
    pub fn output_alone(record: Record<'_>, out: &mut Output) -> Message<'_> {
        out.send(Message::new().value("first")).expect("there is an output");
        record.forward()
    }

    #[transform]
    pub fn own_lifetime<'a>(record: Record<'a, Json<Order<'a>>>, _: &Config) -> Message<'a> {
        record.forward()
    }
}

fn texts<T: sandbar_sdk::Transform>(records: impl IntoIterator<Item = Input>) -> Vec<String> {
    let outcome = Harness::<T>::new(json!({"prefix": "p"})).run(records);
    outcome.messages.iter().map(|sent| sent.text().to_owned()).collect()
}

#[test]
fn every_signature_runs() {
    use signatures::*;
    let order = || [Input::json(&json!({"id": 3, "status": "paid"}))];
    assert_eq!(texts::<record>([Input::text("x")]), ["x"]);
    assert!(texts::<nothing>(order()).is_empty());
    assert_eq!(texts::<message>([Input::text("x")]), ["x"]);
    assert!(texts::<result_of_nothing>(order()).is_empty());
    assert_eq!(texts::<many>([Input::text("a,b "), Input::text("c")]), ["a", "b", "c"]);
    assert_eq!(texts::<from_both>(order()), ["paid"]);
    assert_eq!(texts::<with_output>(order()), [r#"{"id":3}"#]);
    assert_eq!(texts::<output_alone>([Input::text("x")]), ["first", "x"]);
    assert_eq!(texts::<own_lifetime>(order()), [r#"{"id":3,"status":"paid"}"#]);
}

#[test]
fn the_function_stays_callable() {
    let records = Records::new([Input::json(&json!({"id": 3, "status": "paid"})), Input::tombstone()]);
    let config = Config { prefix: "p".to_owned() };
    let order = records.get(0).typed().expect("an order");
    assert_eq!(signatures::from_both(order, &config), Some(Message::new().key("p").value("paid")));
    assert!(records.get(1).typed::<Json<Order>>().is_err());
}

#[test]
fn a_bad_configuration_is_refused() {
    let refused = Harness::<signatures::from_both>::try_new(json!({"prefix": 1})).err();
    let expected = "config: invalid type: integer `1`, expected a string at line 1 column 11";
    assert_eq!(refused.as_deref(), Some(expected));
}

#[test]
fn a_value_that_cannot_be_read_fails_its_record_alone() {
    let records = [Input::tombstone(), Input::bytes([0xff]), Input::text("fine")];
    let outcome = Harness::<signatures::many>::new(json!({})).run(records);
    let failures: Vec<_> = outcome.failures.iter().map(|failed| (failed.source, failed.message.as_str())).collect();
    let expected =
        [(0, "value: null, where the transform expects text"), (1, "value: invalid utf-8 sequence of 1 bytes from index 0")];
    assert_eq!(failures, expected);
    assert_eq!(outcome.messages.len(), 1);
}

#[test]
fn an_unknown_output_fails_the_record_and_names_the_known_ones() {
    #[transform]
    fn route(record: Record<'_, &str>) -> Message<'_> {
        record.forward().to(record.value)
    }
    let outcome = Harness::<route>::new(json!({})).outputs(["good", "bad"]).run(["bad", "ugly"].map(Input::text));
    assert_eq!(outcome.messages[0].output, "bad");
    assert_eq!(outcome.failures[0].message, r#"no output is called "ugly"; there are ["good", "bad"]"#);
}

#[test]
fn options_read_null_as_none() {
    #[transform]
    fn option(order: Record<'_, Option<Json<Order<'_>>>>) -> Message<'_> {
        order.value.map_or(Message::new().value("none"), |order| Message::new().value(order.0.status))
    }
    let order = Input::json(&json!({"id": 3, "status": "paid"}));
    assert_eq!(texts::<option>([order, Input::tombstone()]), ["paid", "none"]);
}

#[test]
fn a_float_that_json_does_not_have_is_sent_as_null() {
    let message = Message::json(&[f64::NAN, f64::INFINITY, 97.45365320034685]).expect("a list of floats");
    assert_eq!(message, Message::new().value("[null,null,97.45365320034685]"));
}

#[test]
fn a_record_knows_where_it_comes_from() {
    #[transform]
    fn describe(record: Record<'_>) -> Result<Message<'_>> {
        let last = record.header("h").and_then(|header| header.value).map(String::from_utf8_lossy);
        let absent = record.header("absent").is_none();
        let here = (record.topic(), record.input(), record.partition(), record.offset(), record.now_ms());
        Message::json(&(here, record.timestamp_ms(), record.key_as::<&str>()?, last, absent))
    }
    let record = || Input::text("x").key("k").header("h", None).header("h", Some(b"last"));
    let mut harness = Harness::<describe>::new(json!({})).inputs(["a", "b"]);
    harness.run([record()]);
    let outcome = harness.read_from(1, 4).set_now(1000).run([record().timestamp(5), record()]);
    assert_eq!(outcome.messages[0].json(), json!([["b", 1, 4, 1, 1000], 5, "k", "last", true]));
    assert_eq!(outcome.messages[1].json(), json!([["b", 1, 4, 2, 1000], null, "k", "last", true]));
}
