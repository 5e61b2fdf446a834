//! Stores on disk: what survives a restart, and the answers to broken files.

use super::layout::{LAYOUT_KEY, MARK_KEY, TOPIC_ID_KEY, data_key, encode_mark};
use super::*;
use crate::state::local::{Change, Entry, Mark};
use crate::telemetry::metrics::Metrics;
use std::fs;
use std::time::{Duration, Instant};

fn disk_in(folder: &Path) -> Arc<Disk> {
    disk_with(folder, u64::MAX)
}

fn disk_with(folder: &Path, buffers_bytes_max: u64) -> Arc<Disk> {
    Arc::new(Disk::new(folder, 1 << 20, Buffers::new(buffers_bytes_max, Metrics::new().state)))
}

fn entry(value: &[u8]) -> Entry {
    Entry { written_at: Timestamp(5), value: value.to_vec() }
}

#[test]
fn what_was_applied_is_there_after_it_is_opened_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mark = Mark { position: 7, bytes: 3, entries: 2, at: 9 };
    {
        let disk = disk_in(dir.path());
        let mut store = disk.open("topic", 3).expect("opens");
        assert_eq!(store.mark(), Ok(None));
        let changes =
            [(b"".to_vec(), Some(entry(b""))), (b"a".to_vec(), Some(entry(b"1"))), (b"b".to_vec(), Some(entry(b"2")))];
        store.apply(changes.into(), &mark).expect("writes");
        store.apply(vec![(b"b".to_vec(), None)], &mark).expect("writes");
    }
    let disk = disk_in(dir.path());
    let mut store = disk.open("topic", 3).expect("opens");
    assert_eq!((store.mark(), store.get(b"a"), store.get(b"b")), (Ok(Some(mark)), Ok(Some(entry(b"1"))), Ok(None)));
    let mut seen = Vec::new();
    store
        .scan(b"", None, &mut |key, _| {
            seen.push(key.to_vec());
            true
        })
        .expect("reads");
    assert_eq!(seen, [b"".to_vec(), b"a".to_vec()]);
    assert_eq!(disk.open("topic", 4).expect("opens").get(b"a"), Ok(None), "partitions keep apart");
    store.wipe().expect("wipes");
    assert_eq!((store.mark(), store.get(b"a")), (Ok(None), Ok(None)));
}

#[test]
fn a_buffered_store_takes_up_disk_as_if_it_was_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = disk_in(dir.path());
    let mut store = disk.open("topic", 3).expect("opens");
    let bytes = |disk: &Arc<Disk>| disk.copies().expect("readable")[0].bytes;
    for expected in [1 << 20, 5 << 20] {
        let mark = Mark { bytes: expected, ..Mark::default() };
        store.apply(vec![(b"a".to_vec(), Some(entry(b"1")))], &mark).expect("writes");
        assert_eq!((bytes(&disk), store.target.entries.disk_space()), (expected, 0));
    }
    drop(store);
    assert_eq!(bytes(&disk), 5 << 20);
}

#[test]
fn a_database_that_cannot_be_opened_is_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().join("state");
    fs::create_dir_all(folder.join("0")).expect("made");
    for name in ["version", "0.jnl", "lock"] {
        fs::write(folder.join("0").join(name), b"garbage").expect("written");
    }
    let disk = disk_in(&folder);
    assert_eq!(disk.open("topic", 0).expect("opens").mark(), Ok(None));
    assert_eq!(disk.numbers(), [1], "the broken one takes up no room");
}

#[test]
fn a_database_that_another_process_has_open_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mark = Mark { position: 7, ..Mark::default() };
    let first = disk_in(dir.path());
    let mut store = first.open("topic", 3).expect("opens");
    store.apply(vec![(b"a".to_vec(), Some(entry(b"1")))], &mark).expect("writes");
    let second = disk_in(dir.path());
    assert!(second.open("topic", 3).is_err());
    assert_eq!((first.numbers(), second.numbers()), (vec![0], vec![0]));
    drop(store);
    drop(first);
    let store = second.open("topic", 3).expect("opens");
    assert_eq!((store.mark(), store.get(b"a")), (Ok(Some(mark)), Ok(Some(entry(b"1")))));
}

