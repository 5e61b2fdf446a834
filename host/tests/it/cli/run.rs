//! `sandbar run`: records through a module on the command line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::unread;

const PATIENCE: Duration = Duration::from_secs(120);

/// The component of `tests/guests/fixture`.
pub fn fixture() -> PathBuf {
    let built = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests"));
    std::env::var_os("SANDBAR_GUESTS_DIR").map_or_else(built, PathBuf::from).join("guest_fixture.wasm")
}

fn run(module: &Path, config: &str, args: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, config).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbar"));
    command.arg("run").arg(module).arg("--config").arg(&file).args(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    // It may end before it has read all.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let pid = child.id();
    let (sent, ended) = mpsc::channel();
    std::thread::spawn(move || sent.send(child.wait_with_output()));
    match ended.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("it ends"),
        Err(_) => {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            panic!("{args:?}: it does not end within {PATIENCE:?}");
        }
    }
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("text");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {text}"))).collect()
}

#[test]
fn records_go_in_and_come_out() {
    let input = concat!(
        "{\"key\": \"a\", \"value\": {\"n\": 1.50}, \"timestamp\": 7, \"headers\": [{\"name\": \"h\", \"value\": \"x\"}]}\n",
        "\n",
        "{\"value\": \"text\", \"timestamp\": 8}\n",
        "{\"key_base64\": \"/wA=\", \"value\": null, \"timestamp\": 9}",
    );
    let done = run(&fixture(), "mode: echo", &["--output", "strips", "--output", "rest"], input);
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
    let expected = [
        json!({"target": "strips", "timestamp": 7, "key": "a", "value": {"n": 1.5}, "headers": [{"name": "h", "value": "x"}]}),
        json!({"target": "strips", "timestamp": 8, "key": null, "value": "text"}),
        json!({"target": "strips", "timestamp": 9, "key_base64": "/wA=", "value": null}),
    ];
    assert_eq!(lines(&done.stdout), expected);
    assert!(String::from_utf8_lossy(&done.stdout).contains("{\"n\": 1.50}"), "byte for byte");
    // Output lines are valid input lines.
    let again = run(&fixture(), "mode: echo", &["--output", "strips"], &String::from_utf8_lossy(&done.stdout));
    assert_eq!((again.status.code(), &again.stdout), (Some(0), &done.stdout));
}

#[test]
fn failures_name_their_line_and_the_rest_comes_out() {
    let input = "{\"value\": \"a\"}\nno JSON\n{\"value\": \"poison\"}\n{\"valeu\": 1}\n{\"value\": \"b\"}\n";
    for (mode, code) in [("fail", "E101"), ("panic", "E102"), ("memory-bomb", "E104")] {
        let done = run(&fixture(), &format!("{{\"mode\": \"{mode}\"}}"), &[], input);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let values: Vec<_> = lines(&done.stdout).iter().map(|line| line["value"].clone()).collect();
        assert_eq!(values, ["a", "b"], "{mode}");
        let failures: Vec<_> = lines(&done.stderr).iter().map(|line| json!([line["line"], line["code"]])).collect();
        assert_eq!(failures, [json!([2, "E027"]), json!([3, code]), json!([4, "E027"])], "{mode}: {done:?}");
    }
}

#[test]
fn a_module_that_cannot_run_is_an_error() {
    let text = std::env::current_exe().expect("known");
    let fixture = fixture();
    for (module, config, args, code, named) in [
        (Path::new("/nowhere.wasm"), "mode: echo", &[][..], 2, "error: /nowhere.wasm"),
        (&text, "mode: echo", &[], 2, "error[E010]: "),
        (&fixture, "mode: fly", &[], 1, "error[E019]: "),
        (&fixture, "[echo]", &[], 2, "config.yaml"),
        (&fixture, "mode: echo", &["--output", "No Alias"], 2, "outputs.No Alias"),
        (&fixture, "mode: echo", &["--input", "a b"], 2, "inputs[0]"),
    ] {
        let done = run(module, config, args, "{}\n");
        let errors = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!((done.status.code(), done.stdout.len()), (Some(code), 0), "{errors}");
        assert!(errors.starts_with("error") && errors.contains(named), "{named}: {errors}");
    }
}

/// The first line fails, and the second one is processed all the same.
#[test]
fn failures_that_nobody_reads_stop_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("written");
        file
    };
    let config = write("config.yaml", "mode: echo");
    let records = write("records.ndjson", "[1]\n{\"value\": \"a\"}\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbar"));
    command.arg("run").arg(fixture()).arg("--config").arg(config);
    command.stdin(std::fs::File::open(records).expect("there")).stderr(unread());
    let done = command.output().expect("the binary runs");
    assert_eq!((done.status.code(), lines(&done.stdout).len()), (Some(1), 1), "{done:?}");
}

