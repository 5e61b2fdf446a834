//! Folders that cannot be applied, and answers that a real host does not give at will.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::canned::{CannedHost, Reply};
use super::command::{Cli, RunResult, sandbar};

/// Nobody listens there: every error comes before the first request.
const NOWHERE: &str = "http://127.0.0.1:1";
/// Looks like a module to a client.
const MODULE: &str = "\0asm, and any bytes";
const SPEC: &str = "inputs: [t]\noutputs: { out: u }\n";

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn spec(name: &str) -> String {
    format!("team: a\nname: {name}\nmodule: module.wasm\n{SPEC}")
}

/// Makes a folder, and expects that no verb takes it, with all of these parts.
#[track_caller]
fn check(make: impl FnOnce(&Path), parts: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "folder.yaml", "folder: shop\n");
    write(folder.path(), "module.wasm", MODULE);
    write(folder.path(), "good.yaml", &spec("good"));
    make(folder.path());
    let cli = Cli { folder: folder.path(), url: NOWHERE };
    for verb in ["plan", "apply"] {
        cli.fails(verb, 2, parts);
    }
}

#[test]
fn a_folder_has_a_name() {
    let remove = |folder: &Path| std::fs::remove_file(folder.join("folder.yaml")).expect("removed");
    check(remove, &["error[E090]: ./folder.yaml: ", "hint: folder.yaml at the root of the folder"]);
    check(|folder| write(folder, "folder.yaml", "folder: Shop\n"), &["error[E090]", "folder name \"Shop\""]);
    check(|folder| write(folder, "folder.yaml", "name: shop\n"), &["error[E090]", "unknown field `name`"]);
    check(|folder| write(folder, "folder.yaml", ""), &["error[E090]"]);
}

/// With the label of a folder that has no spec for it, a transform would be pruned.
#[test]
fn a_label_of_a_folder_is_not_deployed_by_hand() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "module.wasm", MODULE);
    write(folder.path(), "transform.yaml", &(spec("x") + "labels: { sandbar.folder: shop, owner: anna }\n"));
    let cli = Cli { folder: folder.path(), url: NOWHERE };
    for words in ["deploy", "deploy --dry-run"] {
        cli.fails(words, 2, &["error[E020]", "labels.sandbar.folder: is reserved: apply sets it"]);
    }
}

#[test]
fn two_documents_of_one_name_are_not_deployed() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "module.wasm", MODULE);
    write(folder.path(), "transform.yaml", &format!("{}---\n{}", spec("x"), spec("x")));
    let cli = Cli { folder: folder.path(), url: NOWHERE };
    cli.fails("deploy", 2, &["error[E091]: transform.yaml: a/x is in it twice", "hint: "]);
    write(folder.path(), "transform.yaml", &format!("{}---\n{}", spec("x"), spec("y")));
    cli.fails("deploy", 1, &["error: a/x: no host answers"]);
}

/// The specs that it has may not be those that its author means.
#[test]
fn a_folder_with_an_error_prunes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "folder.yaml", "folder: shop\n");
    write(folder.path(), "b.yaml", &(spec("b") + "workers: 999\n"));
    let cli = Cli { folder: folder.path(), url: NOWHERE };
    cli.fails("prune --yes", 2, &["error[E020]", "b.yaml:", "workers: is 999"]);
    write(folder.path(), "b.yaml", &spec("b"));
    cli.fails("prune --yes", 1, &["no host answers"]);
}

#[test]
fn names_are_unique_in_a_folder() {
    let twice = |folder: &Path| write(folder, "deeper/copy.yaml", &spec("good"));
    check(twice, &["error[E091]: a/good is in deeper/copy.yaml and in good.yaml", "rename one"]);
    let in_one = |folder: &Path| write(folder, "two.yml", &format!("{}---\n{}", spec("x"), spec("x")));
    check(in_one, &["error[E091]: a/x is in two.yml twice"]);
}

#[test]
fn every_error_of_a_folder_is_told_at_once() {
    let make = |folder: &Path| {
        write(folder, "1.yaml", "team: [");
        write(folder, "2.yaml", "team: a\nname: two\ninputz: [t]\nlimits: { memroy: 1MiB }\n");
        write(folder, "3.yaml", &spec("good"));
        write(folder, "4.yaml", "");
    };
    let parts = ["error[E090]: . has 4 errors:", "1.yaml: ", "inputz: unknown field", "limits.memroy: ", "(E020)", "(E091)"];
    check(make, &[&parts[..], &["4.yaml: there is no spec in it"]].concat());
    let make = |folder: &Path| {
        write(folder, "1.yaml", &(spec("one").replace("module.wasm", "gone.wasm") + "workers: 17\n"));
        write(folder, "2.yaml", &(spec("two") + "labels: { sandbar.folder: other, Owner: x }\nconfig: { a: 1 }\n"));
        write(folder, "3.yaml", &spec("three").replace("module: module.wasm\n", ""));
    };
    let parts = [
        "has 4 errors:",
        "1.yaml: module: ./gone.wasm: No such file",
        "workers: is 17",
        "labels.sandbar.folder: is reserved",
        "labels.Owner: its name",
    ];
    check(make, &[&parts[..], &["3.yaml:", "module: is missing"]].concat());
}

