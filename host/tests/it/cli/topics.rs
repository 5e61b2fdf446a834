//! The verbs over topics, against a real `sandbar dev`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use super::canned::{CannedHost, Reply};
use super::command::{Cli, Dev, sandbar};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn records_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let cli = Cli { folder: folder.path(), url: &dev.url };
    assert!(cli.succeeds("topics create shop.orders --partitions 3").contains("partitions:      3"));
    assert_eq!(cli.json("topics list")["topics"][0]["name"], "shop.orders");
    assert!(cli.succeeds("topics list").contains("shop.orders  3"));
    let records = concat!(
        r#"{"key":"1","value":{"total":10.10,"id":12345678901234567890},"headers":[{"name":"h","value_base64":"AP8="}]}"#,
        "\n",
        r#"{"key":"1","value":null}"#,
        "\n",
        r#"{"key":"2","value":""}"#,
        "\n\n",
    );
    std::fs::write(folder.path().join("in.ndjson"), records).expect("writable");
    assert_eq!(cli.succeeds("produce shop.orders in.ndjson"), "produced 3 records to shop.orders\n");
    assert_eq!(cli.json("produce shop.orders in.ndjson"), json!({"records": 3}));
    let out = cli.succeeds("consume shop.orders");
    assert!(out.contains(r#""value":{"total":10.10,"id":12345678901234567890}"#), "{out}");
    assert_eq!(lines(&out).len(), 6);
    // What was read is written again as it was.
    std::fs::write(folder.path().join("again.ndjson"), &out).expect("writable");
    cli.succeeds("topics create again --partitions 3");
    cli.succeeds("produce again again.ndjson");
    let sorted = |out: &str| {
        let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&cli.succeeds("consume again")), sorted(&out));
    // Of the last record of each partition, that of a key is its last.
    let last = lines(&cli.succeeds("consume shop.orders --from -1"));
    assert!(last.iter().any(|record| record["key"] == 1 && record["value"].is_null()), "{last:?}");
    assert_eq!(lines(&cli.succeeds("consume shop.orders -n 4")).len(), 4);
    assert_eq!(cli.succeeds("consume shop.orders --from latest"), "");
    let described = cli.json("topics describe shop.orders");
    let ends = described["offsets"].as_array().expect("partitions").iter().map(|it| it["end"].as_i64().expect("a number"));
    assert_eq!(ends.sum::<i64>(), 6, "{described}");
}

/// A page has 1,000 records.
#[test]
fn many_records_are_read_over_all_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let cli = Cli { folder: folder.path(), url: &dev.url };
    cli.succeeds("topics create many --partitions 4");
    let records: String = (0..5_000).map(|n| format!("{{\"key\":\"k{n}\",\"value\":{n}}}\n")).collect();
    std::fs::write(folder.path().join("in.ndjson"), records).expect("writable");
    assert_eq!(cli.json("produce many in.ndjson"), json!({"records": 5_000}));
    let mut values: Vec<u64> =
        lines(&cli.succeeds("consume many")).iter().map(|record| record["value"].as_u64().expect("a number")).collect();
    values.sort_unstable();
    assert!(values.into_iter().eq(0..5_000));
}

/// Whoever writes line by line sees each one written, and whoever follows gets it.
#[test]
fn lines_are_written_and_followed_as_they_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let cli = Cli { folder: folder.path(), url: &dev.url };
    cli.succeeds("topics create live");
    let verb = |words: &[&str], input: Stdio, output: Stdio| {
        let mut command = sandbar(folder.path());
        command.args(words).env("SANDBAR_URL", &dev.url).stdin(input).stdout(output).spawn().expect("it starts")
    };
    let mut following = verb(&["consume", "live", "-f"], Stdio::null(), Stdio::piped());
    let mut shown = BufReader::new(following.stdout.take().expect("piped"));
    let mut producing = verb(&["produce", "live"], Stdio::piped(), Stdio::null());
    let mut input = producing.stdin.take().expect("piped");
    for number in 0..3 {
        writeln!(input, "{{\"value\":{number}}}").expect("it reads");
        let mut line = String::new();
        shown.read_line(&mut line).expect("text");
        assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON")["value"], number);
    }
    drop(input);
    assert!(producing.wait().expect("it ran").success());
    following.kill().expect("it runs");
    following.wait().expect("it ran");
}