#[test]
fn copies_that_nobody_uses_are_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = || disk_in(dir.path());
    let no_claim = |_: &str, _| Some(());
    assert_eq!((disk().sweep(no_claim, |_| true), dir.path().join("0").exists()), (Ok(0), false), "nothing is made for it");
    let fill = |disk: &Arc<Disk>, topic: &str, partition, at| {
        let mut store = disk.open(topic, partition).expect("opens");
        let mark = Mark { at, position: 1, ..Mark::default() };
        store.apply(vec![(b"a".to_vec(), Some(entry(b"1")))], &mark).expect("writes");
    };
    let first = disk();
    for (topic, partition, at) in [("a.b", 0, 1), ("a.b", 1, 9), ("a", 10, 1)] {
        fill(&first, topic, partition, at);
    }
    let _never_written = first.open("c", 0).expect("opens").mark();
    let in_use = |topic: &str, partition| (topic != "a" || partition != 10).then_some(());
    assert_eq!(first.sweep(in_use, |used_at| used_at.0 < 5), Ok(2), "the old one, and the empty one");
    let left = |disk: &Arc<Disk>| {
        let mut names = disk.database().expect("opens").database.list_keyspace_names();
        names.sort();
        names.iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(left(&first), ["a.10", "a.b.1"]);
    fill(&first, "a.b", 0, 7);
    drop(first);
    let again = disk();
    assert_eq!(left(&again), ["a.10", "a.b.0", "a.b.1"]);
    let back = again.open("a.b", 0).expect("opens");
    assert_eq!((back.get(b"a"), back.mark().map(|mark| mark.map(|mark| mark.at))), (Ok(Some(entry(b"1"))), Ok(Some(7))));
}

/// An idle store changes nothing, so its mark is as old as its last change.
#[test]
fn a_copy_that_was_open_until_now_is_in_use() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = disk_in(dir.path());
    let now = crate::steady_clock::now();
    let hour_ms = 60 * 60 * 1000;
    // The age of the mark, whether a worker had the store, and whether its copy counts as used just now.
    for (partition, age_ms, is_restored, expected) in
        [(0, 30 * hour_ms, true, true), (1, 30 * hour_ms, false, false), (2, hour_ms / 2, true, false)]
    {
        let mut store = disk.open("topic", partition).expect("opens");
        let mark = Mark { at: now.0 - age_ms, position: 1, ..Mark::default() };
        store.apply(vec![(b"a".to_vec(), Some(entry(b"1")))], &mark).expect("writes");
        drop(store);
        let mut store = disk.open("topic", partition).expect("opens");
        if is_restored {
            store.restored();
        }
        drop(store);
        let store = disk.open("topic", partition).expect("opens");
        assert_eq!(store.mark(), Ok(Some(mark.clone())), "{partition}: the mark is as old as it was");
        let used_at = store.used_at().expect("readable").expect("it was used");
        assert_eq!(used_at >= now, expected, "{partition}");
        assert!(used_at >= Timestamp(mark.at), "{partition}");
    }
    let is_old = |at: Timestamp| now.millis_since(at) > 20 * hour_ms as u64;
    assert_eq!(disk.sweep(|_: &str, _| Some(()), is_old), Ok(1), "the one that nobody had open");
}

