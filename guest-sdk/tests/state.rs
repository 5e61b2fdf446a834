//! Stores, tables and ticks as a transform sees them. A failed record leaves nothing behind.

use sandbar_sdk::FromValue;
use sandbar_sdk::prelude::*;
use sandbar_sdk::testing::{Harness, Input, Outcome, Records, Value, json};
use std::collections::BTreeMap;

/// The orders of a record to the transform: it writes in this order, and fails at the end if it is told to.
#[derive(Clone, Deserialize, Serialize)]
struct Script {
    add: Vec<(String, i64)>,
    #[serde(default)]
    delete: Vec<String>,
    #[serde(default)]
    fail: bool,
}

/// Adds up, and sends each new sum.
#[transform(stores = ["sums"])]
fn sum(script: Record<'_, Json<Script>>, out: &mut Output) -> Result<()> {
    let sums = Store::<str, i64>::open("sums")?;
    for (key, amount) in &script.value.add {
        let sum = sums.update(key, |before| Some(before.unwrap_or(0) + amount))?;
        out.send_json(Message::new().key(key.as_str()), &sum)?;
    }
    for key in &script.value.delete {
        sums.delete(key)?;
    }
    ensure!(!script.value.fail, "as told");
    Ok(())
}

fn add(key: &str, amount: i64) -> Input {
    Input::json(&json!({"add": [[key, amount]]}))
}

fn sums(harness: &Harness<sum>) -> Vec<(String, i64)> {
    harness.entries::<str, i64>("sums")
}

#[test]
fn state_persists_from_run_to_run_and_for_each_partition_its_own() {
    let mut harness = Harness::<sum>::new(());
    harness.run([add("a", 1), add("a", 2)]);
    harness.run([add("a", 3), add("b", 1)]);
    assert_eq!(sums(&harness), [("a".to_owned(), 6), ("b".to_owned(), 1)]);
    assert_eq!(harness.state("sums"), BTreeMap::from([(b"a".to_vec(), b"6".to_vec()), (b"b".to_vec(), b"1".to_vec())]));
    harness.read_from(0, 1).run([add("a", 10)]);
    assert_eq!(sums(&harness), [("a".to_owned(), 10)]);
    harness.read_from(0, 0).run([Input::json(&json!({"add": [], "delete": ["a", "absent"]}))]);
    assert_eq!(sums(&harness), [("b".to_owned(), 1)]);
}

/// An xorshift generator: a failing test prints the seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn script(&mut self) -> Script {
        let key = |random: &mut Self| ["a", "b", "c", "d"][random.below(4) as usize].to_owned();
        Script {
            add: (0..self.below(4)).map(|_| (key(self), self.below(100) as i64)).collect(),
            delete: (0..self.below(2)).map(|_| key(self)).collect(),
            fail: self.below(4) == 0,
        }
    }
}

#[test]
fn a_failed_record_leaves_no_trace_in_state_or_output() {
    for seed in 1..=300u64 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed));
        let mut harness = Harness::<sum>::new(());
        let mut model = BTreeMap::new();
        for _ in 0..4 {
            let scripts: Vec<Script> = (0..random.below(12)).map(|_| random.script()).collect();
            let outcome = harness.run(scripts.iter().map(Input::json));
            let mut expected = Vec::new();
            for (source, script) in scripts.iter().enumerate().filter(|(_, script)| !script.fail) {
                for (key, amount) in &script.add {
                    let sum = model.entry(key.clone()).or_insert(0);
                    *sum += amount;
                    expected.push((source, key.clone(), sum.to_string()));
                }
                model.retain(|key, _| !script.delete.contains(key));
            }
            let sent = outcome.messages.iter().map(|sent| {
                let key = String::from_utf8(sent.key.clone().expect("a key")).expect("UTF-8");
                (sent.source, key, sent.text().to_owned())
            });
            assert!(sent.eq(expected), "seed {seed}");
            let failed: Vec<usize> = outcome.failures.iter().map(|failed| failed.source).collect();
            let told: Vec<usize> = (0..scripts.len()).filter(|&source| scripts[source].fail).collect();
            assert_eq!(failed, told, "seed {seed}");
            assert!(sums(&harness).into_iter().eq(model.clone()), "seed {seed}");
        }
    }
}

