//! Secrets on their way into an instance, and out of the text that leaves it.

use std::path::Path;
use std::time::{Duration, Instant};

use sandbar::guest::{ModuleOptions, Modules, Tables};
use sandbar::model::codes::Code;
use sandbar::model::module::ModuleError;
use sandbar::model::spec::Spec;
use sandbar::model::status::State;
use sandbar::ports::{GuestError, GuestFactory};
use sandbar::secrets::{SecretOptions, Secrets, follow_for_ever};
use sandbar::state::KeyedState;
use sandbar::telemetry::metrics::Metrics;
use sandbar::telemetry::observer::Observers;
use sandbar::telemetry::rate::TEAM_LOG_RATE;
use sandbar::telemetry::transform_log::TransformLog;
use serde_json::{Value, json};

use crate::support::guests::{Bench, fixture, modules_with, spec};

const VALUE: &str = "hunter2-and-more";
const PATIENCE: Duration = Duration::from_secs(60);

/// The secrets of team `shop`, in a folder of their own.
struct Vault {
    folder: tempfile::TempDir,
    secrets: Secrets,
    modules: Modules,
}

impl Vault {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SecretOptions { folder: Some(folder.path().to_owned()), ..SecretOptions::default() };
        let secrets = Secrets::open(options).expect("it is there");
        let modules = modules_with(ModuleOptions { secrets: secrets.clone(), ..ModuleOptions::default() });
        Self { folder, secrets, modules }
    }

    fn with(content: &str) -> Self {
        let vault = Self::new();
        vault.put("s", content);
        vault
    }

    fn put(&self, name: &str, content: &str) {
        let own = self.folder.path().join("shop");
        std::fs::create_dir_all(&own).expect("made");
        // As a whole, as an operator should.
        std::fs::write(own.join(".new"), content).expect("written");
        std::fs::rename(own.join(".new"), own.join(name)).expect("renamed");
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).expect("removed");
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("shop").join(name)
    }

    fn bench(&self, spec: &Spec) -> Bench {
        self.observed(spec, &Observers::default())
    }

    fn observed(&self, spec: &Spec, observers: &Observers) -> Bench {
        Bench::on((&self.modules, observers), fixture(), spec, KeyedState::default(), |_| {})
    }
}

/// A spec in which the named fields of the config are the secret `s`.
fn secret_in(mut config: Value, fields: &[&str]) -> Spec {
    for field in fields {
        config[*field] = json!({"secret": "file:s"});
    }
    spec(config, json!({}))
}

#[test]
fn an_instance_gets_the_value_and_the_spec_keeps_the_reference() {
    let vault = Vault::with("hunter2-and-more\n");
    let spec = secret_in(json!({"mode": "echo"}), &["tag"]);
    vault.modules.try_init(&spec, fixture()).expect("accepted");
    let mut bench = vault.bench(&spec);
    bench.offer(&["a"]).run();
    assert_eq!(bench.session.sent[0].header("tag"), VALUE);
    assert!(!format!("{spec:?}").contains("hunter2"));
    // A config is passed on as before if it only looks like a reference.
    let plain = spec_of_tag(json!("file:s"));
    let mut bench = vault.bench(&plain);
    bench.offer(&["a"]).run();
    assert_eq!(bench.session.sent[0].header("tag"), "file:s");
}

fn spec_of_tag(tag: Value) -> Spec {
    spec(json!({"mode": "echo", "tag": tag}), json!({}))
}

#[test]
fn a_deployment_without_its_secret_is_refused() {
    let vault = Vault::with("x");
    let refused = |name: &str| {
        let spec = spec_of_tag(json!({ "secret": name }));
        let error = vault.modules.try_init(&spec, fixture()).expect_err(name);
        assert!(matches!(error, ModuleError::Secret(_)) && error.to_string().contains(name), "{error}");
        error.code()
    };
    vault.put("large", &VALUE.repeat(10_000));
    vault.put("empty", "");
    let names = ["file:gone", "env:SANDBAR_TEST_GONE", "file:large", "file:empty"];
    let codes = [Code::SecretMissing, Code::SecretMissing, Code::SecretUnusable, Code::SecretUnusable];
    assert_eq!(names.map(refused), codes);
}