#[test]
fn a_spec_has_room_for_the_labels_of_its_folder() {
    for (count, is_refused) in [(14, false), (15, true), (17, true)] {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "folder.yaml", "folder: shop\n");
        write(folder.path(), "module.wasm", MODULE);
        let labels: Vec<String> = (0..count).map(|n| format!("l{n}: x")).collect();
        write(folder.path(), "x.yaml", &format!("{}labels: {{ {} }}\n", spec("x"), labels.join(", ")));
        let ran = Cli { folder: folder.path(), url: NOWHERE }.run("plan");
        let told = ran.err.matches("labels: must be at most").count();
        assert_eq!((ran.code, told), if is_refused { (2, 1) } else { (1, 0) }, "{count}: {ran:?}");
        assert_eq!(ran.err.contains("must be at most 14 in a folder, which adds 2"), is_refused, "{count}: {ran:?}");
    }
}

/// Plan and apply have no option that names another file.
#[test]
fn a_module_that_cannot_be_read_is_an_error_of_the_folder() {
    let large = |folder: &Path| {
        let module = std::fs::File::create(folder.join("module.wasm")).expect("made");
        module.set_len((256 << 20) + 1).expect("a file with a hole");
    };
    check(large, &["error[E090]", "module.wasm: has more than 268435456 bytes", "hint: correct the named files"]);
    let signature = |folder: &Path| std::fs::create_dir(folder.join("module.wasm.sig")).expect("made");
    check(signature, &["error[E090]", "module.wasm.sig: is no plain file", "hint: correct the named files"]);
}

#[test]
fn every_document_of_a_file_is_told_at_once() {
    for (text, parts) in [
        ("inputs: [t]\n---\nteam: a\n", &["document 1: team: is missing", "document 1: name: ", "document 2: name: "][..]),
        (
            "team: a\nname: x\n---\nteam: a\nteam: b\n---\nworkers: two\n",
            &["document 2: duplicate", "document 3: workers: "],
        ),
    ] {
        let parts = [&["error[E020]: "][..], parts].concat();
        let make = |folder: &Path| write(folder, "several.yml", text);
        check(make, &parts);
        let folder = tempfile::tempdir().expect("a folder");
        make(folder.path());
        Cli { folder: folder.path(), url: NOWHERE }.fails("deploy -f several.yml", 2, &parts);
    }
}

#[test]
fn hostile_files_are_refused() {
    check(|folder| symlink("/etc/hostname", folder.join("x.yaml")).expect("linked"), &["error[E090]", "symbolic link"]);
    let name = |folder: &Path| {
        std::fs::remove_file(folder.join("folder.yaml")).expect("removed");
        symlink("/etc/hostname", folder.join("folder.yaml")).expect("linked");
    };
    check(name, &["error[E090]: ./folder.yaml: is a symbolic link"]);
    check(|folder| symlink("..", folder.join("up")).expect("linked"), &["error[E090]", "symbolic link"]);
    let device = |folder: &Path| write(folder, "x.yaml", &spec("x").replace("module.wasm", "/dev/zero"));
    check(device, &["error[E090]", "/dev/zero: is no plain file"]);
    let secret = |folder: &Path| write(folder, "x.yaml", &spec("x").replace("module.wasm", "/etc/hostname"));
    check(secret, &["error[E090]", "/etc/hostname: is no WebAssembly module"]);
    let signature = |folder: &Path| symlink("/etc/hostname", folder.join("module.wasm.sig")).expect("linked");
    check(signature, &["error[E090]", "module.wasm.sig: is no signature"]);
    let large = |folder: &Path| write(folder, "x.yaml", &"# long\n".repeat(1 << 18));
    check(large, &["error[E090]", "has more than 1048576 bytes"]);
    let aliases = |folder: &Path| write(folder, "x.yaml", "a: &x [1]\nb: *x\n");
    check(aliases, &["error[E020]", "anchors and aliases"]);
    // Nothing that a name has in it acts on the terminal.
    let names = |folder: &Path| write(folder, "\u{1b}[31mred\n.yaml", "team: [");
    check(names, &["\\u{1b}[31mred"]);
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "folder.yaml", "folder: shop\n");
    write(folder.path(), "\u{1b}[31m.yaml", "team: [");
    let ran = Cli { folder: folder.path(), url: NOWHERE }.run("plan");
    assert!(!ran.err.contains('\u{1b}'), "{ran:?}");
}

