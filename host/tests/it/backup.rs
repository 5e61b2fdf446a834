//! Backups of a cluster's control topics on the embedded log, and their restore into another log, whose topics have other
//! ids and offsets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sandbar::backup::{BackupError, InputFate, Offsets, RestoreOptions, TransformFate, backup, restore};
use sandbar::catalog::{Catalog, Change, Precondition, Request};
use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::audit::Actor;
use sandbar::model::codes::Code;
use sandbar::model::names::{ClusterName, Digest, TopicName, TransformId};
use sandbar::model::revision::Progress;
use sandbar::model::spec::Start;
use sandbar::model::units::Timestamp;
use sandbar::ports::{GroupOffset, Groups as _, Log, LogRecord, NewTopic};
use sandbar::positions::{Inputs, Positions};
use sandbar::telemetry::metrics::Metrics;
use serde_json::json;

const CLUSTER: &str = "c";
const GROUP: &str = "sandbar.c.shop.sums";
const TOPICS: [(&str, i32); 5] = [("deployments", 1), ("positions", 1), ("modules", 2), ("tokens", 1), ("audit", 1)];
/// Records of the input.
const RECORDS: i64 = 10;

/// A log with a cluster, perhaps one without anything.
struct Bench {
    log: Arc<EmbeddedLog>,
    folder: tempfile::TempDir,
}

fn cluster() -> ClusterName {
    CLUSTER.parse().expect("valid")
}

fn control(name: &str) -> TopicName {
    format!("_sandbar.{CLUSTER}.{name}").parse().expect("valid")
}

fn id() -> TransformId {
    "shop/sums".parse().expect("valid")
}

fn record(key: &[u8], value: Option<&[u8]>) -> LogRecord {
    let headers = vec![("h\n".to_owned(), None), (String::new(), Some(vec![0xff]))];
    LogRecord { offset: 0, timestamp: 5, key: Some(key.to_vec()), value: value.map(<[u8]>::to_vec), headers }
}