/// A position in the changelog says nothing about another topic of that name.
#[test]
fn a_copy_of_another_topic_of_the_name_is_told_by_the_id() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = disk_in(dir.path());
    let mark = Mark { position: 7, ..Mark::default() };
    let of =
        |partition: i32, id: Option<&str>| disk.open("topic", partition).expect("opens").of_topic(id.map(str::to_owned));
    // The size of the value decides if it is written as a batch or as a table.
    for (partition, value_bytes) in [(0, 1), (1, 2 << 20)] {
        let write = |id: Option<&str>, is_wiped: bool| {
            let mut store = of(partition, id);
            if is_wiped {
                store.wipe().expect("wipes");
            }
            store.apply(vec![(b"a".to_vec(), Some(entry(&vec![1u8; value_bytes])))], &mark).expect("writes");
        };
        let is_taken = |id: Option<&str>| of(partition, id).mark().is_ok_and(|found| found == Some(mark.clone()));
        assert_eq!(of(partition, Some("one")).mark(), Ok(None), "{partition}: it is new");
        write(Some("one"), false);
        assert_eq!([Some("one"), Some("two"), None].map(is_taken), [true, false, true], "{partition}");
        write(Some("two"), true);
        assert_eq!([Some("one"), Some("two"), None].map(is_taken), [false, true, true], "{partition}");
        // A log that does not tell the id for once: it stays.
        write(None, false);
        assert_eq!([Some("one"), Some("two"), None].map(is_taken), [false, true, true], "{partition}");
        // As an older host has it: its name has to do, until it is written.
        of(partition, None).target.entries.remove(TOPIC_ID_KEY).expect("removed");
        assert_eq!([Some("one"), Some("two"), None].map(is_taken), [true; 3], "{partition}");
        write(Some("two"), false);
        assert_eq!([Some("one"), Some("two"), None].map(is_taken), [false, true, true], "{partition}");
    }
}

const BATCHES: i64 = 200;
const KEYS_PER_BATCH: i64 = 100;
const KEYS: i64 = 2000;

type Plain = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

#[track_caller]
fn check_all(store: &mut DiskStore, plain: &Plain) {
    let mut seen = Plain::new();
    let mut on_entry = |key: &[u8], entry: Entry| seen.insert(key.to_vec(), entry.value).is_none();
    store.scan(b"", None, &mut on_entry).expect("reads");
    assert!(&seen == plain, "{} entries in place of {}", seen.len(), plain.len());
}

/// Random changes, reads, restarts and kills against a plain map: a kill leaves the store as it was after one of its
/// transactions.
#[test]
fn it_is_a_map_whose_past_survives_a_kill() {
    const KEYS: u64 = 500;
    for seed in 0..4u64 {
        println!("seed {seed}");
        let mut state = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk_with(dir.path(), if seed % 2 == 0 { 0 } else { u64::MAX });
        let mut store = disk.open("topic", 0).expect("opens");
        // By the position of the mark.
        let mut history = vec![Plain::new()];
        for _ in 0..40 {
            let position = history.len() as i64 - 1;
            let now = history.last().expect("never empty").clone();
            match random(12) {
                0 => {
                    store.wipe().expect("wipes");
                    assert_eq!(store.mark(), Ok(None));
                    history = vec![Plain::new()];
                }
                1 => {
                    drop(store);
                    store = disk.open("topic", 0).expect("opens");
                    assert_eq!(store.mark().expect("whole").map_or(0, |mark| mark.position), position);
                }
                2 => {
                    store.wait_for_writing(Duration::ZERO).expect("writes");
                    let killed = tempfile::tempdir().expect("a directory");
                    copy(dir.path(), killed.path());
                    let mut copied = disk_in(killed.path()).open("topic", 0).expect("opens");
                    let position = copied.mark().expect("whole").map_or(0, |mark| mark.position);
                    check_all(&mut copied, &history[usize::try_from(position).expect("one of its own")]);
                }
                3 if seed < 2 => check_all(&mut store, &now),
                _ => {
                    let mut next = now.clone();
                    let mut changes = std::collections::BTreeMap::new();
                    for _ in 0..random(400) {
                        let key = format!("{:x}", random(KEYS)).into_bytes();
                        let value = (random(4) > 0).then(|| vec![random(256) as u8; random(6000) as usize]);
                        match &value {
                            Some(value) => drop(next.insert(key.clone(), value.clone())),
                            None => drop(next.remove(&key)),
                        }
                        changes.insert(key, value.map(|value| entry(&value)));
                    }
                    let mark = Mark { position: position + 1, ..Mark::default() };
                    store.apply(changes.into_iter().collect(), &mark).expect("writes");
                    history.push(next);
                }
            }
            let now = history.last().expect("never empty");
            for _ in 0..20 {
                let key = format!("{:x}", random(KEYS)).into_bytes();
                let found = store.get(&key).expect("reads").map(|entry| entry.value);
                assert!(found.as_ref() == now.get(&key), "{}", String::from_utf8_lossy(&key));
            }
        }
        check_all(&mut store, history.last().expect("never empty"));
    }
}