#[test]
fn wrong_input_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let cli = Cli { folder: folder.path(), url: &dev.url };
    cli.succeeds("topics create t --partitions 2");
    std::fs::write(folder.path().join("bad.ndjson"), "{\"value\":1}\n\n{\"valeu\":2}\n").expect("writable");
    cli.fails("produce t bad.ndjson", 2, &["error[E027]", "bad.ndjson: line 3", "valeu", "hint: one a line"]);
    assert_eq!(cli.succeeds("consume t"), "", "lines that are sent together are checked before");
    cli.fails("produce t none.ndjson", 2, &["none.ndjson"]);
    cli.fails("produce nowhere bad.ndjson --url http://127.0.0.1:1", 2, &["line 3"]);
    std::fs::write(folder.path().join("one.ndjson"), "{\"value\":1,\"partition\":7}\n").expect("writable");
    cli.fails("produce t one.ndjson", 1, &["error[E030]", "one.ndjson: line 1: partition: is 7"]);
    std::fs::write(folder.path().join("two.ndjson"), "\n{\"value\":1}\n\n{\"value\":1,\"topic\":\"u\"}\n")
        .expect("writable");
    cli.fails("produce t two.ndjson", 1, &["error[E027]", "two.ndjson: line 4: topic: is \"u\""]);
    cli.fails("produce nowhere one.ndjson", 1, &["error[E025]", "hint: `sandbar topics list`"]);
    cli.fails("consume nowhere", 1, &["error[E025]"]);
    cli.fails("consume t --partition 9", 1, &["error[E030]"]);
    cli.fails("consume t --from tomorrow", 2, &["is not earliest, latest, an offset"]);
    cli.fails("topics describe nowhere", 1, &["error[E025]"]);
    cli.fails("topics create t --partitions 3", 1, &["error[E029]"]);
    cli.fails("topics create u --partitions 0", 1, &["partitions: is 0"]);
    cli.fails("topics create _sandbar.dev.x", 1, &["error[E026]"]);
    cli.fails("topics create spaces%20here", 2, &["spaces%20here"]);
    cli.fails("topics list --brokers 127.0.0.1:1 --url http://127.0.0.1:1", 2, &["cannot be used with"]);
    cli.fails("topics list --kafka-config x.properties", 2, &["--brokers"]);
    cli.fails("topics list --brokers 127.0.0.1:1 --kafka-config none.properties", 2, &["none.properties", "hint:"]);
    std::fs::write(folder.path().join("kc"), "sasl.pasword=hunter2secret\n").expect("writable");
    for words in ["topics list", "consume t", "backup --cluster c --out o"] {
        let words = format!("{words} --brokers 127.0.0.1:1 --kafka-config kc");
        cli.fails(&words, 2, &["error[E241]: ", "sasl.pasword", "hint:"]);
        let ran = cli.run(&words);
        assert!(!ran.err.contains("hunter2") && !ran.out.contains("hunter2"), "{ran:?}");
    }
}