#[test]
fn texts_of_a_guest_do_not_show_its_secret() {
    // `init` quotes the value that it refuses.
    let vault = Vault::with(VALUE);
    let error = vault.modules.try_init(&secret_in(json!({}), &["mode"]), fixture()).expect_err("no mode");
    let text = error.to_string();
    assert!(text.contains("unknown variant `[secret]`") && !text.contains("hunter2"), "{text}");

    // An error that the guest returns, a panic's message, and the failure of a batch.
    for (mode, code) in [("fail", "E101"), ("panic", "E102"), ("batch-error", "E101")] {
        let vault = Vault::with("poison");
        let mut bench = vault.bench(&secret_in(json!({"mode": mode}), &["tag"]));
        bench.offer(&["poison"]).run();
        let dead = bench.dead_letters();
        assert_eq!(dead[0].1, code, "{mode}");
        assert!(dead[0].2.contains("[secret]") && !dead[0].2.contains("poison"), "{mode}: {}", dead[0].2);
        let shown = format!("{:?}", bench.task.status(None));
        assert!(!shown.contains("poison"), "{mode}: {shown}");
    }
}

#[test]
fn log_lines_of_a_guest_do_not_show_its_secret() {
    let metrics = Metrics::new();
    let (queue, [entries, _]) = TransformLog::new("a", 1 << 20, |kind| metrics.transform_log.dropped(kind));
    let observers = Observers::new(metrics.clone(), TEAM_LOG_RATE, Some(queue));
    let vault = Vault::with("line 1 ===");
    let mut bench = vault.observed(&secret_in(json!({"mode": "log-flood", "lines": 3}), &["tag"]), &observers);
    bench.offer(&["a"]).run();
    let taken = entries.take(1 << 20);
    let lines: Vec<String> = taken.iter().map(|(_, entry)| format!("{entry:?}")).collect();
    let has = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!([has("line 0 ==="), has("line 1"), has("[secret]==="), has("line 2 ===")], [1, 0, 1, 1], "{lines:?}");
}

#[test]
fn a_partition_waits_for_a_secret_that_its_host_lacks() {
    let vault = Vault::new();
    let mut bench = vault.bench(&secret_in(json!({"mode": "echo"}), &["tag"]));
    bench.offer(&["a", "b"]);
    bench.step();
    let status = bench.task.status(None);
    let error = status.error.expect("it says why");
    assert_eq!((status.state, error.code), (State::Failed, Code::SecretUnavailable));
    assert!(error.message.contains("file:s"), "{}", error.message);
    assert!(bench.session.sent.is_empty() && bench.task.is_waiting(bench.now.mono));
    vault.put("s", VALUE);
    bench.run();
    assert_eq!((bench.session.values(0), bench.session.sent[0].header("tag")), (vec!["a", "b"], VALUE));
    assert_eq!((bench.dead_letters().len(), bench.task.state()), (0, State::Running));
    // An instance that is there needs its secret no more.
    vault.remove("s");
    bench.offer(&["c"]).run();
    bench.task.renew_guest();
    bench.offer(&["d"]).run();
    assert_eq!(bench.session.values(0), ["a", "b", "c", "d"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_made_again_when_their_secret_changes() {
    let vault = Vault::with("first");
    let (_down, shutdown) = tokio::sync::watch::channel(false);
    tokio::spawn(follow_for_ever(vault.secrets.clone(), shutdown));
    let spec = secret_in(json!({"mode": "echo"}), &["tag"]);
    let factory = vault.modules.prepare(&spec, 1, fixture(), Tables::default(), None).expect("prepared");
    let [old, twin] = [(); 2].map(|()| factory.instantiate().expect("an instance"));
    let mut bench = vault.bench(&spec);
    bench.offer(&["a"]).run();
    vault.put("s", "second");
    let deadline = Instant::now() + PATIENCE;
    while !(old.is_outdated() && twin.is_outdated()) {
        assert!(Instant::now() < deadline, "the change is not seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let new = factory.instantiate().expect("an instance");
    assert!(!new.is_outdated());
    // A task changes its instance when it is told to, between two transactions.
    let mut tags = vec![];
    while tags.last().is_none_or(|tag| tag == "first") {
        assert!(Instant::now() < deadline, "the task has the old value");
        bench.task.renew_guest();
        bench.offer(&["b"]).run();
        tags.push(bench.session.sent.last().expect("sent").header("tag").to_owned());
    }
    assert_eq!((bench.session.sent[0].header("tag"), tags.pop().as_deref()), ("first", Some("second")));
    // Gone is not changed.
    vault.remove("s");
    let error = factory.instantiate().err();
    assert!(matches!(error, Some(GuestError::Secret(_))), "{error:?}");
    assert!(!new.is_outdated());
}
