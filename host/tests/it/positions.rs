//! Transforms begin on the embedded log: partitions get their first offsets or are left alone, and a record says so.

use std::sync::Arc;

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::names::{ClusterName, TopicName, TransformId};
use sandbar::model::spec::Start;
use sandbar::ports::{GroupOffset, Groups as _, Log, LogRecord, NewTopic};
use sandbar::positions::{Inputs, Positions, PositionsError};

const GROUP: &str = "sandbar.test.team.name";
const RECORDS: &str = "_sandbar.test.positions";

struct Bench {
    log: Arc<EmbeddedLog>,
    positions: Positions,
    id: TransformId,
    topic: TopicName,
    _dir: tempfile::TempDir,
}

fn cluster() -> ClusterName {
    "test".parse().expect("valid")
}

impl Bench {
    /// Two partitions, of five records and of none.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Arc::new(EmbeddedLog::open(Options::new(dir.path())).expect("opens"));
        let topic: TopicName = "in".parse().expect("valid");
        log.create_topic(&NewTopic { name: topic.clone(), partitions: 2, compacted: false, retention: None }).expect("made");
        let record = LogRecord { offset: 0, timestamp: 1, key: None, value: Some(b"x".to_vec()), headers: Vec::new() };
        log.append(&topic, Some(0), vec![record; 5]).expect("appended");
        let positions = Positions::open(log.clone(), &cluster()).expect("opens");
        Self { log, positions, id: "team/name".parse().expect("valid"), topic, _dir: dir }
    }

    fn begin(&self, start: &Start) -> Result<i32, PositionsError> {
        let inputs =
            Inputs { id: &self.id, group: GROUP, topics: std::slice::from_ref(&self.topic), changelogs: &[], start };
        self.positions.begin(inputs, &|| Ok(true)).map(|begun| begun[&self.topic].partitions)
    }

    fn commit(&self, partition: i32, next_offset: i64) {
        let offset = GroupOffset { topic: self.topic.clone(), partition, next_offset, metadata: "m".to_owned() };
        self.log.commit_for_group(GROUP, &[offset]).expect("nobody is a member");
    }

    /// Writes a start record of this transform, as another host may.
    fn write_record(&self, value: Option<&str>) {
        let record = LogRecord {
            offset: 0,
            timestamp: 1,
            key: Some(b"team/name".to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: Vec::new(),
        };
        self.log.append(&RECORDS.parse().expect("valid"), Some(0), vec![record]).expect("appended");
    }

    /// Checks the offsets of the group, by partition.
    #[track_caller]
    fn check(&self, expected: &[(i32, i64)]) {
        let committed = self.log.group_offsets(GROUP, std::slice::from_ref(&self.topic)).expect("reads");
        let committed: Vec<_> = committed.iter().map(|offset| (offset.partition, offset.next_offset)).collect();
        assert_eq!(committed, expected);
    }
}

#[test]
fn a_transform_begins_once() {
    let bench = Bench::new();
    assert_eq!(bench.begin(&Start::Latest).expect("begins"), 2);
    bench.check(&[(0, 5), (1, 0)]);
    bench.commit(0, 3);
    bench.begin(&Start::Latest).expect("there is nothing to do");
    bench.check(&[(0, 3), (1, 0)]);
    // Forgotten by the log: nobody gives them offsets, whatever `start` says, and whoever asks.
    bench.log.delete_group(GROUP).expect("nobody is a member");
    for start in [Start::Latest, Start::Earliest] {
        bench.begin(&start).expect("there is nothing to do");
        let other = Positions::open(bench.log.clone(), &cluster()).expect("opens");
        let inputs = Inputs {
            id: &bench.id,
            group: GROUP,
            topics: std::slice::from_ref(&bench.topic),
            changelogs: &[],
            start: &start,
        };
        other.begin(inputs, &|| panic!("nothing is to be begun")).expect("there is nothing to do");
        bench.check(&[]);
    }
    // Forgotten by request, it is new.
    bench.positions.forget(&bench.id).expect("forgets");
    bench.positions.forget(&bench.id).expect("there is nothing left");
    bench.begin(&Start::Earliest).expect("begins");
    bench.check(&[(0, 0), (1, 0)]);
}

#[test]
fn records_of_older_and_newer_hosts_are_respected() {
    let bench = Bench::new();
    // Version 0.1 remembered nothing.
    bench.commit(0, 2);
    bench.begin(&Start::Latest).expect("begins");
    bench.check(&[(0, 2), (1, 0)]);
    // The topic was recreated.
    bench.write_record(Some(r#"{"version":1,"inputs":{"in":{"id":"another","partitions":2}}}"#));
    bench.commit(1, 0);
    bench.begin(&Start::Latest).expect("begins");
    bench.check(&[(0, 0), (1, 0)]);
    // A partition came, and the one that was there has lost its offset.
    bench.log.delete_group(GROUP).expect("nobody is a member");
    let id = bench.log.topic(&bench.topic).expect("there").id.expect("it has one");
    bench.write_record(Some(&format!(r#"{{"version":1,"inputs":{{"in":{{"id":"{id}","partitions":1}}}}}}"#)));
    bench.begin(&Start::Latest).expect("begins");
    bench.check(&[(1, 0)]);
    // Not understood: nothing is begun, and nothing written over it.
    bench.write_record(Some(r#"{"version":7}"#));
    for refused in [bench.begin(&Start::Latest).map(drop), bench.positions.forget(&bench.id)] {
        assert!(matches!(refused, Err(PositionsError::Unreadable { .. })), "{refused:?}");
    }
    let records: TopicName = RECORDS.parse().expect("valid");
    let end = bench.log.offsets(&records, 0).expect("there").1;
    let last = bench.log.read(&records, 0, end - 1, std::time::Duration::ZERO, 1 << 20).expect("reads").records;
    assert_eq!(last[0].value.as_deref(), Some(br#"{"version":7}"#.as_slice()));
}

#[test]
fn an_unwanted_transform_does_not_begin() {
    let bench = Bench::new();
    let inputs = Inputs {
        id: &bench.id,
        group: GROUP,
        topics: std::slice::from_ref(&bench.topic),
        changelogs: &[],
        start: &Start::Latest,
    };
    let refused = bench.positions.begin(inputs, &|| Ok(false));
    assert!(matches!(refused, Err(PositionsError::Unwanted)), "{refused:?}");
    bench.check(&[]);
    assert_eq!(bench.positions.record(&bench.id).expect("readable"), None);
    let missing: TopicName = "missing".parse().expect("valid");
    let inputs = Inputs { topics: std::slice::from_ref(&missing), ..inputs };
    assert_eq!(bench.positions.begin(inputs, &|| Ok(true)).expect_err("there is none").code().as_str(), "E207");
}
