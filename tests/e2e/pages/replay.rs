//! The commands of a runbook that write dead letters back into their input.

use sandbar_harness::{Host, KafkaCluster, Message, Producer, guests, topics, wait};
use serde_json::json;

use super::shell::PageShell;
use crate::backup::wait_complete;

const RUNNER: &str = "tests/e2e/pages/replay.rs";
const INPUT: &str = "replay.orders";
const OUTPUT: &str = "replay.stripped";
const DEAD_LETTERS: &str = "replay.strip.dead-letter";
const BAD: &str = "poison";

#[test]
fn dead_letters_are_written_back_without_their_headers() {
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &[INPUT, OUTPUT], 2);
    let host = Host::start(kafka, "replay");
    let spec = |mode: &str| {
        json!({
            "inputs": [INPUT], "outputs": {"out": OUTPUT}, "config": {"mode": mode}, "start": "earliest",
            "module": host.api().upload(&guests::fixture()),
        })
    };
    let values = |topic: &str| -> Vec<String> {
        topics::read_committed(kafka, topic).iter().map(topics::Record::value_text).collect()
    };
    let until = |topic: &str, count: usize| {
        wait::until(&format!("{topic} has {count} records"), wait::PATIENCE, || {
            let values = values(topic);
            if values.len() == count { Ok(values) } else { Err(format!("{values:?}")) }
        })
    };
    host.api().deploy("replay/strip", &spec("fail"));
    Producer::new(kafka).send_all(INPUT, &[Message::new("1", BAD).with_header("source", Some(b"web"))]);
    assert_eq!(until(DEAD_LETTERS, 1), [BAD]);

    host.api().deploy("replay/strip", &spec("echo"));
    wait_complete(&host.api(), "replay/strip");
    let mut shell = PageShell::new(RUNNER, Vec::new());
    shell.name("TEAM.NAME", "replay.strip");
    shell.name("\"INPUT\"", &format!("{INPUT:?}"));
    shell.name("produce INPUT", &format!("produce {INPUT}"));
    shell.name("kafka-1:9092", kafka.brokers());
    shell.runs("replay");
    assert_eq!(until(OUTPUT, 1), [BAD]);
    let [first, again] = topics::read_committed(kafka, INPUT).try_into().expect("the record, and its copy");
    assert_eq!((again.key_text(), again.header("source")), (first.key_text(), Some("web".to_owned())));
    assert_eq!(again.headers.len(), 1, "{again:?}");
    shell.end();
}