/// The last batch before `batches` that wrote this key.
fn last_batch(key: i64, batches: i64) -> Option<i64> {
    (0..batches).rev().find(|batch| (batch * KEYS_PER_BATCH..(batch + 1) * KEYS_PER_BATCH).any(|at| at % KEYS == key))
}

/// More than is kept in memory, in many batches; entries say of which they are.
fn fill(store: &mut DiskStore) {
    for batch in 0..BATCHES {
        let written = (batch * KEYS_PER_BATCH..(batch + 1) * KEYS_PER_BATCH).map(|at| at % KEYS);
        let value = [batch.to_le_bytes().to_vec(), vec![batch as u8; 1200]].concat();
        let changes: Vec<Change> = written.map(|key| (key.to_le_bytes().to_vec(), Some(entry(&value)))).collect();
        store.apply(changes, &Mark { position: batch + 1, ..Mark::default() }).expect("writes");
    }
}

/// The mark's promise: everything before it is there. (What is newer does no harm: it comes again.)
fn check(store: &mut DiskStore) -> Result<(), LocalError> {
    let batches = store.mark()?.map_or(0, |mark| mark.position);
    let batch_of = |entry: Entry| i64::from_le_bytes(entry.value[..8].try_into().expect("8 bytes"));
    for key in 0..KEYS {
        let found = store.get(&key.to_le_bytes())?.map(batch_of);
        assert!(found >= last_batch(key, batches), "key {key} is of batch {found:?}, and the mark says {batches}");
    }
    let mut count = 0;
    store.scan(b"", None, &mut |_, _| {
        count += 1;
        true
    })?;
    assert!(batches < KEYS / KEYS_PER_BATCH || count == KEYS, "{count} entries, and the mark says {batches}");
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below it"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        fs::copy(&file, &target).expect("copied");
    }
}

/// A bit flips, a part is overwritten, or an end is cut off: a store says that it is broken, or its answers are right; and
/// it can be wiped.
#[test]
fn broken_files_are_found_out() {
    let mut seed: u64 = std::env::var("SANDBAR_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("SANDBAR_SEED={seed}");
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    // One table, and many batches of which some are in a journal.
    let whole = [u64::MAX, 0].map(|buffers_bytes_max| {
        let folder = tempfile::tempdir().expect("a directory");
        fill(&mut disk_with(folder.path(), buffers_bytes_max).open("topic", 0).expect("opens"));
        folder
    });
    let mut intact = 0;
    let mut older = 0;
    let mut wiped = 0;
    for round in 0..8 {
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole[round / 2 % 2].path(), dir.path());
        let files: Vec<PathBuf> =
            files(dir.path()).into_iter().filter(|file| fs::metadata(file).expect("there").len() > 0).collect();
        let all = round % 4 == 0;
        let one = random(files.len());
        for file in files.iter().enumerate().filter(|(at, _)| all || *at == one).map(|(_, file)| file) {
            let mut bytes = fs::read(file).expect("read");
            match random(4) {
                0 => bytes.truncate(random(bytes.len())),
                1 => {
                    let from = random(bytes.len());
                    let length = random(4096);
                    bytes.iter_mut().skip(from).take(length).for_each(|byte| *byte = 0);
                }
                _ => (0..1 + random(20)).for_each(|_| {
                    let at = random(bytes.len());
                    bytes[at] ^= 1 << random(8);
                }),
            }
            fs::write(file, bytes).expect("written");
        }
        let disk = disk_in(dir.path());
        let position = disk.open("topic", 0).and_then(|mut store| check(&mut store).and(store.mark()));
        match position.ok().flatten().map(|mark| mark.position) {
            Some(BATCHES) => intact += 1,
            Some(_) => older += 1,
            None => wiped += 1,
        }
        // As a restore does it: emptied, or if that fails, opened once more.
        let mut store = disk.open("topic", 0).expect("opens");
        if store.wipe().is_err() {
            drop(store);
            store = disk.open("topic", 0).expect("opens again");
        }
        assert_eq!(store.mark(), Ok(None));
        store.apply(vec![(b"a".to_vec(), Some(entry(b"1")))], &Mark { position: 1, ..Mark::default() }).expect("writes");
        drop((store, disk));
        let store = disk_in(dir.path()).open("topic", 0).expect("opens again");
        assert_eq!(store.get(b"a"), Ok(Some(entry(b"1"))), "round {round}");
    }
    println!("{intact} are intact, {older} are older copies now, {wiped} were wiped");
    assert!(wiped > 0, "nothing was found out");
}