fn view(name: &str, revision: u64) -> serde_json::Value {
    json!({ "team": "a", "name": name, "revision": revision, "module": format!("sha256:{:064}", 0), "desired": "running",
        "spec": {}, "changed_at": "2026-01-01T00:00:00Z", "outcome": "created", "dry_run": false, "creates": [] })
}

#[test]
fn an_apply_that_ends_between_two_changes_says_what_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "folder.yaml", "folder: shop\n");
    write(folder.path(), "module.wasm", MODULE);
    let of = |name: &str| format!("/v1/teams/a/transforms/{name}");
    let problem = |status: u16, code: &str| json!({ "type": "t", "title": "t", "status": status, "detail": "d", "code": code, "hint": "h" });
    // The first request to check is over the caller's rate, and is sent again.
    let mut replies = vec![
        Reply::new(200, "GET /v1/transforms", json!({ "transforms": [] })),
        Reply::new(200, "GET /v1/teams/a/transforms", json!({ "transforms": [] })),
        Reply::new(429, &format!("PUT {}?dry_run=true", of("one")), problem(429, "E077")),
    ];
    for name in ["one", "three", "two"] {
        write(folder.path(), &format!("{name}.yaml"), &spec(name));
        replies.push(Reply::new(200, &format!("PUT {}?dry_run=true", of(name)), view(name, 1)));
        replies.push(Reply::new(202, &format!("PUT {}", of(name)), view(name, 1)));
    }
    replies.retain(|reply| reply.route != format!("PUT {}", of("three")));
    replies.push(Reply::new(409, &format!("PUT {}", of("three")), problem(409, "E008")));
    let anna = json!({ "revision": 1, "module": "sha256:0", "changed_at": "2026-01-01T00:00:00Z", "cause": "deploy",
        "changed_by": "anna\u{1b}[31m", "labels": { "sandbar.folder": "stock" }, "current": true });
    replies.push(Reply::new(200, &format!("GET {}/revisions", of("three")), json!({ "revisions": [anna] })));
    let server = CannedHost::start(replies);
    let cli = Cli { folder: folder.path(), url: &server.url };
    let parts = [
        "error[E094]: a/three: somebody else changed it after the plan was made",
        "anna\\u{1b}[31m made revision 1 of it at 2026-01-01T00:00:00Z, from folder stock (E093)",
        "applied: a/one\n",
        "not applied: a/three, a/two\n",
        "hint: correct the named cause and apply again",
    ];
    cli.fails("apply", 1, &parts);
    let seen = server.seen();
    let puts = seen.iter().filter(|request| request.route.starts_with("PUT"));
    let puts: Vec<(&str, Option<&str>)> = puts.map(|it| (it.route.as_str(), it.header("if-none-match"))).collect();
    let names = ["one?dry_run=true", "one?dry_run=true", "three?dry_run=true", "two?dry_run=true", "one", "three"];
    let expected: Vec<String> = names.iter().map(|name| format!("PUT {}", of(name))).collect();
    assert_eq!(puts, expected.iter().map(|route| (route.as_str(), Some("*"))).collect::<Vec<_>>());
}

/// The answers of a host that has these transforms with the folder's label.
fn labelled(names: &[&str]) -> Vec<Reply> {
    let listed = |name: &&str| {
        json!({ "team": "a", "name": name, "revision": 1, "module": "sha256:0", "state": "running", "lag": null,
            "changed_at": "2026-01-01T00:00:00Z", "labels": { "sandbar.folder": "shop" } })
    };
    let transforms: Vec<serde_json::Value> = names.iter().map(listed).collect();
    vec![Reply::new(200, "GET /v1/transforms", json!({ "transforms": transforms }))]
}