/// Other threads log while the main one waits for them.
#[test]
fn every_log_filter_lets_it_end() {
    for filter in ["off", "error", "warn", "info", "debug", "trace", "guest=debug,wasmtime=trace"] {
        let done = run(&fixture(), "mode: echo", &["--log", filter], "{\"value\": \"a\"}\n");
        assert_eq!((done.status.code(), lines(&done.stdout).len()), (Some(0), 1), "{filter}: {done:?}");
    }
}

#[test]
fn errors_that_the_module_logs_are_shown_as_errors() {
    for (filter, is_shown) in
        [("off", false), ("error", true), ("guest=error", true), ("warn", true), ("sandbar=error", false)]
    {
        let done = run(&fixture(), "mode: panic", &["--log", filter], "{\"value\": \"poison\"}\n");
        let logged: Vec<Value> = lines(&done.stderr).into_iter().filter(|line| line["target"] == "guest::error").collect();
        assert_eq!(!logged.is_empty(), is_shown, "{filter}: {done:?}");
        assert!(logged.iter().all(|line| line["level"] == "error"), "{logged:?}");
    }
}

#[test]
fn secrets_are_those_of_the_named_team() {
    let vault = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(vault.path().join("shop")).expect("made");
    std::fs::write(vault.path().join("shop/token"), "hunter2").expect("written");
    let folder = vault.path().to_str().expect("text");
    let config = "{mode: echo, tag: {secret: 'file:token'}}";
    let done = run(&fixture(), config, &["--secrets-dir", folder, "--team", "shop"], "{\"value\": \"a\"}");
    assert_eq!(lines(&done.stdout)[0]["headers"], json!([{"name": "tag", "value": "hunter2"}]), "{done:?}");
    for args in [&["--secrets-dir", folder][..], &[], &["--secrets-dir", "/nowhere"]] {
        let done = run(&fixture(), config, args, "{\"value\": \"a\"}");
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && error.contains("secret"), "{done:?}");
        assert!(done.stdout.is_empty(), "{done:?}");
    }
}

/// The module of `transforms/reorder-trigger`, with one row in its table and a line of that product: its output, its errors
/// and its exit code.
fn reorder(keys: &[&str]) -> (Vec<Value>, String, Option<i32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("products.ndjson");
    let row = |key: &&str| {
        let after = r#"{"product_id":7,"stock":30,"reorder_threshold":20,"reorder_quantity":50}"#;
        format!("{{\"key\":{key},\"value\":{{\"before\":null,\"after\":{after},\"source\":{{}},\"op\":\"c\"}}}}\n")
    };
    std::fs::write(&file, keys.iter().map(row).collect::<String>()).expect("written");
    let table = format!("products={}", file.display());
    let stores = ["--state", "levels", "--state", "restocks", "--state", "recheck"];
    let args = [&stores[..], &["--table", &table, "--output", "levels", "--output", "reorders"]].concat();
    let line = r#"{"key":{"product_id":7},"value":{"order_id":1,"product_id":7,"quantity":11,"at_ms":1}}"#;
    let module = fixture().with_file_name("reorder_trigger.wasm");
    let done = run(&module, "{}", &args, line);
    (lines(&done.stdout), String::from_utf8(done.stderr).expect("text"), done.status.code())
}

#[test]
fn a_table_is_looked_up_by_what_its_keys_say() {
    let wrapped =
        r#"{"schema":{"type":"struct","fields":[{"type":"int32","field":"product_id"}]},"payload":{"product_id":7}}"#;
    for key in [r#"{"product_id":7}"#, r#"{"product_id": 7}"#, wrapped] {
        let (outputs, errors, code) = reorder(&[key]);
        let targets: Vec<Option<&str>> = outputs.iter().map(|output| output["target"].as_str()).collect();
        assert_eq!((targets, errors.as_str(), code), (vec![Some("levels"), Some("reorders")], "", Some(0)), "{key}");
    }
}

#[test]
fn a_table_that_no_look_up_hits_is_told() {
    let (outputs, errors, code) = reorder(&[r#"{"product_id":"7"}"#]);
    assert_eq!((outputs, code), (Vec::new(), Some(0)));
    let warning = lines(errors.as_bytes())[0]["warning"].as_str().expect("a warning").to_owned();
    for part in ["table products", "none of 1 look-ups", r#"{"product_id":7}"#, r#"{"product_id":"7"}"#] {
        assert!(warning.contains(part), "{warning}");
    }
    let (_, errors, code) = reorder(&[r#"{"product_id":7}"#, r#"{"product_id": 7}"#]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("E235") && errors.contains("table products"), "{errors}");
}