/// A store of 0.1 has no version; one of another version is wiped.
#[test]
fn copies_of_other_versions_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = disk_in(dir.path());
    // The mark and an entry as 0.1 wrote them.
    let mark = Mark { position: 7, bytes: 2, entries: 1, at: 9 };
    let mut of_0_1: Vec<u8> = [7i64, 2, 1, 9].iter().flat_map(|number| number.to_le_bytes()).collect();
    of_0_1.extend_from_slice(b"topic");
    for (layout, expected) in [(None, true), (Some(1u32), true), (Some(2), false), (Some(0), false)] {
        let partition = layout.map_or(9, |layout| layout as i32);
        let mut store = disk.open("topic", partition).expect("opens");
        store.target.entries.insert(MARK_KEY, &of_0_1).expect("written");
        store.target.entries.insert(b"da", [5, 0, 0, 0, 0, 0, 0, 0, b'1']).expect("written");
        if let Some(layout) = layout {
            store.target.entries.insert(LAYOUT_KEY, layout.to_le_bytes()).expect("written");
        }
        assert_eq!(store.mark().ok(), expected.then(|| Some(mark.clone())), "{layout:?}");
        if expected {
            assert_eq!(store.get(b"a"), Ok(Some(entry(b"1"))), "{layout:?}");
        }
        store.wipe().expect("wipes");
        store.apply(vec![(b"a".to_vec(), Some(entry(b"1")))], &mark).expect("writes");
        drop(store);
        let store = disk.open("topic", partition).expect("opens");
        assert_eq!(store.mark(), Ok(Some(mark.clone())), "{layout:?}");
        assert_eq!(store.target.entries.get(LAYOUT_KEY).expect("read").as_deref(), Some(&1u32.to_le_bytes()[..]));
    }
}

