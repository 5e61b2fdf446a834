//! The dependencies between the host's modules go one way, and the pages that list names list them all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A module, and those of the crate that it may use. `model` and `ports` come first, `app` last.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("threads", &[]),
    ("telemetry", &["model"]),
    ("state", &["model"]),
    ("ports", &["model", "state"]),
    ("record_json", &["model", "ports"]),
    ("task", &["model", "ports", "state", "telemetry"]),
    ("guest", &["model", "ports", "state", "telemetry"]),
    ("kafka", &["model", "ports", "threads"]),
    ("embedded", &["model", "ports"]),
    ("stores", &["model", "ports", "state", "telemetry"]),
    ("crashes", &["model", "ports", "state"]),
    ("catalog", &["model", "ports", "telemetry"]),
    ("positions", &["model", "ports", "catalog"]),
    ("deployment", &["model", "ports", "catalog"]),
    ("cluster", &["model", "ports", "record_json", "catalog", "telemetry"]),
    ("worker", &["model", "ports", "state", "task", "telemetry"]),
    (
        "supervisor",
        &[
            "model",
            "ports",
            "stores",
            "crashes",
            "task",
            "guest",
            "catalog",
            "positions",
            "deployment",
            "worker",
            "telemetry",
        ],
    ),
    (
        "api",
        &["model", "ports", "record_json", "state", "task", "catalog", "positions", "deployment", "cluster", "telemetry"],
    ),
    ("fuzzing", &["model", "embedded", "catalog", "positions", "cluster", "api"]),
    ("config", &["model", "stores", "telemetry"]),
    ("cli", &["model", "ports", "record_json", "state", "task", "config", "guest", "telemetry"]),
    (
        "app",
        &[
            "model",
            "ports",
            "stores",
            "guest",
            "kafka",
            "embedded",
            "catalog",
            "positions",
            "cluster",
            "crashes",
            "supervisor",
            "api",
            "config",
            "telemetry",
            "threads",
        ],
    ),
];

fn sources(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => sources(&path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
}

/// The top-level modules that a source names after `crate::`.
fn used(source: &str) -> BTreeSet<&str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let after = code.flat_map(|line| line.split("crate::").skip(1));
    let names = after.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default());
    names.filter(|name| LAYERS.iter().any(|(module, _)| module == name)).collect()
}

#[test]
fn modules_use_only_those_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let inside = file.strip_prefix(&root).expect("found there");
        let module = inside.components().next().expect("not empty").as_os_str().to_string_lossy().replace(".rs", "");
        if module == "lib" || module == "main" {
            continue;
        }
        let (_, allowed) =
            LAYERS.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("{module} has no layer"));
        let source = std::fs::read_to_string(&file).expect("readable");
        for name in used(&source) {
            assert!(
                name == module || allowed.contains(&name),
                "{} uses crate::{name}, which is not below it",
                inside.display()
            );
        }
    }
}

#[test]
fn only_kafka_uses_librdkafka() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files.iter().filter(|file| !file.starts_with(root.join("kafka")) && **file != root.join("kafka.rs")) {
        let source = std::fs::read_to_string(file).expect("readable");
        assert!(!source.contains("rdkafka::") && !source.contains("rdkafka_sys"), "{}", file.display());
    }
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let names = |text: &str, quote: char| -> BTreeSet<String> {
        let quoted = text.split(quote).filter(|part| part.starts_with("sandbar_") || part.starts_with("process_"));
        quoted.filter(|part| part.chars().all(|c| c.is_ascii_lowercase() || c == '_')).map(str::to_owned).collect()
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = std::fs::read_to_string(root.join("src/telemetry/metrics.rs")).expect("readable");
    let page = std::fs::read_to_string(root.join("../docs/metrics.md")).expect("readable");
    assert_eq!(names(&code, '"'), names(&page, '`'));
}
