//! The table of contenders.

use serde_json::{Value, json};

use crate::contender::{Contender, Kind};
use crate::rival;
use crate::sandbar::Sandbar;
use crate::streams::{AT_LEAST_ONCE, CACHE_BYTES, EXACTLY_ONCE, Streams};
use crate::work::{CUSTOMERS, Work};

const FIXTURE: &str = "tests/guests/fixture";

/// All of them, in the order in which they run.
pub fn all() -> Vec<Contender> {
    [pass_through(), strip(), state()].into_iter().flatten().collect()
}

fn pass_through() -> Vec<Contender> {
    let echo = || json!({"config": {"mode": "echo"}});
    let of = contender(Work::PassThrough);
    vec![
        of("forward", "librdkafka forwarder", Kind::Rival(rival::Work::Forward)),
        of("pass-through", "Sandbar pass-through", sandbar(FIXTURE, echo())),
        of("tailed", "Sandbar pass-through, with `sandbar tail -f`", tailed(FIXTURE, echo())),
        of("streams-forward", "Kafka Streams", streams("forward", EXACTLY_ONCE, CACHE_BYTES)),
    ]
}

fn strip() -> Vec<Contender> {
    let serde = || json!({"config": {"mode": "json-strip"}});
    let keep = json!({"keep": ["id", "status", "currency", "total_cents", "created_at_ms"], "key_field": "id", "items_field": null});
    let of = contender(Work::Strip);
    let field_strip = of("field-strip", "Sandbar field-strip", sandbar("transforms/field-strip", json!({"config": keep})));
    vec![
        of("native", "native JSON loop", Kind::Rival(rival::Work::Strip)),
        of("json-strip", "Sandbar JSON strip, serde", sandbar(FIXTURE, serde())),
        // It keeps five fields and makes the key.
        Contender { is_apart: true, ..field_strip },
        of("streams-strip", "Kafka Streams", streams("strip", EXACTLY_ONCE, CACHE_BYTES)),
        of("json-strip-alo", "Sandbar JSON strip, at least once", sandbar(FIXTURE, at_least_once(serde()))),
        of("streams-strip-alo", "Kafka Streams, at least once", streams("strip", AT_LEAST_ONCE, CACHE_BYTES)),
        of("bento-strip-alo", "Bento, at least once", Kind::Bento),
    ]
}

fn state() -> Vec<Contender> {
    let count = || sandbar("tests/guests/count", json!({"state": {"counts": {}}}));
    let uniform = contender(Work::CountUniform);
    let hot = contender(Work::CountHot);
    let join = contender(Work::Join);
    vec![
        uniform("count-uniform", "Sandbar", count()),
        uniform("streams-count-uniform", "Kafka Streams, no cache", streams("count", EXACTLY_ONCE, 0)),
        // Sandbar has state exactly once only.
        uniform("streams-count-uniform-alo", "Kafka Streams, no cache, at least once", streams("count", AT_LEAST_ONCE, 0)),
        hot("count-hot", "Sandbar", count()),
        hot("streams-count-hot", "Kafka Streams with its cache", streams("count", EXACTLY_ONCE, CACHE_BYTES)),
        join("join", "Sandbar", sandbar("tests/guests/join", json!({"tables": {"customers": CUSTOMERS}}))),
        join("streams-join", "Kafka Streams, global table", streams("join", EXACTLY_ONCE, CACHE_BYTES)),
    ]
}

fn contender(work: Work) -> impl Fn(&'static str, &'static str, Kind) -> Contender {
    move |name, title, kind| Contender { name, title, work, is_apart: false, kind }
}

fn sandbar(module: &'static str, spec: Value) -> Kind {
    Kind::Sandbar(Sandbar { module, spec, tailed: false })
}

fn tailed(module: &'static str, spec: Value) -> Kind {
    Kind::Sandbar(Sandbar { module, spec, tailed: true })
}

fn at_least_once(mut spec: Value) -> Value {
    spec["delivery"] = json!("at-least-once");
    spec
}

fn streams(work: &'static str, guarantee: &'static str, cache_bytes: u64) -> Kind {
    Kind::Streams(Streams { work, guarantee, cache_bytes })
}
