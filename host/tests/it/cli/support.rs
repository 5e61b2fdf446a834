//! `sandbar support-bundle` against a real `sandbar dev`: what is in the archive, and what is not.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::canned::{CannedHost, Reply};
use super::command::{Cli, Dev};

/// The files of an archive, without the folder that they are all in.
fn files(archive: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(std::fs::File::open(archive).expect("there"));
    let entries = archive.entries().expect("an archive");
    let file = |entry: std::io::Result<tar::Entry<std::fs::File>>| {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        (path.strip_prefix("sandbar-support/").expect("in one folder").to_owned(), text)
    };
    entries.map(file).collect()
}

#[test]
fn a_bundle_tells_the_state_and_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(folder.path());
    let cli = Cli { folder: folder.path(), url: &dev.url };
    cli.succeeds("topics create in");
    cli.succeeds("topics create out");
    std::fs::write(folder.path().join("module.wasm"), crate::support::guests::fixture()).expect("writable");
    let spec = "team: shop\nname: echo\nmodule: module.wasm\ninputs: [in]\noutputs: { out: out }\nstart: earliest\n\
                config: { mode: echo, tag: hunter2 }\n";
    std::fs::write(folder.path().join("transform.yaml"), spec).expect("writable");
    cli.succeeds("deploy");
    std::fs::write(folder.path().join("in.ndjson"), "{\"key\":\"k\",\"value\":\"of-a-customer\"}\n").expect("writable");
    cli.succeeds("produce in in.ndjson");

    assert_eq!(cli.succeeds("support-bundle --out bundle.tar"), "bundle.tar\n");
    let path = folder.path().join("bundle.tar");
    assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    let found = files(&path);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let of_transform = ["events.ndjson", "revisions.json", "spec.json", "status.json"];
    for name in of_transform.map(|name| format!("transforms/shop/echo/{name}")) {
        assert!(names.contains(&name.as_str()), "{names:?}");
    }
    for name in ["bundle.json", "flow.json", "hosts.json", "metrics.txt", "teams.json", "transforms.json", "whoami.json"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let about: Value = serde_json::from_str(&found["bundle.json"]).expect("JSON");
    assert_eq!((&about["missing"], &about["version"]), (&json!([]), &json!(env!("CARGO_PKG_VERSION"))), "{about}");
    let spec: Value = serde_json::from_str(&found["transforms/shop/echo/spec.json"]).expect("JSON");
    assert_eq!(spec["spec"]["config"], json!({"mode": "<string>", "tag": "<string>"}));
    assert!(found["transforms/shop/echo/events.ndjson"].contains("revision 1"), "{found:?}");
    for (name, text) in &found {
        assert!(!text.contains("hunter2") && !text.contains("of-a-customer"), "{name}: {text}");
    }

    // A file that is there stays as it is.
    let refused = cli.run("support-bundle --out bundle.tar");
    assert!(refused.code == 2 && refused.err.contains("hint: "), "{refused:?}");
    assert_eq!(files(&path), found);
    assert!(!files_of_team(&cli, folder.path(), "other").keys().any(|name| name.starts_with("transforms/")));
}

fn files_of_team(cli: &Cli<'_>, folder: &Path, team: &str) -> BTreeMap<String, String> {
    cli.succeeds(&format!("support-bundle --team {team} --out {team}.tar"));
    files(&folder.join(format!("{team}.tar")))
}

/// Another program at the URL decides no path on this machine, and a host that is away leaves no file.
#[test]
fn names_that_are_none_become_no_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |url: &str| Cli { folder: folder.path(), url }.run("support-bundle --out bundle.tar");
    assert_ne!(run("http://127.0.0.1:1").code, 0);
    assert!(!folder.path().join("bundle.tar").exists());
    let transform = json!({
        "team": "../..", "name": "x", "revision": 1, "module": "sha256:0", "state": "running", "desired": "running",
        "changed_at": "2026-01-01T00:00:00Z", "rollout": "complete", "running_revisions": [1],
    });
    let host = CannedHost::start([
        Reply::new(200, "GET /v1/hosts", json!({"hosts": []})),
        Reply::new(200, "GET /v1/transforms", json!({"transforms": [transform]})),
    ]);
    let ran = run(&host.url);
    assert!(ran.code == 1 && ran.err.contains("transforms"), "{ran:?}");
    let found = files(&folder.path().join("bundle.tar"));
    let about: Value = serde_json::from_str(&found["bundle.json"]).expect("JSON");
    assert!(about["missing"].as_array().is_some_and(|missing| missing.len() >= 5), "{about}");
    assert!(found.keys().all(|name| !name.contains("..")), "{found:?}");
}