#[test]
fn a_prune_that_ends_between_two_deletions_says_what_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "folder.yaml", "folder: shop\n");
    write(folder.path(), "good.yaml", &spec("good"));
    let of = |name: &str| format!("/v1/teams/a/transforms/{name}");
    let conflict = json!({ "type": "t", "title": "t", "status": 409, "detail": "d", "code": "E008", "hint": "h" });
    let revision = json!({ "revision": 2, "module": "sha256:0", "changed_at": "2026-01-01T00:00:00Z", "cause": "deploy",
        "changed_by": "anna", "current": true });
    let mut replies = labelled(&["one", "three", "two"]);
    replies.push(Reply::new(204, &format!("DELETE {}", of("one")), json!({})));
    replies.push(Reply::new(409, &format!("DELETE {}", of("three")), conflict));
    replies.push(Reply::new(200, &format!("GET {}/revisions", of("three")), json!({ "revisions": [revision] })));
    let server = CannedHost::start(replies);
    let cli = Cli { folder: folder.path(), url: &server.url };
    let parts = [
        "error[E094]: a/three: somebody else changed it after the plan was made: anna made revision 2 of it",
        "(E093)",
        "  pruned: a/one\n",
        "  not pruned: a/three, a/two\n",
        "hint: correct the named cause and prune again",
    ];
    let ran = cli.run("prune --yes -o json");
    assert!(ran.code == 1 && parts.iter().all(|part| ran.err.contains(part)), "{ran:?}");
    let shown: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(shown, json!({ "folder": "shop", "pruned": ["a/one"] }));
    // Nothing is done by one that ends at the first.
    let mut replies = labelled(&["three"]);
    let conflict = json!({ "type": "t", "title": "t", "status": 403, "detail": "d", "code": "E076", "hint": "h" });
    replies.push(Reply::new(403, &format!("DELETE {}", of("three")), conflict));
    let server = CannedHost::start(replies);
    let ran = Cli { folder: folder.path(), url: &server.url }.run("prune --yes -o json");
    assert!(ran.code == 1 && ran.err.contains("error[E076]: a/three: d") && ran.out.is_empty(), "{ran:?}");
}

#[test]
fn a_full_disk_leaves_no_change_half_done() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "folder.yaml", "folder: shop\n");
    write(folder.path(), "module.wasm", MODULE);
    let mut replies = labelled(&["old", "older"]);
    replies.push(Reply::new(200, "GET /v1/teams/a/transforms", json!({ "transforms": [] })));
    for name in ["old", "older"] {
        replies.push(Reply::new(204, &format!("DELETE /v1/teams/a/transforms/{name}"), json!({})));
    }
    for name in ["one", "two"] {
        write(folder.path(), &format!("{name}.yaml"), &spec(name));
        let route = format!("PUT /v1/teams/a/transforms/{name}");
        replies.push(Reply::new(200, &format!("{route}?dry_run=true"), view(name, 1)));
        replies.push(Reply::new(202, &route, view(name, 1)));
    }
    let server = CannedHost::start(replies);
    for words in ["apply --no-wait", "apply --no-wait -o json", "prune --yes", "prune --yes -o json"] {
        let before = server.seen().len();
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a full disk");
        let mut command = sandbar(folder.path());
        let ran = RunResult::of(command.args(words.split(' ')).env("SANDBAR_URL", &server.url).stdout(full));
        assert!(ran.code == 1 && ran.err.starts_with("error: cannot write to standard output: "), "{words}: {ran:?}");
        let seen = server.seen();
        let is_change = |route: &str| !route.starts_with("GET") && !route.ends_with("?dry_run=true");
        let changes = seen[before..].iter().filter(|request| is_change(&request.route)).count();
        assert_eq!(changes, 2, "{words}: {seen:?}");
    }
}

#[test]
fn a_team_that_the_caller_does_not_see_has_no_plan() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "folder.yaml", "folder: shop\n");
    write(folder.path(), "module.wasm", MODULE);
    write(folder.path(), "x.yaml", &spec("x"));
    let refused = json!({ "type": "t", "title": "t", "status": 403, "detail": "ci does not have the role view in team a",
        "code": "E076", "hint": "h" });
    let server = CannedHost::start([
        Reply::new(200, "GET /v1/transforms", json!({ "transforms": [] })),
        Reply::new(403, "GET /v1/teams/a/transforms", refused),
    ]);
    let cli = Cli { folder: folder.path(), url: &server.url };
    let message = "error[E076]: transforms of team a: ci does not have the role view in team a";
    for words in ["plan", "apply"] {
        cli.fails(words, 1, &[message]);
    }
}

#[test]
fn a_spec_of_a_newer_host_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "folder.yaml", "folder: shop\n");
    write(folder.path(), "module.wasm", MODULE);
    write(folder.path(), "x.yaml", &spec("x"));
    let listed = json!({ "team": "a", "name": "x", "revision": 1, "module": "sha256:0", "state": "running", "lag": null,
        "changed_at": "2026-01-01T00:00:00Z" });
    let newer = json!({ "team": "a", "name": "x", "revision": 1, "module": "sha256:0", "changed_at": "2026-01-01T00:00:00Z",
        "spec": { "inputs": ["t"], "replicas": 3 } });
    let server = CannedHost::start([
        Reply::new(200, "GET /v1/transforms", json!({ "transforms": [listed] })),
        Reply::new(200, "GET /v1/teams/a/transforms/x", newer),
    ]);
    let cli = Cli { folder: folder.path(), url: &server.url };
    cli.fails("plan", 1, &["error[E226]: a/x: ", "unknown field `replicas`", "hint: use the sandbar of the host's version"]);
}