/// A module of several chunks.
fn module(seed: u8) -> Vec<u8> {
    (0..1_300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect()
}

impl Bench {
    /// A log with the input of the transform, after `topics_before` other topics.
    fn new(topics_before: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Arc::new(EmbeddedLog::open(Options::new(folder.path().join("log"))).expect("opens"));
        let create = |name: String, partitions| {
            let name = name.parse().expect("valid");
            log.create_topic(&NewTopic { name, partitions, compacted: false, retention: None }).expect("made");
        };
        (0..topics_before).for_each(|number| create(format!("other-{number}"), 1));
        create("in".to_owned(), 2);
        for partition in 0..2 {
            let records = (0..RECORDS).map(|number| record(b"k", Some(number.to_string().as_bytes())));
            log.append(&"in".parse().expect("valid"), Some(partition), records.collect()).expect("appended");
        }
        Self { log, folder }
    }

    /// A cluster with a transform that has begun, two revisions, two modules, and records that no host wrote.
    fn with_cluster() -> Self {
        let bench = Self::new(0);
        let catalog = bench.catalog("modules");
        for seed in [1, 2] {
            let module = catalog.put_module(&module(seed)).expect("stored").digest;
            let spec = json!({"inputs": ["in"], "outputs": {"out": "out"}, "state": {"sums": {}}, "config": {"seed": seed}});
            let spec = Box::new(serde_json::from_value(spec).expect("a spec"));
            let request = Request {
                expected: Precondition::Any,
                change: Change::Put { spec, module },
                key: None,
                actor: Actor::anyone(),
                now: Timestamp::now(),
                committed: Progress::default(),
                growth: None,
                signature: None,
                assumes: None,
            };
            catalog.change(&id(), request).expect("accepted");
        }
        bench.create_tokens();
        let start = Start::Earliest;
        let input: TopicName = "in".parse().expect("valid");
        let topics = std::slice::from_ref(&input);
        Positions::open(bench.log.clone(), &cluster())
            .expect("opens")
            .begin(Inputs { id: &id(), group: GROUP, topics, changelogs: &[], start: &start }, &|| Ok(true))
            .expect("begins");
        bench.commit(&[(0, 7), (1, 3)], "");
        let all: Vec<u8> = (0..=255).collect();
        for (topic, partitions) in TOPICS {
            for partition in 0..partitions {
                let foreign = [
                    record(&all, Some(&all)),
                    record(b"{\"sha256\":\"", Some(b"\n{\"sha256\":\"\"}\n")),
                    record(b"shop/nobody", Some(b"{\"version\":9,\"chunks\":[[[[")),
                    record(b"shop/nobody", None),
                    record(b"", Some(b"")),
                ];
                bench.log.append(&control(topic), Some(partition), foreign.to_vec()).expect("appended");
            }
        }
        bench
    }

    fn create_tokens(&self) {
        let topic = NewTopic { name: control("tokens"), partitions: 1, compacted: true, retention: None };
        self.log.create_topic(&topic).expect("made");
    }

    fn catalog(&self, copies: &str) -> Catalog {
        Catalog::open(self.log.clone(), &cluster(), self.folder.path().join(copies), Metrics::new()).expect("opens")
    }

    fn commit(&self, offsets: &[(i32, i64)], metadata: &str) {
        let topic: TopicName = "in".parse().expect("valid");
        let offset = |&(partition, next_offset): &(i32, i64)| GroupOffset {
            topic: topic.clone(),
            partition,
            next_offset,
            metadata: metadata.to_owned(),
        };
        let offsets: Vec<GroupOffset> = offsets.iter().map(offset).collect();
        self.log.commit_for_group(GROUP, &offsets).expect("nobody is a member");
    }

    fn committed(&self) -> Vec<(i32, i64)> {
        let topic: TopicName = "in".parse().expect("valid");
        let offsets = self.log.group_offsets(GROUP, &[topic]).expect("reads");
        offsets.iter().map(|offset| (offset.partition, offset.next_offset)).collect()
    }

    /// The last record of each key of a partition, without offsets: the log may have dropped those before.
    fn records(&self, topic: &str, partition: i32) -> Vec<LogRecord> {
        let topic = control(topic);
        let (first, end) = self.log.offsets(&topic, partition).expect("there");
        let mut records = Vec::new();
        let mut position = first;
        while position < end {
            let page = self.log.read(&topic, partition, position, Duration::ZERO, 1 << 20).expect("reads");
            records.extend(page.records);
            position = page.next_offset;
        }
        let records: Vec<LogRecord> = records.into_iter().map(|record| LogRecord { offset: 0, ..record }).collect();
        let is_last = |(i, record): &(usize, &LogRecord)| !records[i + 1..].iter().any(|later| later.key == record.key);
        records.iter().enumerate().filter(is_last).map(|(_, record)| record.clone()).collect()
    }

    fn backup(&self) -> PathBuf {
        let path = self.folder.path().join("backup");
        backup(&*self.log, &cluster(), &path, true).expect("backs up");
        path
    }

    fn restore(&self, path: &Path, offsets: Offsets) -> Result<Vec<TransformFate>, BackupError> {
        let options = RestoreOptions { offsets, watch: Duration::ZERO, ..RestoreOptions::default() };
        let restored = restore(&*self.log, &cluster(), path, &options)?;
        let fates = restored.inputs.into_iter().map(|InputFate { transform, topic, fate }| {
            assert_eq!((transform.as_str(), topic.as_str()), ("shop/sums", "in"));
            fate
        });
        Ok(fates.collect())
    }

    #[track_caller]
    fn assert_refused(&self, path: &Path, offsets: Offsets, code: Code) {
        let before = self.committed();
        let error = self.restore(path, offsets).expect_err("refused");
        assert_eq!(error.code(), Some(code), "{error}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
        let topics = self.log.topics().expect("reads");
        assert!(!topics.iter().any(|(topic, _)| topic.as_str().starts_with("_sandbar.c.")), "{error}");
        assert_eq!(self.committed(), before, "{error}");
    }
}

#[test]
fn a_cluster_comes_back_record_by_record() {
    let source = Bench::with_cluster();
    let path = source.backup();
    let target = Bench::new(0);
    target.commit(&[(0, 7), (1, 3)], "");
    assert_eq!(target.restore(&path, Offsets::Strict).expect("restores"), [TransformFate::GoesOn]);
    for (topic, partitions) in TOPICS {
        for partition in 0..partitions {
            let before = source.records(topic, partition);
            let after = target.records(topic, partition);
            assert_eq!(before.len(), after.len(), "{topic}/{partition}");
            for (before, after) in before.into_iter().zip(after) {
                // Places of chunks are about a log.
                let is_manifest = (topic, partition) == ("modules", 0)
                    && after.key.as_ref().is_some_and(|key| key.starts_with(b"sha256:"));
                let value = if is_manifest { after.value.clone() } else { before.value.clone() };
                assert_eq!(LogRecord { value, ..before }, after, "{topic}/{partition}");
            }
        }
    }
    let catalog = target.catalog("no-copies");
    let revisions: Vec<u64> = catalog.current().revisions(&id()).iter().map(|revision| revision.revision).collect();
    assert_eq!(revisions, [2, 1]);
    for seed in [1, 2] {
        let module = module(seed);
        assert_eq!(catalog.module(&Digest::of(&module)).expect("reads"), Some(module), "module {seed}");
    }
    assert_eq!(target.committed(), [(0, 7), (1, 3)]);
    // Restored again, the same file is refused.
    let again = target.restore(&path, Offsets::Strict).expect_err("there are records");
    assert_eq!(again.code(), Some(Code::RestoreNotEmpty), "{again}");
}

#[test]
fn an_input_that_is_another_topic_begins_nowhere_by_itself() {
    let path_of = |bench: &Bench| bench.backup();
    let source = Bench::with_cluster();
    let path = path_of(&source);
    // Without offsets it waits, and a host begins nothing.
    let target = Bench::new(3);
    assert_eq!(target.restore(&path, Offsets::Strict).expect("restores"), [TransformFate::Waits]);
    let positions = Positions::open(target.log.clone(), &cluster()).expect("opens");
    let input: TopicName = "in".parse().expect("valid");
    let topics = std::slice::from_ref(&input);
    let begin = |start: &Start| {
        let inputs = Inputs { id: &id(), group: GROUP, topics, changelogs: &[], start };
        positions.begin(inputs, &|| Ok(true)).expect("there is nothing to begin")
    };
    for start in [Start::Earliest, Start::Latest] {
        begin(&start);
        assert_eq!(target.committed(), []);
    }
    // Offsets that it has are refused, unless somebody says that they are this topic's.
    let target = Bench::new(3);
    target.commit(&[(0, 5)], "");
    target.assert_refused(&path, Offsets::Strict, Code::RestoreOffsets);
    target.assert_refused(&path, Offsets::Backup, Code::RestoreOffsets);
    assert_eq!(target.restore(&path, Offsets::Group).expect("restores"), [TransformFate::Partly]);
    assert_eq!(target.committed(), [(0, 5)]);
    let target = Bench::new(3);
    target.commit(&[(0, 5), (1, 0)], "");
    assert_eq!(target.restore(&path, Offsets::Group).expect("restores"), [TransformFate::GoesOn]);
}

#[test]
fn a_transform_with_offsets_and_no_start_record_has_begun() {
    let source = Bench::with_cluster();
    source.log.append(&control("positions"), Some(0), vec![record(b"shop/sums", None)]).expect("appended");
    let path = source.backup();
    let input: TopicName = "in".parse().expect("valid");
    let topics = std::slice::from_ref(&input);
    let begin = |target: &Bench| {
        let positions = Positions::open(target.log.clone(), &cluster()).expect("opens");
        let inputs = Inputs { id: &id(), group: GROUP, topics, changelogs: &[], start: &Start::Earliest };
        positions.begin(inputs, &|| Ok(true)).expect("there is nothing to begin")
    };
    let elsewhere = Bench::new(3);
    assert_eq!(elsewhere.restore(&path, Offsets::Strict).expect("restores"), [TransformFate::Waits]);
    begin(&elsewhere);
    assert_eq!(elsewhere.committed(), []);
    let elsewhere = Bench::new(3);
    elsewhere.commit(&[(0, 5)], "");
    elsewhere.assert_refused(&path, Offsets::Strict, Code::RestoreOffsets);
    let same = Bench::new(0);
    assert_eq!(same.restore(&path, Offsets::Strict).expect("restores"), [TransformFate::Waits]);
    begin(&same);
    assert_eq!(same.committed(), []);
}

#[test]
fn a_start_record_that_nobody_can_read_is_told_and_stays() {
    let source = Bench::with_cluster();
    let newer = record(b"shop/sums", Some(br#"{"version":9}"#));
    source.log.append(&control("positions"), Some(0), vec![newer.clone()]).expect("appended");
    let path = source.backup();
    let same = Bench::new(0);
    assert_eq!(same.restore(&path, Offsets::Strict).expect("restores"), [TransformFate::Unreadable]);
    assert_eq!(same.records("positions", 0).last(), Some(&newer));
    // With other topics its ids would be wrong, and nobody can correct them.
    Bench::new(3).assert_refused(&path, Offsets::Strict, Code::BackupUnfit);
    let target = Bench::new(3);
    target.commit(&[(0, 5)], "");
    target.assert_refused(&path, Offsets::Strict, Code::RestoreOffsets);
}

#[test]
fn offsets_of_the_backup_are_checked_before_they_are_taken_over() {
    let source = Bench::with_cluster();
    let path = source.backup();
    let target = Bench::new(3);
    assert_eq!(target.restore(&path, Offsets::Backup).expect("restores"), [TransformFate::TakesOver]);
    assert_eq!(target.committed(), [(0, 7), (1, 3)]);
    // The topic does not hold them.
    source.commit(&[(0, 100)], "");
    Bench::new(3).assert_refused(&source.backup(), Offsets::Backup, Code::RestoreOffsets);
    // The store's changelog is not there, so it was not copied.
    source.commit(&[(0, 7)], r#"{"revision":2,"since":1,"changelogs":{"sums":4}}"#);
    Bench::new(3).assert_refused(&source.backup(), Offsets::Backup, Code::RestoreOffsets);
    // Nobody can tell how far the changelog reached.
    for unreadable in ["by hand", r#"{"version":2}"#] {
        source.commit(&[(0, 7)], unreadable);
        Bench::new(3).assert_refused(&source.backup(), Offsets::Backup, Code::RestoreOffsets);
    }
    // The changelog of a state that was given up since is not asked for.
    source.commit(&[(0, 7)], r#"{"revision":2,"since":1,"changelogs":{"sums":4},"resets":1}"#);
    let target = Bench::new(3);
    assert_eq!(target.restore(&source.backup(), Offsets::Backup).expect("restores"), [TransformFate::TakesOver]);
}

#[test]
fn a_changelog_is_another_topic_unless_offsets_are_taken_over() {
    let source = Bench::with_cluster();
    let changelog: TopicName = "_sandbar.c.state.shop.sums.sums".parse().expect("valid");
    let input: TopicName = "in".parse().expect("valid");
    let create = |bench: &Bench| {
        let topic = NewTopic { name: changelog.clone(), partitions: 2, compacted: true, retention: None };
        bench.log.create_topic(&topic).expect("made");
    };
    let begin = |bench: &Bench| {
        let positions = Positions::open(bench.log.clone(), &cluster()).expect("opens");
        let topics = std::slice::from_ref(&input);
        let changelogs = std::slice::from_ref(&changelog);
        let inputs = Inputs { id: &id(), group: GROUP, topics, changelogs, start: &Start::Earliest };
        positions.begin(inputs, &|| Ok(true)).map_err(|error| error.code())
    };
    create(&source);
    begin(&source).expect("begins");
    let path = source.backup();
    // Another Kafka, or this one with a group that has offsets: nobody has looked at the changelog.
    let cases = [(30, true, Offsets::Group), (30, false, Offsets::Strict), (0, true, Offsets::Backup)];
    for (topics_before, has_offsets, offsets) in cases {
        let target = Bench::new(topics_before);
        create(&target);
        if has_offsets {
            target.commit(&[(0, 7), (1, 3)], "");
        }
        target.restore(&path, offsets).expect("restores");
        assert_eq!(begin(&target).err(), Some(Code::StateLost), "{offsets:?}");
    }
    let target = Bench::new(30);
    create(&target);
    assert_eq!(target.restore(&path, Offsets::Backup).expect("restores"), [TransformFate::TakesOver]);
    begin(&target).expect("it was looked at");
}

#[test]
fn a_file_that_is_not_whole_changes_nothing() {
    let source = Bench::with_cluster();
    let whole = std::fs::read(source.backup()).expect("there");
    let path = source.folder.path().join("other");
    let target = Bench::new(0);
    let check = |bytes: &[u8], code: Code| {
        std::fs::write(&path, bytes).expect("written");
        target.assert_refused(&path, Offsets::Strict, code);
    };
    check(b"", Code::BackupDamaged);
    check(&whole[..whole.len() / 2], Code::BackupDamaged);
    check(&whole[..whole.len() - 1], Code::BackupDamaged);
    for place in [whole.len() / 3, whole.len() / 2, whole.len() - 80] {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        check(&flipped, Code::BackupDamaged);
    }
    let text = String::from_utf8(whole).expect("text");
    check(text.replacen(r#""version":1}"#, r#""version":2}"#, 1).as_bytes(), Code::BackupUnfit);
    let other: ClusterName = "other".parse().expect("valid");
    let path = source.backup();
    let error = restore(&*target.log, &other, &path, &RestoreOptions::default()).expect_err("another cluster's");
    assert_eq!(error.code(), Some(Code::BackupUnfit), "{error}");
}

#[test]
fn a_cluster_with_a_host_or_a_record_is_refused() {
    let source = Bench::with_cluster();
    let path = source.backup();
    for (topic, partitions) in TOPICS {
        let target = Bench::new(0);
        let wanted = NewTopic { name: control(topic), partitions, compacted: topic != "audit", retention: None };
        target.log.create_topic(&wanted).expect("made");
        target.log.append(&control(topic), Some(partitions - 1), vec![record(b"k", None)]).expect("appended");
        let error = target.restore(&path, Offsets::Strict).expect_err("there is a record");
        assert!(error.code() == Some(Code::RestoreNotEmpty) && error.to_string().contains(topic), "{error}");
        assert_eq!(target.records(topic, partitions - 1).len(), 1);
    }
    // A farewell and a transform's status are no host.
    let target = Bench::new(0);
    let status = NewTopic { name: control("status"), partitions: 1, compacted: true, retention: None };
    target.log.create_topic(&status).expect("made");
    let beats = |records: Vec<LogRecord>| {
        let log = target.log.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            log.append(&control("status"), Some(0), records).expect("appended");
        })
    };
    let options = RestoreOptions { watch: Duration::from_secs(60), dry_run: true, ..RestoreOptions::default() };
    let beating =
        beats(vec![record(b"gone", None), record(b"shop/sums@gone", Some(b"{}")), record(b"a-host\n", Some(b"{}"))]);
    let error = restore(&*target.log, &cluster(), &path, &options).expect_err("a host is there");
    beating.join().expect("appended");
    assert!(error.code() == Some(Code::RestoreInUse) && error.to_string().contains("host a-host\\n "), "{error}");
    let options = RestoreOptions { watch: Duration::from_secs(1), ..options };
    let leaving = beats(vec![record(b"gone", None), record(b"shop/sums@gone", Some(b"{}"))]);
    assert!(restore(&*target.log, &cluster(), &path, &options).expect("nobody is there").dry_run);
    leaving.join().expect("appended");
    assert!(matches!(target.log.topic(&control("deployments")), Err(sandbar::ports::LogError::NoTopic(_))));
}

#[test]
fn a_backup_is_private_and_replaces_nothing_unasked() {
    use std::os::unix::fs::PermissionsExt;
    let source = Bench::with_cluster();
    let path = source.backup();
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&path).expect("there");
    let error = backup(&*source.log, &cluster(), &path, false).expect_err("it is there");
    assert!(matches!(error, BackupError::Exists(_)), "{error}");
    assert_eq!(std::fs::read(&path).expect("there"), before);
    // A cluster that has lost a topic has no backup: it would pass for one that had nothing.
    let error = backup(&*Bench::new(0).log, &cluster(), &path, true).expect_err("there is no cluster");
    assert_eq!(error.code(), Some(Code::ControlTopic), "{error}");
    assert_eq!(std::fs::read(&path).expect("there"), before);
    let left: Vec<_> =
        std::fs::read_dir(source.folder.path()).expect("there").map(|it| it.expect("there").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".sandbar-backup-")), "{left:?}");
}
