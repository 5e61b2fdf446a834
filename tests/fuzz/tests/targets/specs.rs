//! Specs, as a deployment's body has them.

use sandbar::fuzzing;
use sandbar::model::codes::Code;
use sandbar::model::names::Digest;
use sandbar::model::spec::{RawSpec, Spec};
use sandbar_fuzz::{Entropy, mutate};

const JSON: &[u8] = br#"{"team": "shop", "name": "orders", "module": "target/module.wasm", "inputs": ["shop.orders"],
 "outputs": {"out": "shop.out", "more": "shop.more"}, "config": {"keep": ["a", {"b": 1.5}], "n": null},
 "delivery": "exactly-once", "on_error": {"retry": {"attempts": 2, "backoff": "300ms"}, "then": "dead-letter",
 "dead_letter_topic": "shop.dead"}, "limits": {"memory": "64MiB", "batch_time": "2s", "batch_records": 400,
 "batch_bytes": "256KiB", "output_per_record": 64, "output_bytes_per_record": "4MiB", "state_bytes_per_call": "16MiB",
 "log_lines_per_second": 100}, "start": "earliest", "state": {"levels": {"store": "disk", "ttl": "1h",
 "max_bytes": "1GiB", "queryable": true}}, "tables": {"products": "shop.products"}, "tick": "1s", "allow_cycle": false,
 "commit_interval": "100ms", "workers": 2}"#;

const YAML: &[u8] = b"team: shop\nname: orders\nmodule: target/module.wasm\ninputs: [shop.orders]\noutputs:\n  out: shop.out\n\
  more: shop.more\nconfig:\n  keep: [a, {b: 1.5}]\n  text: |\n    two\n    lines\ndelivery: exactly-once\non_error:\n\
  retry: {attempts: 2, backoff: 300ms}\n  then: skip\nlimits: {memory: 64MiB, batch_time: 2s}\n\
start: {offsets: {shop.orders: {0: 12, 1: 7}}}\nstate:\n  levels: {store: memory, ttl: 1h}\ntables: {products: shop.products}\n\
tick: 1s\n";

const WORDS: [&[u8]; 22] = [
    b"&a ",
    b"*a",
    b"<<: ",
    b"[",
    b"]",
    b"{",
    b"}",
    b": ",
    b"- ",
    b"? ",
    b"|\n",
    b"!!binary ",
    b"---\n",
    b"\n  ",
    b"\t",
    b"#",
    b"18446744073709551616",
    b"-1",
    b".nan",
    b"99999999999GiB",
    b"\"memory\": ",
    b"\xef\xbb\xbf",
];

#[test]
fn specs_in_json() {
    sandbar_fuzz::run("specs_in_json", |entropy| check(entropy, JSON, false));
}

#[test]
fn specs_in_yaml() {
    sandbar_fuzz::run("specs_in_yaml", |entropy| check(entropy, YAML, true));
}

/// A spec is refused with a code of its own, or it is read, and means the same once it was written and read again.
fn check(entropy: &mut Entropy<'_>, seed: &[u8], is_yaml: bool) {
    let mut bytes = seed.to_vec();
    mutate(&mut bytes, &WORDS, entropy);
    let raw = match fuzzing::spec(is_yaml, &bytes) {
        Ok(raw) => raw,
        Err(Code::Spec | Code::Malformed) => return,
        Err(code) => panic!("{code} for {:?}", String::from_utf8_lossy(&bytes)),
    };
    let id = "shop/orders".parse().expect("valid");
    let parsed = Spec::parse(&raw, &id, Some(Digest::of(b"")));
    let written = serde_json::to_vec(&raw).expect("plain data");
    let back: RawSpec = serde_json::from_slice(&written).unwrap_or_else(|error| panic!("{error} in {raw:?}"));
    let again = Spec::parse(&back, &id, Some(Digest::of(b"")));
    // Numbers of a config may differ in the last digit.
    let shape = |parsed: Result<Spec, _>| parsed.map(|spec| Spec { config: Default::default(), ..spec });
    assert_eq!(shape(parsed), shape(again));
}
