//! The files that pages show: those of a host are read as a host reads them, and JSON is JSON. Rust is compiled by the
//! doctests of the SDK.

use std::path::Path;

use sandbar::access::{ClientRoles, Provider};
use sandbar::config::Flags;
use sandbar::model::names::Digest;
use sandbar::model::spec::{RawSpec, Spec};
use sandbar::model::yaml;
use sandbar::teams::{TeamLimits, TeamTable};
use sandbar::telemetry::metrics::Metrics;
use serde_json::Value;

use sandbar_pages::page::{self, Block};

/// Files that somebody else reads, by the first key of the page's block: here they are YAML, and no more.
const FOREIGN: [(&str, &str); 4] = [
    ("folder", "host/tests/it/cli/folder.rs has folders"),
    ("image", "deploy/helm/check.sh renders such values"),
    ("receivers", "an OpenTelemetry collector reads it"),
    ("scrape_configs", "Prometheus reads it; tests/e2e/alerts.rs runs one"),
];

/// Pages whose Rust is compiled by doctests of crates that include them.
const DOCTESTS: [&str; 6] =
    ["README.md", "docs/sdk.md", "docs/state.md", "docs/tracing.md", "guest-sdk/README.md", "guest-sdk/debezium/README.md"];
/// Pages whose Rust is a part of a template, which `sandbar new` makes and tests build.
const OF_TEMPLATES: [(&str, &str); 1] = [("docs/guide.md", "host/templates/filter/lib.rs")];

/// Calls `check` for each block in this language. Returns the number of blocks.
#[track_caller]
fn check_all(language: &str, check: impl Fn(&str, &Block<'_>) -> Result<(), String>) -> usize {
    let mut count = 0;
    let mut wrong = Vec::new();
    for path in page::all() {
        let name = path.strip_prefix(page::root()).expect("a page of the repository").to_string_lossy().into_owned();
        let page = page::read(&path);
        let is_of = |block: &Block<'_>| block.info.split([' ', ',']).next() == Some(language);
        for block in page::blocks(&page).into_iter().filter(is_of) {
            count += 1;
            if let Err(error) = check(&name, &block) {
                wrong.push(format!("{name}:{}: {error}", block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    count
}

/// The first key of a YAML file.
fn first_key(text: &str) -> &str {
    let line = text.lines().find(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    line.and_then(|line| line.split(':').next()).unwrap_or_default().trim()
}

fn check_yaml(text: &str) -> Result<(), String> {
    match first_key(text) {
        "inputs" | "team" | "config" => check_spec(text),
        "defaults" | "teams" => {
            TeamTable::parse(text.as_bytes(), &TeamLimits::default()).map(drop).map_err(|error| error.to_string())
        }
        "certificates" => in_file(text, |path| ClientRoles::open(Some(path)).map(drop).map_err(|error| error.to_string())),
        "groups" => in_file(text, |path| {
            let flags = Flags {
                oidc_issuer: Some("https://login.example".into()),
                oidc_audience: Some("urn:sandbar".into()),
                oidc_roles: Some(path.to_owned()),
                ..Flags::default()
            };
            let options = flags.resolve(None, "data")?.access.oidc.expect("an issuer is named");
            Provider::open(options, Metrics::new().access).map(drop)
        }),
        key if FOREIGN.iter().any(|(foreign, _)| *foreign == key) => {
            yaml::one::<Value>(text.as_bytes()).map(drop).map_err(|error| error.to_string())
        }
        key => Err(format!("nobody reads a file that begins with {key:?}")),
    }
}

/// A spec, or some of its fields.
fn check_spec(text: &str) -> Result<(), String> {
    let mut raw: RawSpec = yaml::one(text.as_bytes()).map_err(|error| error.to_string())?;
    if raw.inputs.is_empty() {
        raw.inputs = vec!["in".into()];
        raw.outputs.insert("out".into(), "out".into());
    }
    let id = "orders/field-strip".parse().expect("valid");
    Spec::parse(&raw, &id, Some(Digest::of(b""))).map(drop).map_err(|problems| format!("{problems:?}"))
}

fn in_file(text: &str, read: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.yaml");
    std::fs::write(&path, text).expect("written");
    read(&path)
}

#[test]
fn yaml_of_pages_is_read_as_hosts_read_it() {
    let count = check_all("yaml", |_, block| check_yaml(block.text));
    assert!(count >= 10, "{count} blocks were found");
}

#[test]
fn json_of_pages_is_json() {
    let is_json = |text: &str| serde_json::from_str::<Value>(text).map(drop).map_err(|error| error.to_string());
    let count = check_all("json", |_, block| block.text.lines().try_for_each(is_json).or_else(|_| is_json(block.text)));
    assert!(count >= 5, "{count} blocks were found");
}

#[test]
fn rust_of_pages_is_compiled_somewhere() {
    check_all("rust", |name, block| {
        let is_whole = block.info == "rust";
        if DOCTESTS.contains(&name) && is_whole || block.info.contains("file=") {
            return Ok(());
        }
        let template = OF_TEMPLATES.iter().find(|(page, _)| *page == name).ok_or("no test compiles it")?.1;
        let code = page::read(&page::root().join(template));
        code.contains(block.text).then_some(()).ok_or(format!("it is no part of {template}"))
    });
    // Each of these pages is a doctest.
    let crates = ["guest-sdk/src/lib.rs", "guest-sdk/debezium/src/lib.rs"].map(|path| page::read(&page::root().join(path)));
    for name in DOCTESTS {
        // From the folder of the crate's sources.
        let path = name.strip_prefix("guest-sdk/").map_or(format!("../../{name}"), |_| "../README.md".to_owned());
        assert!(crates.iter().any(|code| code.contains(&format!("include_str!(\"{path}\")"))), "{name}");
    }
}

#[test]
fn a_snippet_with_a_mistake_is_found() {
    for wrong in [
        "inputs: [a]\noutputs: { o: b }\nstrat: earliest\n",
        "inputs: [a]\noutputs: { o: \"not a topic\" }\n",
        "teams:\n  stock: { cpu_wieght: 3 }\n",
        "certificates:\n  - dns: a.example\n    roles: [stock:own]\n",
        "groups:\n  devs: [\"stock:own\"]\n",
        "image: { repository: a\n",
        "unheard: of\n",
    ] {
        assert!(check_yaml(wrong).is_err(), "{wrong}");
    }
}
