//! `sandbar new` and `sandbar sdk`: crates that build as they are, with an SDK of their own.

use std::path::Path;

use super::command::{RunResult, sandbar};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn new(folder: &Path, name: &str, template: &str) -> RunResult {
    RunResult::of(sandbar(folder).args(["new", name, "--template", template]))
}

#[test]
fn every_template_builds_and_tests_as_a_member_of_a_workspace() {
    let folder = folder();
    let manifest = folder.path().join("Cargo.toml");
    std::fs::write(manifest, "[workspace]\nresolver = \"3\"\nmembers = [\"transforms/*\"]\n").expect("written");
    let transforms = folder.path().join("transforms");
    std::fs::create_dir(&transforms).expect("made");
    let templates = ["filter", "json-map", "count", "join", "debezium"];
    for template in templates {
        let name = format!("my-{template}");
        let made = new(&transforms, &name, template);
        assert_eq!(made.code, 0, "{made:?}");
        let again = new(&transforms, &name, template);
        assert!(again.code == 2 && again.err.contains("is not empty"), "{again:?}");
        assert!(!transforms.join(name).join("sandbar-sdk").exists(), "the members share the SDK");
    }
    let tested =
        cargo_in(folder.path(), std::process::Command::new(env!("CARGO")).args(["test", "--workspace", "--offline"]));
    let tests = tested.out.lines().filter(|line| line.starts_with("test tests::") && line.ends_with("ok"));
    assert!(tests.count() >= templates.len(), "each has a test: {tested:?}");
    for template in templates {
        let crate_folder = transforms.join(format!("my-{template}"));
        let spec = std::fs::read_to_string(crate_folder.join("transform.yaml")).expect("it is there");
        assert!(spec.contains(&format!(".my-{template} }}")), "whatever the team, it must not feed itself: {spec}");
        cargo_in(&crate_folder, &mut sandbar_with(&crate_folder, "build"));
        let module = crate_folder.join("target").join(format!("my_{}.wasm", template.replace('-', "_")));
        assert!(module.is_file(), "{spec} names {}", module.display());
    }
}

#[test]
fn a_crate_that_no_workspace_covers_stands_alone() {
    let folder = folder();
    let manifest = folder.path().join("Cargo.toml");
    std::fs::write(manifest, "[workspace]\nresolver = \"3\"\nmembers = [\"transforms/*\"]\n").expect("written");
    let made = new(folder.path(), "alone", "filter");
    assert_eq!(made.code, 0, "{made:?}");
    let alone = folder.path().join("alone");
    assert!(alone.join("sandbar-sdk/Cargo.toml").is_file() && !folder.path().join("sandbar-sdk").exists());
    cargo_in(&alone, std::process::Command::new(env!("CARGO")).args(["test", "--offline"]));
    let described = RunResult::of(sandbar(&alone).args(["status", "--url", "http://127.0.0.1:1"]));
    assert!(described.err.contains("no host answers"), "the folder's spec names the transform: {described:?}");
}

fn sandbar_with(folder: &Path, verb: &str) -> std::process::Command {
    let mut command = sandbar(folder);
    command.arg(verb);
    command
}

/// Runs a command that calls cargo, with a target folder that all crates share, and without a network.
fn cargo_in(folder: &Path, command: &mut std::process::Command) -> RunResult {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/templates");
    let ran = RunResult::of(command.current_dir(folder).env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true"));
    assert_eq!(ran.code, 0, "{}: {}\n{}", folder.display(), ran.out, ran.err);
    ran
}

/// A refused command leaves nothing behind, so that it can be given again.
#[test]
fn a_folder_that_has_no_sdk_is_refused_before_anything_is_written() {
    let folder = folder();
    for place in ["/nowhere", "."] {
        let refused = RunResult::of(sandbar(folder.path()).args(["new", "x", "--sdk-path", place]));
        assert!(refused.code == 2 && refused.err.contains("hint: --sdk-path"), "{refused:?}");
        assert!(!folder.path().join("x").exists(), "{place}");
    }
    std::fs::write(folder.path().join("x"), "a file").expect("written");
    for verb in ["new", "sdk"] {
        let refused = RunResult::of(sandbar(folder.path()).args([verb, "x"]));
        assert!(refused.code == 2 && refused.err.contains("x: is no folder"), "{refused:?}");
    }
}

#[test]
fn the_sdk_replaces_a_copy_of_itself_only() {
    let folder = folder();
    let sdk = || RunResult::of(sandbar(folder.path()).arg("sdk"));
    assert_eq!(sdk().code, 0);
    let old = folder.path().join("sandbar-sdk/src/old.rs");
    std::fs::write(&old, "of another version").expect("written");
    assert_eq!(sdk().code, 0);
    assert!(!old.exists() && folder.path().join("sandbar-sdk/wit/transform.wit").is_file());
    // From within the copy, too.
    std::fs::write(&old, "of another version").expect("written");
    let within = RunResult::of(sandbar(&folder.path().join("sandbar-sdk")).args(["sdk", "."]));
    assert_eq!(within.code, 0, "{within:?}");
    assert!(!old.exists() && folder.path().join("sandbar-sdk/wit/transform.wit").is_file());
    std::fs::write(folder.path().join("sandbar-sdk/Cargo.toml"), "[package]\nname = \"mine\"\n").expect("written");
    let refused = sdk();
    assert!(refused.code == 2 && refused.err.contains("no copy of the SDK"), "{refused:?}");
}