#[test]
fn a_scan_is_a_range_in_order() {
    #[transform(stores = ["numbers", "pairs"])]
    fn nothing(_: Record<'_>) {}

    let mut harness = Harness::<nothing>::new(());
    harness.within(|| {
        let numbers = Store::<i64, i64>::open("numbers").expect("named");
        for number in -5000..5000 {
            numbers.put(&number, &(2 * number)).expect("a number is JSON");
        }
        let found = |range: Result<Vec<(i64, i64)>>| {
            let found = range.expect("its own types");
            assert!(found.iter().all(|(number, doubled)| *doubled == 2 * number));
            let first = found.first().map(|(number, _)| *number);
            (first, found.last().map(|(number, _)| *number), found.len())
        };
        // More than the host gives at once.
        assert_eq!(found(numbers.scan(.., usize::MAX)), (Some(-5000), Some(4999), 10_000));
        assert_eq!(found(numbers.scan(.., 4096)), (Some(-5000), Some(-905), 4096));
        assert_eq!(found(numbers.scan(&-1..&2, 10)), (Some(-1), Some(1), 3));
        assert_eq!(found(numbers.scan(&-1..=&2, 10)), (Some(-1), Some(2), 4));
        assert_eq!(found(numbers.scan(&4998.., 10)), (Some(4998), Some(4999), 2));
        assert_eq!(found(numbers.scan(..&-4998, 10)), (Some(-5000), Some(-4999), 2));
        assert_eq!(found(numbers.scan(..=&-4998, 2)), (Some(-5000), Some(-4999), 2));
        assert_eq!(found(numbers.scan(&2..&1, 10)), (None, None, 0));
        assert_eq!(found(numbers.scan(.., 0)), (None, None, 0));

        let pairs = Store::<(String, u32), ()>::open("pairs").expect("named");
        for (word, number) in [("tea", 1), ("tea", 2), ("teapot", 0), ("cup", 9)] {
            pairs.put(&(word.to_owned(), number), &()).expect("null is JSON");
        }
        let tea = |number| ("tea".to_owned(), number);
        let teas = pairs.scan(&tea(0)..=&tea(u32::MAX), 10).expect("its own types");
        assert_eq!(teas, [(tea(1), ()), (tea(2), ())]);
    });
}

#[test]
fn a_cursor_goes_around_a_store_page_by_page() {
    #[transform(stores = ["numbers", "recheck"])]
    fn nothing(_: Record<'_>) {}

    let mut harness = Harness::<nothing>::new(());
    harness.within(|| {
        let numbers = Store::<i64, ()>::open("numbers").expect("named");
        let cursor = Cursor::<i64>::open("recheck").expect("named");
        let page = |limit: usize| -> Vec<i64> {
            let page = cursor.next_page(&numbers, limit).expect("its own types");
            page.into_iter().map(|(number, ())| number).collect()
        };
        assert_eq!(page(3), [0; 0], "nothing is there yet");
        for number in -5..5 {
            numbers.put(&number, &()).expect("null is JSON");
        }
        assert_eq!(page(4), [-5, -4, -3, -2]);
        assert_eq!(page(4), [-1, 0, 1, 2]);
        assert_eq!(page(4), [3, 4]);
        // The last page is full, and none without entries comes after it.
        assert_eq!(page(5), [-5, -4, -3, -2, -1]);
        assert_eq!(page(5), [0, 1, 2, 3, 4]);
        assert_eq!(page(5), [-5, -4, -3, -2, -1]);
        // The entry at which it goes on is deleted, and one is put before its place.
        numbers.delete(&0).expect("it never fails");
        numbers.put(&-6, &()).expect("null is JSON");
        assert_eq!(page(5), [1, 2, 3, 4]);
        assert_eq!(page(0), [-6], "one at least");
        assert_eq!(page(usize::MAX), [-5, -4, -3, -2, -1, 1, 2, 3, 4]);
    });
    assert!(harness.state("recheck").is_empty());
}

/// An earlier revision has written values and keys of another type, and the place itself.
#[test]
fn a_cursor_passes_over_entries_that_cannot_be_read() {
    #[transform(stores = ["numbers", "recheck"])]
    fn nothing(_: Record<'_>) {}

    let mut harness = Harness::<nothing>::new(());
    harness.within(|| {
        let numbers = Store::<u16, i64>::open("numbers").expect("named");
        let cursor = Cursor::<u16>::open("recheck").expect("named");
        let page = |limit: usize| -> Vec<u16> {
            let page = cursor.next_page(&numbers, limit).expect("bad entries are no error");
            page.into_iter().map(|(number, _)| number).collect()
        };
        for number in 0..6 {
            numbers.put(&number, &7).expect("JSON");
        }
        let texts = Store::<u16, String>::open("numbers").expect("named");
        texts.put(&1, &"seven".to_owned()).expect("JSON");
        // Keys of three bytes, between 3 and 4: no page begins or ends with a readable one.
        let bytes = Store::<[u8], i64>::open("numbers").expect("named");
        for last in 0..5 {
            bytes.put(&[0, 3, last], &7).expect("JSON");
        }
        for _ in 0..2 {
            assert_eq!(page(2), [0], "the value of 1 is bad");
            assert_eq!(page(2), [2, 3]);
            assert_eq!(page(2), [0; 0], "two bad keys");
            assert_eq!(page(2), [0; 0], "two bad keys");
            assert_eq!(page(2), [4], "one bad key");
            assert_eq!(page(2), [5]);
        }
        assert_eq!(page(1), [0]);
        assert_eq!(page(1), [0; 0], "the value of 1 is bad");
        assert_eq!(page(1), [2]);
        assert_eq!(page(100), [3, 4, 5]);
        // The store has one entry at a time, and no other than its own.
        let place = || Store::<str, Value>::open("recheck").expect("named").scan(.., 9).expect("JSON");
        assert_eq!(place(), []);
        page(2);
        assert_eq!(place(), [("next".to_owned(), json!(2))]);
        page(2);
        assert_eq!(place(), [("next_bytes".to_owned(), json!([0, 3, 0]))]);
        page(5);
        assert_eq!(place(), [("next".to_owned(), json!(4))]);
        // A place that cannot be read is none.
        let places = Store::<str, Value>::open("recheck").expect("named");
        places.put("next", &json!("tea")).expect("JSON");
        assert_eq!(page(1), [0]);
        assert_eq!(place(), [("next".to_owned(), json!(1))]);
        places.delete("next").expect("it never fails");
        places.put("next_bytes", &json!("tea")).expect("JSON");
        assert_eq!(page(1), [0]);
        assert_eq!(place(), [("next".to_owned(), json!(1))]);
    });
}

#[test]
fn a_cursor_moves_on_with_its_tick_alone() {
    fn recheck(_: Tick, out: &mut Output) -> Result<()> {
        let sums = Store::<str, i64>::open("sums")?;
        for (key, sum) in Cursor::<str>::open("recheck")?.next_page(&sums, 1)? {
            ensure!(sum != 13, "bad luck");
            out.send(Message::new().key(key))?;
        }
        Ok(())
    }

    #[transform(stores = ["sums", "recheck"], tick = recheck)]
    fn keep(sum: Record<'_, Json<i64>>) -> Result<()> {
        Store::<str, i64>::open("sums")?.put(sum.key_as()?, &sum.value)
    }

    let mut harness = Harness::<keep>::new(());
    let record = |key: &str, sum: i64| Input::json(&sum).key(key);
    harness.run([record("a", 1), record("b", 13), record("c", 2)]);
    let keys = |outcome: Outcome| outcome.messages.into_iter().filter_map(|sent| sent.key).collect::<Vec<_>>();
    assert_eq!(keys(harness.tick(1)), [b"a"]);
    assert_eq!(harness.state("recheck"), BTreeMap::from([(b"next".to_vec(), br#""b""#.to_vec())]));
    // A tick that fails is undone, with the place.
    for now_ms in 2..4 {
        assert_eq!(harness.tick(now_ms).failures[0].message, "bad luck");
    }
    harness.run([record("b", 3)]);
    assert_eq!((keys(harness.tick(4)), keys(harness.tick(5))), (vec![b"b".to_vec()], vec![b"c".to_vec()]));
    assert_eq!(keys(harness.tick(6)), [b"a"]);
}

#[test]
fn a_value_of_another_type_fails_its_record_and_names_store_and_key() {
    let mut harness = Harness::<sum>::new(());
    harness.within(|| Store::<str, String>::open("sums")?.put("a", &"six".to_owned())).expect("a text is JSON");
    let outcome = harness.run([add("a", 1), add("b", 1)]);
    assert_eq!(
        outcome.failures[0].message,
        r#"store "sums": the value of "a": invalid type: string "six", expected i64 at line 1 column 5"#
    );
    assert_eq!(harness.state("sums")[&b"b"[..]], b"1");
}

#[test]
fn an_array_in_a_store_is_no_struct() {
    #[derive(Debug, Deserialize, Serialize)]
    struct Pair {
        one: i64,
        other: i64,
    }

    let mut harness = Harness::<sum>::new(());
    harness.within(|| {
        Store::<str, (i64, i64)>::open("sums").expect("named").put("a", &(1, 2)).expect("numbers are JSON");
        let pairs = Store::<str, Pair>::open("sums").expect("named");
        let error = pairs.get("a").expect_err("an array").to_string();
        assert_eq!(error, r#"store "sums": the value of "a": a JSON array, where the type Pair is a JSON object"#);
    });
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Mean {
    mean: f64,
    last: Option<f64>,
}

/// Writes this mean, and reads it back.
#[track_caller]
fn check_mean(mean: f64, last: Option<f64>, expected: Result<Mean, &str>) {
    let mut harness = Harness::<sum>::new(());
    let read = harness.within(|| {
        let means = Store::<str, Mean>::open("sums")?;
        means.put("a", &Mean { mean, last })?;
        means.get("a")
    });
    assert_eq!(harness.state("sums").is_empty(), expected.is_err(), "a value that is refused is not written");
    match (read, expected) {
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (read, expected) => {
            assert_eq!(read.map_err(|error| error.to_string()), expected.map(Some).map_err(str::to_owned));
        }
    }
}

#[test]
fn a_float_is_read_as_it_was_written_or_refused() {
    for exact in [97.45365320034685, 51.248178375505404] {
        check_mean(exact, Some(exact), Ok(Mean { mean: exact, last: Some(exact) }));
        check_mean(exact, None, Ok(Mean { mean: exact, last: None }));
    }
    for lost in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check_mean(lost, None, Err("could not be read again (NaN and infinity are null in JSON): invalid type: null"));
        check_mean(0.5, Some(lost), Ok(Mean { mean: 0.5, last: None }));
    }
}

#[test]
fn what_the_attribute_does_not_name_cannot_be_opened() {
    #[transform(stores = ["sums"], tables = ["products"])]
    fn wrong(record: Record<'_, &str>) -> Result<()> {
        match record.value {
            "store" => Store::<str, i64>::open("totals").map(drop),
            _ => Table::<str, String>::open("prices").map(drop),
        }
    }
    let outcome = Harness::<wrong>::new(()).run(["store", "table"].map(Input::text));
    let messages: Vec<&str> = outcome.failures.iter().map(|failed| failed.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            r#"the transform opens the store "totals", which its attribute does not name: #[transform(stores = ["totals"])]"#,
            r#"the transform opens the table "prices", which its attribute does not name: #[transform(tables = ["prices"])]"#,
        ]
    );
}

#[test]
#[should_panic(expected = "the spec declares no store \"sums\" (state: {sums: {}})")]
fn a_store_that_the_spec_does_not_declare_refuses_the_deployment() {
    Harness::<sum>::new(()).stores(["others"]);
}

#[test]
fn outside_of_a_transform_there_is_no_state() {
    let error = Store::<str, i64>::open("sums").expect_err("no transform runs");
    assert!(error.to_string().contains("does not name"), "{error}");
    let mut harness = Harness::<sum>::new(());
    harness.within(|| ());
    let error = Store::<str, i64>::open("sums").expect_err("no transform runs");
    assert!(error.to_string().contains("Harness::within"), "{error}");
}

#[derive(Deserialize)]
struct Product {
    name: String,
}

/// Names the product of a sale.
#[transform(tables = ["products"])]
fn name_products(sold: Record<'_>) -> Result<Message<'_>> {
    let products = Table::<str, Json<Product>>::open("products")?;
    let product = products.get(sold.key_as()?)?;
    Ok(Message::new().value(product.map_or_else(|| "unknown".to_owned(), |product| product.0.name)))
}

fn texts(outcome: &Outcome) -> Vec<&str> {
    outcome.messages.iter().map(|sent| sent.text()).collect()
}

#[test]
fn a_table_says_what_is_known_by_now() {
    let mut harness = Harness::<name_products>::new(()).table("products", [("1", r#"{"name":"tea"}"#), ("2", "{}")]);
    let outcome = harness.run(["1", "2", "3"].map(|key| Input::tombstone().key(key)));
    assert_eq!(texts(&outcome), ["tea", "unknown"]);
    assert_eq!(
        outcome.failures[0].message,
        r#"table "products": the value of "2": missing field `name` at line 1 column 2"#
    );
    harness.set_table_entry("products", "3", Some(br#"{"name":"cup"}"#.to_vec())).set_table_entry("products", "1", None);
    assert_eq!(texts(&harness.run(["1", "3"].map(|key| Input::tombstone().key(key)))), ["unknown", "cup"]);
}

/// A number that is written as a word where there is none.
struct Worded(i64);

impl<'a> FromValue<'a> for Worded {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        Ok(Worded(<&str>::from_value(bytes)?.parse()?))
    }

    fn from_nullable(bytes: Option<&'a [u8]>) -> Result<Option<Self>> {
        let bytes = bytes.filter(|bytes| *bytes != b"none");
        bytes.map(|bytes| Worded::from_value(Some(bytes))).transpose()
    }
}

#[test]
fn a_type_may_have_a_null_of_its_own() {
    #[transform(tables = ["numbers"])]
    fn numbers(number: Record<'_, Option<Worded>>) -> Result<Message<'_>> {
        let known = Table::<str, Worded>::open("numbers")?.get(number.key_as()?)?;
        Message::json(&(number.value.map(|number| number.0), known.map(|known| known.0)))
    }

    let mut harness = Harness::<numbers>::new(()).table("numbers", [("a", "7"), ("b", "none")]);
    let record = |key: &str, value: &str| Input::text(value).key(key);
    let outcome = harness.run([record("a", "none"), record("b", "5"), Input::tombstone().key("c"), record("a", "x")]);
    assert_eq!(texts(&outcome), ["[null,7]", "[5,null]", "[null,null]"]);
    assert_eq!(outcome.failures[0].message, "value: invalid digit found in string");
}

#[test]
fn a_function_can_be_called_with_state_but_without_a_run() {
    let mut harness = Harness::<name_products>::new(()).table("products", [("1", r#"{"name":"tea"}"#)]);
    let records = Records::new([Input::tombstone().key("1")]);
    let message = harness.within(|| name_products(records.get(0))).expect("there is such a product");
    assert_eq!(message, Message::new().value("tea"));
}

mod ticks {
    use super::*;

    #[derive(Deserialize)]
    pub struct Limit {
        pub least: i64,
    }

    /// Sends and forgets the sums that are too small.
    fn sweep(tick: Tick, limit: &Limit, out: &mut Output) -> Result<()> {
        let sums = Store::<str, i64>::open("sums")?;
        for (key, sum) in sums.scan(.., 100)? {
            if sum < limit.least {
                sums.delete(&key)?;
                out.send_json(Message::new().key(key), &json!([sum, tick.topic(), tick.input(), tick.partition()]))?;
            }
            ensure!(sum != 13, "bad luck");
        }
        Ok(())
    }

    #[transform(stores = ["sums"], tick = sweep)]
    pub fn keep(sum: Record<'_, Json<i64>>, _: &Limit) -> Result<()> {
        Store::<str, i64>::open("sums")?.put(sum.key_as()?, &sum.value)
    }

    fn alone(tick: Tick<'_>) -> Message<'static> {
        Message::new().value(tick.now_ms().to_string())
    }

    #[transform(tick = alone)]
    pub fn ticks_alone(_: Record<'_>) {}

    fn output_alone(_: Tick, out: &mut Output<'_>) -> Result<()> {
        out.send(Message::new().timestamp(5).header("h", b"v"))
    }

    #[transform(tick = self::output_alone)]
    pub fn ticks_output(_: Record<'_>) {}

    fn config_alone(_: Tick<'_>, limit: &Limit) -> Option<Message<'static>> {
        (limit.least > 3).then(|| Message::new().value("more"))
    }

    #[transform(tick = config_alone)]
    pub fn ticks_config(_: Record<'_>, _: &Limit) {}
}

#[test]
fn a_tick_sends_and_writes_at_its_time() {
    let mut harness = Harness::<ticks::keep>::new(json!({"least": 10})).inputs(["a", "b"]);
    let record = |key: &str, sum: i64| Input::json(&sum).key(key);
    harness.read_from(1, 3).run([record("x", 5), record("y", 50), record("z", 7)]);
    let outcome = harness.tick(1_000);
    let sent: Vec<_> = outcome.messages.iter().map(|sent| (sent.json(), sent.timestamp_ms)).collect();
    assert_eq!(sent, [(json!([5, "b", 1, 3]), Some(1_000)), (json!([7, "b", 1, 3]), Some(1_000))]);
    assert!(harness.state("sums").keys().eq([b"y"]));
    assert_eq!(harness.tick(2_000), Outcome::default());
}

#[test]
fn a_tick_that_fails_changes_nothing() {
    let mut harness = Harness::<ticks::keep>::new(json!({"least": 10}));
    harness.run([("a", 1), ("b", 13)].map(|(key, sum)| Input::json(&sum).key(key)));
    let outcome = harness.tick(1);
    assert_eq!((outcome.messages.len(), outcome.failures[0].message.as_str()), (0, "bad luck"));
    assert_eq!(harness.state("sums").len(), 2);
}

#[test]
fn a_tick_takes_what_it_needs() {
    assert_eq!(texts(&Harness::<ticks::ticks_alone>::new(()).tick(77)), ["77"]);
    assert_eq!(texts(&Harness::<ticks::ticks_config>::new(json!({"least": 4})).tick(0)), ["more"]);
    let outcome = Harness::<ticks::ticks_output>::new(()).tick(9);
    assert_eq!((outcome.messages[0].timestamp_ms, outcome.messages[0].headers.len()), (Some(5), 1));
}