#[test]
fn a_record_that_the_topic_refuses_is_named_by_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let cli = Cli { folder: folder.path(), url: &dev.url };
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writable");
    let keys = |out: &str| lines(out).iter().map(|record| record["key"].clone()).collect::<Vec<_>>();
    cli.succeeds("topics create keyed --compacted");
    cli.succeeds("topics create plain --partitions 2");

    let many: String = (0..50).map(|n| format!("{{\"key\":\"k{n}\"}}\n")).collect();
    write("keyless.ndjson", &format!("{many}\n{{\"value\":1}}\n{many}"));
    let parts = ["error[E109]: after 50 records to keyed: keyless.ndjson: line 52: ", "need a key"];
    cli.fails("produce keyed keyless.ndjson", 1, &parts);
    let expected: Vec<Value> = (0..50).map(|n| json!(format!("k{n}"))).collect();
    assert_eq!(keys(&cli.succeeds("consume keyed --form text")), expected, "none is written twice");

    write("late.ndjson", "{\"key\":\"a\"}\n{\"key\":\"b\",\"timestamp\":99999999999999}\n{\"key\":\"c\"}\n");
    cli.fails("produce plain late.ndjson", 1, &["error[E109]: after 1 record to plain: late.ndjson: line 2: "]);
    assert_eq!(keys(&cli.succeeds("consume plain")), ["a"]);
    // A part of them may be written: nothing is sent again.
    write("mixed.ndjson", "{\"partition\":1}\n{\"partition\":0,\"timestamp\":99999999999999}\n{\"value\":3}\n");
    cli.fails("produce plain mixed.ndjson", 1, &["error[E109]: mixed.ndjson: one of the lines 1 to 3: "]);

    let small = "{\"value\":1}\n".repeat(5);
    write("large.ndjson", &format!("{small}{{\"value\":\"{}\"}}\n", "x".repeat(9_000_000)));
    let parts =
        ["error[E027]: ", "large.ndjson: line 6: has 9000013 bytes, and a line may have 8388608", "hint: `sandbar topics"];
    cli.fails("produce plain large.ndjson", 2, &parts);
    // A request holds this line, and the topic does not take its record.
    let nearly = "{\"value\":\"".to_owned() + &"x".repeat((8 << 20) - 13) + "\"}\n";
    write("nearly.ndjson", &format!("{small}{nearly}"));
    let parts = ["error[E027]: after 5 records to plain: nearly.ndjson: line 6: has ", "the topic takes"];
    cli.fails("produce plain nearly.ndjson", 1, &parts);
}

/// A reader that follows knows its offsets from its first page on, so it goes on when a host restarts.
#[test]
fn a_followed_read_survives_a_broken_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let route = |start: &str| format!("GET /v1/topics/t/records?limit=1000&form=json&{start}");
    let first = route("offset=latest&wait=0ms");
    let next = route("offsets=0:5&wait=10000ms");
    let once = route("offset=earliest&wait=0ms");
    let page = |records: Value, next_offset: i64| {
        let partitions = json!([{"partition": 0, "next_offset": next_offset, "end_offset": next_offset}]);
        json!({"records": records, "partitions": partitions})
    };
    let server = CannedHost::start([
        Reply::new(200, &first, page(json!([]), 5)),
        Reply::broken(&next),
        Reply::broken(&next),
        Reply::new(200, &next, page(json!([{"offset": 5, "value": "new"}]), 6)),
        Reply::broken(&first),
        Reply::broken(&once),
    ]);
    let cli = Cli { folder: folder.path(), url: &server.url };
    assert_eq!(lines(&cli.succeeds("consume t --from latest -f -n 1"))[0]["value"], "new");
    let asked: Vec<String> = server.seen().into_iter().map(|request| request.route).collect();
    assert_eq!(asked.iter().collect::<Vec<_>>(), [&first, &next, &next, &next]);
    // It may be no host at all.
    cli.fails("consume t --from latest -f", 1, &["broke"]);
    cli.fails("consume t", 1, &["broke", "hint: nothing was changed: the same command may be given again"]);
    cli.fails("consume t -f --url http://127.0.0.1:1", 1, &["no host answers"]);
}

/// A host on Kafka has no routes of topics; a write is never repeated by itself.
#[test]
fn other_hosts_answers_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let body = json!({"type": "/errors/E002", "title": "There is no such route", "status": 404, "detail": "none",
        "code": "E002", "hint": "none"});
    let write = "POST /v1/topics/t/records";
    let server = CannedHost::start([Reply::new(404, "GET /v1/topics", body), Reply::broken(write), Reply::broken(write)]);
    let cli = Cli { folder: folder.path(), url: &server.url };
    cli.fails("topics list", 2, &["works on Kafka", "hint: give the brokers: --brokers"]);
    std::fs::write(folder.path().join("one.ndjson"), "{\"value\":1}\n").expect("writable");
    cli.fails("produce t one.ndjson", 1, &["broke", "hint: look with `sandbar consume`"]);
    assert_eq!(server.seen().iter().filter(|request| request.route == write).count(), 1);
}