#[test]
fn a_scan_has_its_ends() {
    #[track_caller]
    fn check(store: &mut DiskStore, start: &str, end: Option<&str>, most: usize, expected: &[&str]) {
        let mut seen = Vec::new();
        let mut on_entry = |key: &[u8], _| {
            seen.push(String::from_utf8(key.to_vec()).expect("text"));
            seen.len() < most
        };
        store.scan(start.as_bytes(), end.map(str::as_bytes), &mut on_entry).expect("reads");
        assert_eq!(seen, expected, "{start:?} {end:?} {most}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = disk_in(dir.path()).open("topic", 3).expect("opens");
    let changes = ["", "a", "b", "z"].map(|key| (key.as_bytes().to_vec(), Some(entry(b"1"))));
    store.apply(changes.into(), &Mark::default()).expect("writes");
    check(&mut store, "", None, 9, &["", "a", "b", "z"]);
    check(&mut store, "a", Some("z"), 9, &["a", "b"]);
    check(&mut store, "a", Some("b\0"), 9, &["a", "b"]);
    check(&mut store, "", None, 2, &["", "a"]);
    check(&mut store, "c", None, 9, &["z"]);
    check(&mut store, "b", Some("b"), 9, &[]);
    // A range that ends before it begins is a panic of fjall's.
    check(&mut store, "z", Some("a"), 9, &[]);
}

#[test]
fn a_mark_of_another_topic_and_values_that_were_cut_off_are_errors() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = disk_in(dir.path()).open("topic", 3).expect("opens");
    let mark = Mark { position: 7, bytes: 2, entries: 1, at: 9 };
    for topic in ["topi", "topic2", ""] {
        store.target.entries.insert(MARK_KEY, encode_mark(&mark, topic)).expect("written");
        assert!(store.mark().is_err(), "{topic}");
    }
    store.target.entries.insert(MARK_KEY, [0; 31]).expect("written");
    assert!(store.mark().is_err());
    store.target.entries.insert(MARK_KEY, encode_mark(&mark, "topic")).expect("written");
    assert_eq!(store.mark(), Ok(Some(mark)));
    store.target.entries.insert(data_key(b"a"), [0; 7]).expect("written");
    assert!(store.get(b"a").is_err());
}

#[test]
fn a_database_is_given_up_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = disk_in(dir.path());
    let first = disk.open("topic", 0).expect("opens");
    let twin = disk.open("topic", 1).expect("opens");
    let error = LocalError("broken".into());
    disk.give_up(&first.target.database, &error);
    let second = disk.open("topic", 0).expect("opens");
    assert_eq!((first.target.database.number, second.target.database.number, disk.numbers()), (0, 1, vec![1]));
    // The same database breaks for another of its stores, later.
    disk.give_up(&twin.target.database, &error);
    assert_eq!((disk.open("topic", 1).expect("opens").target.database.number, disk.numbers()), (1, vec![1]));
    disk.give_up(&second.target.database, &error);
    assert_eq!((disk.open("topic", 0).expect("opens").target.database.number, disk.numbers()), (2, vec![2]));
}

/// A thread of fjall's dies when it cannot write out what a keyspace has gathered. After that, neither an emptied store nor
/// another one may stay in this database.
#[test]
fn a_database_that_writes_no_more_is_given_up() {
    let finds: [fn(&Arc<Disk>, &mut DiskStore) -> bool; 2] =
        [|_, store| store.wipe().is_err(), |disk, _| disk.open("other", 0).is_err()];
    for find in finds {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk_with(dir.path(), 0);
        let mut store = disk.open("topic", 0).expect("opens");
        let entries = store.target.entries.clone();
        entries.insert(b"x", b"1").expect("written");
        let away = dir.path().join("away");
        fs::rename(entries.path(), &away).expect("moved");
        let _ = entries.rotate_memtable();
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.target.database.check().is_ok() {
            assert!(Instant::now() < deadline, "fjall still writes");
            std::thread::sleep(Duration::from_millis(5));
        }
        fs::rename(&away, entries.path()).expect("moved");
        // So many bytes become a table, which passes by the journal.
        let table = vec![(b"a".to_vec(), Some(entry(&[1; 2 << 20])))];
        let written = store.apply(table, &Mark::default()).and_then(|()| store.wait_for_writing(Duration::ZERO));
        assert!(written.is_err());
        assert!(find(&disk, &mut store));
        let next = disk.open("topic", 0).expect("opens in another database");
        assert_eq!((next.target.database.number, next.get(b"a")), (1, Ok(None)));
    }
}

#[test]
fn a_database_that_is_locked_or_without_room_is_kept() {
    use std::io::{Error, ErrorKind};
    let kept = [
        fjall::Error::Locked,
        fjall::Error::Io(ErrorKind::StorageFull.into()),
        fjall::Error::Storage(fjall::LsmError::Io(ErrorKind::StorageFull.into())),
    ];
    let lost = [
        fjall::Error::Io(ErrorKind::NotFound.into()),
        fjall::Error::Storage(fjall::LsmError::Io(Error::other("odd"))),
        fjall::Error::Poisoned,
    ];
    assert_eq!(
        (kept.map(|error| is_locked_or_full(&error)), lost.map(|error| is_locked_or_full(&error))),
        ([true; 3], [false; 3])
    );
}
