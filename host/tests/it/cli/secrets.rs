//! Secrets through the command line: a team names them, and nobody sees them.

use std::path::Path;

use serde_json::json;

use super::command::{Cli, Dev};

const VALUE: &str = "hunter2-and-more";

fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, content).expect("written");
}

fn write_spec(folder: &Path, config: &str) {
    let spec =
        "team: shop\nname: echo\nmodule: module.wasm\ninputs: [shop.orders]\noutputs: { out: shop.out }\nstart: earliest\n";
    write(folder, "transform.yaml", &format!("{spec}config: {config}\n"));
}

/// The files below a folder that contain a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(files_with(&entry, text));
        } else if std::fs::read(&entry).unwrap_or_default().windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(entry.display().to_string());
        }
    }
    found
}

#[test]
fn no_answer_and_no_file_of_a_host_shows_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    std::fs::copy(super::run::fixture(), place.join("module.wasm")).expect("copied");
    write(place, "vault/shop/token", VALUE);
    write(place, "vault/other/foreign", VALUE);
    let dev = Dev::start_with(place, &["--secrets-dir", "vault"]);
    let cli = Cli { folder: place, url: &dev.url };
    dev.create_topics(&["shop.orders", "shop.out"]);

    for (config, parts) in [
        ("{ mode: echo, tag: { secret: 'file:gone' } }", ["error[E066]", "file:gone"]),
        ("{ mode: echo, tag: { secret: 'file:foreign' } }", ["error[E066]", "file:foreign"]),
        ("{ mode: echo, tag: { secret: 'file:../other/foreign' } }", ["error[E020]", "config.tag.secret"]),
        ("{ mode: echo, tag: { secret: 'env:HOME' } }", ["error[E066]", "SANDBAR_SECRET_SHOP__HOME"]),
        // The module quotes the value that it refuses.
        ("{ mode: { secret: 'file:token' } }", ["error[E019]", "unknown variant `[secret]`"]),
    ] {
        write_spec(place, config);
        cli.fails("deploy", 1, &parts);
    }
    write_spec(place, "{ mode: echo, tag: { secret: 'file:token' } }");
    cli.succeeds("deploy");
    write_spec(place, "{ mode: count, tag: { secret: 'file:token' } }");
    cli.succeeds("deploy");
    let record = json!([{ "value": "a" }]).to_string();
    let request =
        ureq::post(format!("{}/v1/topics/shop.orders/records", dev.url)).header("content-type", "application/json");
    request.send(record).expect("written");
    let mut answers = vec![];
    for words in ["describe", "describe -o json", "revisions", "status -o json", "list", "hosts -o json", "logs"] {
        answers.push(cli.succeeds(words));
    }
    // 1: the revisions differ, as those of `diff`.
    let diff = cli.run("diff 1 2");
    assert_eq!(diff.code, 1, "{diff:?}");
    answers.push(diff.out);
    for path in ["/metrics", "/v1/teams/shop/transforms/echo/revisions/1"] {
        let mut answer = ureq::get(format!("{}{path}", dev.url)).call().expect(path);
        answers.push(answer.body_mut().read_to_string().expect("text"));
    }
    for answer in &answers {
        assert!(!answer.contains("hunter2"), "{answer}");
    }
    assert!(answers[0].contains("secret: file:token"), "{}", answers[0]);
    // The control: what the spec has is in a file of the host's log of records.
    assert_ne!(files_with(&place.join("data"), "file:token"), [""; 0]);
    assert_eq!(files_with(&place.join("data"), VALUE), [""; 0]);
    assert!(!std::fs::read_to_string(place.join("host.log")).expect("readable").contains("hunter2"));
}
