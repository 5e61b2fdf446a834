//! The dashboard's queries, as Grafana sends them.

use sandbar_harness::{Prometheus, dirs, wait};
use serde_json::Value;

/// Values like those that Grafana puts in place of its variables, with "All" chosen in each.
const VARIABLES: [(&str, &str); 6] = [
    ("$__rate_interval", "5m"),
    ("$__interval", "1m"),
    ("$__range", "1h"),
    ("$cluster", ".*"),
    ("$team", ".*"),
    ("$transform", ".*"),
];

/// Each query of the dashboard, with the title of its panel.
fn queries() -> Vec<(String, String)> {
    let file = std::fs::read_to_string(dirs::root().join("deploy/grafana/sandbar.json")).expect("shipped");
    let dashboard: Value = serde_json::from_str(&file).expect("JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut all = Vec::new();
    for panel in list(&dashboard["panels"]) {
        all.extend(list(&panel["targets"]).iter().map(|target| (text(&panel["title"]), text(&target["expr"]))));
    }
    for annotation in list(&dashboard["annotations"]["list"]).iter().filter(|one| one["expr"].is_string()) {
        all.push((text(&annotation["name"]), text(&annotation["expr"])));
    }
    for variable in list(&dashboard["templating"]["list"]).iter().filter(|one| one["type"] == "query") {
        all.push((text(&variable["name"]), values_of(&text(&variable["definition"]))));
    }
    let fields = |name: &str| file.matches(&format!("\"{name}\":")).count();
    assert_eq!(all.len(), fields("expr") + fields("definition"), "a query of the file was not found");
    for (_, query) in &mut all {
        *query = VARIABLES.iter().fold(query.clone(), |query, (name, value)| query.replace(name, value));
    }
    all
}

/// The series behind `label_values(SERIES, LABEL)`, which is Grafana's own function.
fn values_of(definition: &str) -> String {
    let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(','));
    inner.unwrap_or_else(|| panic!("{definition}")).0.to_owned()
}

/// Asserts that each query has data.
#[track_caller]
pub(super) fn assert_shown(prometheus: &Prometheus) {
    for (title, query) in queries() {
        wait::until(&format!("{title} shows data: {query}"), wait::PATIENCE, || {
            let series = prometheus.query(&query)?;
            let numbers = series.iter().filter(|series| series["value"][1] != "NaN").count();
            if numbers > 0 { Ok(()) } else { Err(format!("{series:?}")) }
        });
    }
}
