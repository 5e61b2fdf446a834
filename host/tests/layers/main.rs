//! Habits of the sources, held as text: dependencies between modules go one way and files form no circles, `unsafe` stands
//! in few places, sentences have a subject, and the page of metrics lists them all.

mod circles;
mod language;
mod sources;
mod unsafe_code;

use std::collections::BTreeSet;
use std::path::Path;

use crate::sources::Source;

/// A module, and those of the crate that it may use. `model` and `ports` come first, `app` last.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("threads", &[]),
    ("private_file", &[]),
    ("bounded_input", &[]),
    ("followed_file", &["bounded_input"]),
    ("round_robin", &[]),
    ("system_clock", &[]),
    ("steady_clock", &["model", "system_clock"]),
    ("telemetry", &["model", "system_clock"]),
    ("cpu", &["model", "system_clock", "telemetry"]),
    ("api_types", &["model"]),
    ("teams", &["model", "followed_file"]),
    ("secrets", &["model"]),
    ("state", &["model"]),
    ("ports", &["model", "state"]),
    ("record_json", &["model", "ports", "api_types"]),
    ("task", &["model", "ports", "state", "telemetry"]),
    ("guest", &["model", "cpu", "bounded_input", "private_file", "round_robin", "ports", "secrets", "state", "telemetry"]),
    ("kafka", &["model", "bounded_input", "followed_file", "ports", "system_clock", "telemetry", "threads", "trust"]),
    ("embedded", &["model", "ports"]),
    ("stores", &["model", "round_robin", "ports", "state", "steady_clock", "telemetry"]),
    ("crashes", &["model", "bounded_input", "ports", "state"]),
    ("audit", &["model", "ports"]),
    ("catalog", &["model", "bounded_input", "ports", "audit", "telemetry"]),
    ("trust", &["followed_file"]),
    ("otlp", &["model", "telemetry", "trust"]),
    ("oidc", &["model", "trust"]),
    ("access", &["model", "followed_file", "oidc", "trust", "ports", "audit", "catalog", "telemetry"]),
    ("positions", &["model", "ports", "catalog"]),
    ("deployment", &["model", "ports", "catalog", "teams"]),
    ("cluster", &["model", "ports", "record_json", "catalog", "telemetry"]),
    ("placement", &["model", "cluster"]),
    ("worker", &["model", "cpu", "ports", "state", "task", "telemetry"]),
    (
        "supervisor",
        &[
            "model",
            "cpu",
            "ports",
            "stores",
            "crashes",
            "task",
            "guest",
            "catalog",
            "positions",
            "deployment",
            "cluster",
            "placement",
            "teams",
            "worker",
            "telemetry",
            "steady_clock",
        ],
    ),
    ("topics", &["model", "api_types", "ports", "record_json"]),
    (
        "backup",
        &[
            "model",
            "private_file",
            "ports",
            "api_types",
            "record_json",
            "audit",
            "catalog",
            "access",
            "positions",
            "cluster",
        ],
    ),
    (
        "api",
        &[
            "model",
            "followed_file",
            "api_types",
            "ports",
            "record_json",
            "topics",
            "state",
            "task",
            "audit",
            "access",
            "catalog",
            "positions",
            "deployment",
            "cluster",
            "placement",
            "teams",
            "telemetry",
        ],
    ),
    ("fuzzing", &["model", "embedded", "catalog", "positions", "cluster", "api"]),
    (
        "config",
        &[
            "model",
            "bounded_input",
            "access",
            "audit",
            "oidc",
            "otlp",
            "stores",
            "guest",
            "catalog",
            "positions",
            "cluster",
            "api",
            "secrets",
            "teams",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "access",
            "oidc",
            "trust",
            "api_types",
            "ports",
            "record_json",
            "topics",
            "backup",
            "secrets",
            "state",
            "task",
            "config",
            "guest",
            "telemetry",
            "bounded_input",
            "private_file",
        ],
    ),
    (
        "app",
        &[
            "model",
            "cpu",
            "ports",
            "stores",
            "guest",
            "kafka",
            "embedded",
            "audit",
            "access",
            "catalog",
            "positions",
            "deployment",
            "cluster",
            "crashes",
            "supervisor",
            "api",
            "config",
            "otlp",
            "secrets",
            "teams",
            "telemetry",
            "threads",
            "bounded_input",
            "private_file",
            "system_clock",
        ],
    ),
];

/// The top-level modules that a source names after `crate::`.
fn used(source: &str) -> BTreeSet<&str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let after = code.flat_map(|line| line.split("crate::").skip(1));
    let names = after.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default());
    names.filter(|name| LAYERS.iter().any(|(module, _)| module == name)).collect()
}

#[test]
fn modules_use_only_those_below_them() {
    for Source { path, text } in sources::host() {
        let module = path.split(['/', '.']).next().unwrap_or_default();
        if matches!(module, "lib" | "main") {
            continue;
        }
        let layer = LAYERS.iter().find(|(name, _)| *name == module);
        let (_, allowed) = layer.unwrap_or_else(|| panic!("{module} has no layer"));
        for name in used(&text) {
            assert!(name == module || allowed.contains(&name), "{path} uses crate::{name}, which is not below it");
        }
    }
}

#[test]
fn only_kafka_uses_librdkafka() {
    for Source { path, text } in sources::host() {
        let is_kafka = path == "kafka.rs" || path.starts_with("kafka/");
        assert!(is_kafka || !text.contains("rdkafka::") && !text.contains("rdkafka_sys"), "{path}");
    }
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let names = |text: &str, quote: char| -> BTreeSet<String> {
        let quoted = text.split(quote).filter(|part| part.starts_with("sandbar_") || part.starts_with("process_"));
        quoted.filter(|part| part.chars().all(|c| c.is_ascii_lowercase() || c == '_')).map(str::to_owned).collect()
    };
    let sources = sources::host();
    let declaring = sources.iter().filter(|source| source.path.starts_with("telemetry/metrics"));
    let code: String = declaring.map(|source| source.text.as_str()).collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).expect("readable");
    assert_eq!(names(&code, '"'), names(&page, '`'));
}

/// Serde takes a list for a struct, unless `model::by_name` reads it.
#[test]
fn structs_are_read_by_name() {
    const READERS: [&str; 4] = ["serde_json::from_", "axum::Json::from_bytes", "axum::Json(", "toml::from_"];
    for Source { path, text } in sources::host() {
        if path == "model/json.rs" || path.ends_with("tests.rs") {
            continue;
        }
        let own = text.split("#[cfg(test)]").next().unwrap_or_default();
        let named = |line: &&str| READERS.iter().any(|reader| line.contains(reader)) && !line.contains("ByName");
        assert_eq!(own.lines().find(named), None, "{path}: read it with model::json, or as ByName");
    }
}
