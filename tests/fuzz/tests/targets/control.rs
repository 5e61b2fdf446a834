//! Content of topics and files that anybody may write: control records, offsets' metadata, blocks of the embedded log.

use sandbar::catalog::{Deployments, Fold};
use sandbar::fuzzing::block::{Builder, Entry, Records, head};
use sandbar::fuzzing::{ClusterStatus, Manifests, StartEntry, StartRecords, chunk_number, encode_start};
use sandbar::model::names::Digest;
use sandbar::model::revision::Progress;
use sandbar::model::units::Timestamp;
use sandbar::ports::LogRecord;
use sandbar_fuzz::{Entropy, mutate};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const WORDS: [&[u8]; 10] = [
    b"18446744073709551615",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"null",
    b"[]",
    b"{}",
    b"\"\"",
    b"@",
    b"tail:",
    b"/",
];

const DEPLOYMENTS: [(&str, &str); 3] = [
    (
        "shop/a",
        r#"{"id":"shop/a","revision":7,"module":"DIGEST","spec":{"inputs":["a"],"outputs":{"o":"b"}},"desired":"running",
        "asked":{"restarts":1,"resumes":2,"resets":3},"changed_at":5,"changes":9,
        "requests":[{"key":"k","request":"DIGEST","revision":7,"outcome":"created"}]}"#,
    ),
    (
        "shop/a@7",
        r#"{"id":"shop/a","revision":7,"module":"DIGEST","spec":{"inputs":["a"]},"changed_at":5,"cause":"rollback",
        "rolled_back_to":3}"#,
    ),
    (
        "shop/a@18446744073709551615",
        r#"{"id":"shop/a","revision":18446744073709551615,"module":"DIGEST","spec":{},"changed_at":-1,"cause":"deploy"}"#,
    ),
];
const MANIFESTS: [(&str, &str); 1] = [("DIGEST", r#"{"bytes":1,"chunks":4294967295,"chunks_from":-5,"upload":"u1"}"#)];
const STATUSES: [(&str, &str); 3] = [
    ("a", r#"{"host":"a","version":"1","started_at":5,"seen_at":6,"transforms":1,"partitions":2}"#),
    (
        "shop/a@a",
        r#"{"host":"a","revision":1,"state":"running","changed_at":3,"partitions":[{"topic":"shop.in","partition":0,
        "committed_offset":3,"end_offset":9,"lag":6,"state":"running","revision":1,"revision_since":0}]}"#,
    ),
    ("tail:shop/a@a", "{}"),
];

