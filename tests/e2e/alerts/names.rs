//! The page of metrics, by the rules of `promtool check metrics`: names, units, types and help texts.

use sandbar_harness::{Api, dirs, prometheus};

/// A page with every metric that docs/metrics.md lists: a host shows those alone of which something has happened.
fn documented() -> String {
    let document = std::fs::read_to_string(dirs::root().join("docs/metrics.md")).expect("readable");
    let mut page = String::new();
    for row in document.lines().filter_map(|line| line.strip_prefix("| `")) {
        let columns: Vec<&str> = row.split(" | ").collect();
        let kind = columns[1];
        for name in columns[0].split(['`', ',', ' ']).filter(|name| !name.is_empty()) {
            page += &format!("# HELP {name} Of the page\n# TYPE {name} {kind}\n");
            page += &match kind {
                "histogram" => format!("{name}_bucket{{le=\"+Inf\"}} 0\n{name}_sum 0\n{name}_count 0\n"),
                _ => format!("{name} 0\n"),
            };
        }
    }
    page
}

/// Asserts that promtool has no complaint about any metric.
#[track_caller]
pub(super) fn assert_clean(api: &Api) {
    let documented = documented();
    assert!(documented.matches("# TYPE").count() > 90, "{documented}");
    assert_eq!(prometheus::lint(&documented), "");
    assert_eq!(prometheus::lint(&api.get("/metrics").success().body), "");
}
