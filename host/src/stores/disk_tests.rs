//! Stores on disk: what survives a restart, and the answers to broken files.

use super::*;
use std::fs;

fn entry(value: &[u8]) -> Entry {
    Entry { written_at: Timestamp(5), value: value.to_vec() }
}

#[test]
fn what_was_applied_is_there_after_it_is_opened_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let mark = Mark { position: 7, bytes: 3, entries: 2, at: 9 };
    {
        let disk = Arc::new(Disk::new(dir.path(), 1 << 20));
        let mut store = disk.open("topic", 3).expect("opens");
        assert_eq!(store.mark(), Ok(None));
        let changes =
            [(b"".to_vec(), Some(entry(b""))), (b"a".to_vec(), Some(entry(b"1"))), (b"b".to_vec(), Some(entry(b"2")))];
        store.apply(&changes, &mark).expect("writes");
        store.apply(&[(b"b".to_vec(), None)], &mark).expect("writes");
    }
    let disk = Arc::new(Disk::new(dir.path(), 1 << 20));
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
fn a_database_that_cannot_be_opened_is_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().join("state");
    fs::create_dir_all(folder.join("0")).expect("made");
    for name in ["version", "0.jnl", "lock"] {
        fs::write(folder.join("0").join(name), b"garbage").expect("written");
    }
    let disk = Arc::new(Disk::new(&folder, 1 << 20));
    assert_eq!(disk.open("topic", 0).expect("opens").mark(), Ok(None));
}

#[test]
fn copies_that_nobody_uses_are_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = || Arc::new(Disk::new(dir.path(), 1 << 20));
    let no_claim = |_: &str, _| Some(());
    assert_eq!((disk().sweep(no_claim, |_| true), dir.path().join("0").exists()), (Ok(0), false), "nothing is made for it");
    let fill = |disk: &Arc<Disk>, topic: &str, partition, at| {
        let mut store = disk.open(topic, partition).expect("opens");
        let mark = Mark { at, position: 1, ..Mark::default() };
        store.apply(&[(b"a".to_vec(), Some(entry(b"1")))], &mark).expect("writes");
    };
    let first = disk();
    for (topic, partition, at) in [("a.b", 0, 1), ("a.b", 1, 9), ("a", 10, 1)] {
        fill(&first, topic, partition, at);
    }
    let _never_written = first.open("c", 0).expect("opens").mark();
    let in_use = |topic: &str, partition| (topic != "a" || partition != 10).then_some(());
    assert_eq!(first.sweep(in_use, |mark| mark.at < 5), Ok(2), "the old one, and the empty one");
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

const BATCHES: i64 = 200;
const KEYS_PER_BATCH: i64 = 100;
const KEYS: i64 = 2000;

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
        store.apply(&changes, &Mark { position: batch + 1, ..Mark::default() }).expect("writes");
    }
}

/// The mark's promise: everything before it is there. (What is newer does no harm: it comes again.)
fn check(store: &DiskStore) -> Result<(), LocalError> {
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
    let whole = tempfile::tempdir().expect("a directory");
    fill(&mut Arc::new(Disk::new(whole.path(), 1 << 20)).open("topic", 0).expect("opens"));
    let mut intact = 0;
    let mut older = 0;
    let mut wiped = 0;
    for round in 0..8 {
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole.path(), dir.path());
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
        let disk = Arc::new(Disk::new(dir.path(), 1 << 20));
        let position = disk.open("topic", 0).and_then(|store| check(&store).and(store.mark()));
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
        store.apply(&[(b"a".to_vec(), Some(entry(b"1")))], &Mark { position: 1, ..Mark::default() }).expect("writes");
        drop((store, disk));
        let store = Arc::new(Disk::new(dir.path(), 1 << 20)).open("topic", 0).expect("opens again");
        assert_eq!(store.get(b"a"), Ok(Some(entry(b"1"))), "round {round}");
    }
    println!("{intact} are intact, {older} are older copies now, {wiped} were wiped");
    assert!(wiped > 0, "nothing was found out");
}

/// A store of 0.1 has no version; one of another version is wiped.
#[test]
fn copies_of_other_versions_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(Disk::new(dir.path(), 1 << 20));
    // The mark and an entry as 0.1 wrote them.
    let mark = Mark { position: 7, bytes: 2, entries: 1, at: 9 };
    let mut of_0_1: Vec<u8> = [7i64, 2, 1, 9].iter().flat_map(|number| number.to_le_bytes()).collect();
    of_0_1.extend_from_slice(b"topic");
    for (layout, expected) in [(None, true), (Some(1u32), true), (Some(2), false), (Some(0), false)] {
        let partition = layout.map_or(9, |layout| layout as i32);
        let mut store = disk.open("topic", partition).expect("opens");
        store.entries.insert(MARK_KEY, &of_0_1).expect("written");
        store.entries.insert(b"da", [5, 0, 0, 0, 0, 0, 0, 0, b'1']).expect("written");
        if let Some(layout) = layout {
            store.entries.insert(LAYOUT_KEY, layout.to_le_bytes()).expect("written");
        }
        assert_eq!(store.mark().ok(), expected.then(|| Some(mark.clone())), "{layout:?}");
        if expected {
            assert_eq!(store.get(b"a"), Ok(Some(entry(b"1"))), "{layout:?}");
        }
        store.wipe().expect("wipes");
        store.apply(&[(b"a".to_vec(), Some(entry(b"1")))], &mark).expect("writes");
        assert_eq!(store.mark(), Ok(Some(mark.clone())), "{layout:?}");
        assert_eq!(store.entries.get(LAYOUT_KEY).expect("read").as_deref(), Some(&1u32.to_le_bytes()[..]));
    }
}