const POSITIONS: [(&str, &str); 2] = [
    ("shop/a", r#"{"version":1,"inputs":{"shop.in":{"id":"DIGEST","partitions":4}}}"#),
    ("shop/b", r#"{"version":2,"inputs":{},"more":[]}"#),
];

/// Up to eight records near those that belong there; also tombstones, and times of any kind.
fn records(entropy: &mut Entropy<'_>, seeds: &[(&str, &str)]) -> Vec<LogRecord> {
    let record = |entropy: &mut Entropy<'_>, offset: usize| {
        let (key, value) = entropy.pick(seeds);
        let text = |text: &str| text.replace("DIGEST", DIGEST).into_bytes();
        let mut key = text(key);
        let mut value = text(value);
        if entropy.once_in(4) {
            mutate(&mut key, &WORDS, entropy);
        }
        if !entropy.once_in(3) {
            mutate(&mut value, &WORDS, entropy);
        }
        let timestamp = if entropy.once_in(2) { entropy.i64() } else { 1_700_000_000_000 };
        LogRecord {
            offset: offset as i64,
            timestamp,
            key: (!entropy.once_in(20)).then_some(key),
            value: (!entropy.once_in(6)).then_some(value),
            headers: Vec::new(),
        }
    };
    (0..1 + entropy.below(8)).map(|offset| record(entropy, offset)).collect()
}

/// Folds records, whatever they are, and shows the outcome.
fn fold<F: Fold>(mut fold: F, records: &[LogRecord]) -> F::Snapshot {
    for record in records {
        // A reason is shown with the record's place.
        let _ = fold.apply(record);
    }
    fold.loaded();
    fold.snapshot()
}

#[test]
fn control_deployments() {
    sandbar_fuzz::run("control_deployments", |entropy| {
        let view = fold(Deployments::default(), &records(entropy, &DEPLOYMENTS));
        for (id, deployment) in view.iter() {
            let _ = deployment.spec();
            for revision in view.revisions(id) {
                assert_eq!(view.revision(id, revision.revision).as_ref(), Some(&revision));
            }
        }
    });
}

#[test]
fn control_manifests() {
    sandbar_fuzz::run("control_manifests", |entropy| {
        let records = records(entropy, &MANIFESTS);
        let view = fold(Manifests::default(), &records);
        for (digest, module) in &view.stored {
            records.iter().for_each(|record| {
                let _ = chunk_number(digest, &module.manifest.upload, record);
            });
        }
    });
}

#[test]
fn control_statuses() {
    sandbar_fuzz::run("control_statuses", |entropy| {
        let view = fold(ClusterStatus::default(), &records(entropy, &STATUSES));
        let now = std::time::Instant::now();
        view.hosts.values().for_each(|heard| assert!(heard.is_alive(now) || !heard.is_alive(now)));
    });
}

/// A start record that is understood is written as it was read.
#[test]
fn control_positions() {
    sandbar_fuzz::run("control_positions", |entropy| {
        let view = fold(StartRecords::default(), &records(entropy, &POSITIONS));
        for (id, entry) in view.iter() {
            let StartEntry::Readable(record) = entry else { continue };
            let again = fold(StartRecords::default(), &[encode_start(id, record, Timestamp(1))]);
            assert_eq!(again.get(id), Some(entry));
        }
    });
}

/// A record that no host wrote is skipped; one that a host wrote is read as it was written.
#[test]
fn control_progress() {
    sandbar_fuzz::run("control_progress", |entropy| {
        let mut metadata = br#"{"revision":3,"since":40,"changelogs":{"levels":7},"resets":1}"#.to_vec();
        mutate(&mut metadata, &WORDS, entropy);
        let metadata = String::from_utf8_lossy(&metadata);
        if let Ok(progress) = Progress::parse(&metadata, 7) {
            assert_eq!(Progress::parse(&progress.to_string(), 7), Ok(progress), "{metadata}");
        }
        Progress::newest([metadata.as_ref(), ""].into_iter());
    });
}

/// A block reads back; a damaged one ends, and never panics.
#[test]
fn embedded_blocks() {
    sandbar_fuzz::run("embedded_blocks", |entropy| {
        let mut builder = Builder::default();
        let names = [entropy.text(6), entropy.text(6)];
        let mut delta = 0;
        let mut count = 0;
        for _ in 0..1 + entropy.below(4) {
            let headers: Vec<_> = names.iter().take(entropy.below(3)).map(|name| (name.as_str(), None)).collect();
            let key = (!entropy.once_in(3)).then(|| entropy.bytes(9));
            let entry = Entry { timestamp: entropy.i64(), key, value: Some(entropy.bytes(30)), headers: &headers };
            builder.push(delta, &entry);
            delta += 1 + entropy.below(3) as u32;
            count += 1;
        }
        let mut block = builder.seal(entropy.i64());
        assert_eq!(read_all(&block), count);
        mutate(&mut block, &[], entropy);
        let _ = head(&block);
        read_all(&block);
        Digest::of(&block);
    });
}

fn read_all(block: &[u8]) -> usize {
    let mut records = Records::new(block, 0);
    let mut headers = Vec::new();
    let mut count = 0;
    while let Ok(Some(_)) = records.next(&mut headers) {
        count += 1;
        assert!(count <= block.len(), "it does not end");
    }
    count
}
