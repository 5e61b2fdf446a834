//! Many transforms on one host that read one topic.

use std::time::Instant;

use anyhow::{Context, ensure};
use sandbar_harness::{Host, KafkaCluster, Message, Producer, Progress, guests, topics, wait};
use serde_json::json;

use super::points;
use crate::figures::{Window, cpu_ns};
use crate::{PARTITIONS, input};

const CLUSTER: &str = "bench-transforms";

/// The cost of a record for each transform that reads it. All of them together read `records`.
pub fn measure(kafka: &KafkaCluster, transforms: u64, records: u64) -> anyhow::Result<Window> {
    let [input, output] = points::fresh_topics();
    topics::create(kafka, &[&input, &output], PARTITIONS);
    let cluster = format!("{CLUSTER}-{transforms}-{}", output.replace('.', "-"));
    let mut host = Host::start(kafka, &cluster);
    let api = host.api();
    let module = api.upload(&guests::fixture());
    let names: Vec<String> = (0..transforms).map(|number| format!("t{number}")).collect();
    for name in &names {
        let spec = json!({
            "module": module, "inputs": [input], "outputs": {"out": output}, "start": "earliest",
            "config": {"mode": "echo"}, "commit_interval": "100ms", "delivery": "exactly-once",
        });
        api.deploy(&format!("bench/{name}"), &spec);
    }
    for name in &names {
        wait::until(&format!("{name} runs"), 4 * wait::PATIENCE, || {
            let status = api.status(&format!("bench/{name}"));
            let partitions = status["hosts"][0]["partitions"].as_array().map_or(0, Vec::len);
            if status["state"] == "running" && partitions == PARTITIONS as usize { Ok(()) } else { Err(status.to_string()) }
        });
    }
    let pid = host.pid().context("the host runs")?;
    let before = cpu_ns(pid)?;
    let started = Instant::now();
    let producer = Producer::new(kafka);
    for number in 0..records / transforms {
        producer.send(&input, &Message::new(number.to_string(), input::one_order(number)));
    }
    producer.flush();
    for name in &names {
        Progress::new(kafka, &format!("sandbar.{cluster}.bench.{name}"), &input).wait_through(4 * wait::PATIENCE);
    }
    let took = started.elapsed().as_secs_f64();
    let cpu_ns = cpu_ns(pid)? - before;
    ensure!(host.sigterm_and_wait() == Some(0), "the host did not end well");
    topics::delete(kafka, &input);
    topics::delete(kafka, &output);
    let done = (records / transforms * transforms) as f64;
    Ok(Window { cpu_ns: cpu_ns as f64 / done, records_per_second: done / took })
}
