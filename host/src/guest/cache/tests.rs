use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use super::*;
use crate::guest::structure::Footprint;

fn surface() -> Surface {
    Surface { imports: vec!["log".into()], exports: vec!["transform".into()], footprint: Footprint::default() }
}

fn open(folder: &Path) -> Cache {
    Cache::open(folder, 1 << 20).expect("opens").of_build(&"a build")
}

fn put(cache: &Cache, digest: &Digest) {
    cache.put(digest, &surface(), 6, b"artifact");
}

#[test]
fn only_the_hosts_own_artifacts_are_given_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = open(dir.path());
    let digest = Digest::of(b"module");
    let other = Digest::of(b"another");
    assert!(cache.get(&digest).is_none());
    put(&cache, &digest);
    let again = open(dir.path());
    let found = again.get(&digest).expect("the key outlives the process");
    assert_eq!((found.surface, found.bytes, found.artifact), (surface(), 6, b"artifact".to_vec()));

    let good = std::fs::read(cache.path(&digest)).expect("there");
    let mut changed = good.clone();
    *changed.last_mut().expect("not empty") ^= 1;
    for (what, path, bytes) in [
        ("changed", cache.path(&digest), changed.as_slice()),
        ("cut off", cache.path(&digest), &good[..good.len() - 1]),
        ("too short", cache.path(&digest), &good[..10]),
        ("of another module", cache.path(&other), &good),
    ] {
        private_file::replace(&path, bytes).expect("written");
        let of = if path == cache.path(&other) { &other } else { &digest };
        assert!(cache.get(of).is_none(), "{what}");
        assert!(!path.exists(), "{what}: it is dropped");
    }
    let stranger = tempfile::tempdir().expect("a directory");
    private_file::replace(&cache.path(&digest), &good).expect("written");
    let stranger = open(stranger.path());
    std::fs::copy(cache.path(&digest), stranger.path(&digest)).expect("copied");
    assert!(stranger.get(&digest).is_none(), "another host's");
}

#[test]
fn another_build_does_not_see_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let digest = Digest::of(b"module");
    let one = open(dir.path());
    let other = open(dir.path()).of_build(&"another build");
    put(&one, &digest);
    assert!(other.get(&digest).is_none());
    assert!(one.get(&digest).is_some(), "it is left alone");
    // Under the name of another build it does not fit either.
    std::fs::copy(one.path(&digest), other.path(&digest)).expect("copied");
    assert!(other.get(&digest).is_none());
}

/// Plants a file for the cache, then checks that no artifact made under the known key is given out.
#[track_caller]
fn check(what: &str, plant: impl Fn(&Path, &Path), is_used: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().join("compiled");
    let digest = Digest::of(b"module");
    // An attacker who knows the key makes any artifact.
    let cache = open(&folder);
    put(&cache, &digest);
    plant(&folder, &cache.path(&digest));
    let Ok(opened) = Cache::open(&folder, 1 << 20) else {
        assert!(!is_used, "{what}: it does not open");
        return;
    };
    assert_eq!(opened.of_build(&"a build").get(&digest).is_some(), is_used, "{what}");
    let mode = |path: &Path| std::fs::symlink_metadata(path).expect("there").mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("key"))), (0o700, 0o600), "{what}");
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own");
}

/// Replaces a file by a link to it.
fn link(path: &Path) {
    let moved = path.with_extension("elsewhere");
    std::fs::rename(path, &moved).expect("moved");
    symlink(moved, path).expect("linked");
}

#[test]
fn a_planted_key_or_artifact_is_not_used() {
    check("all as it should be", |_, _| {}, true);
    check("the folder was open to others", |folder, _| set_mode(folder, 0o777), true);
    check("others can read the key", |folder, _| set_mode(&folder.join("key"), 0o644), false);
    check("the group can write the key", |folder, _| set_mode(&folder.join("key"), 0o620), false);
    check("the key is a symbolic link", |folder, _| link(&folder.join("key")), false);
    check(
        "the key has a second name",
        |folder, _| {
            std::fs::hard_link(folder.join("key"), folder.join("key2")).expect("linked");
        },
        false,
    );
    check("the key is too long", |folder, _| private_file::replace(&folder.join("key"), &[0; 33]).expect("written"), false);
    check(
        "the key is a folder",
        |folder, _| {
            std::fs::remove_file(folder.join("key")).expect("there");
            std::fs::create_dir(folder.join("key")).expect("made");
        },
        false,
    );
    check("the folder is a symbolic link", |folder, _| link(folder), false);
    check("others can write the artifact", |_, artifact| set_mode(artifact, 0o666), false);
    check("the artifact is a symbolic link", |_, artifact| link(artifact), false);
}

#[test]
fn another_users_files_are_not_used() {
    let probe = tempfile::NamedTempFile::new().expect("a file");
    if chown(probe.path(), Some(4711), None).is_err() {
        eprintln!("only root can give a file away: not tried");
        return;
    }
    let give_away = |path: &Path| chown(path, Some(4711), None).expect("we are root");
    check("the key is another user's", |folder, _| give_away(&folder.join("key")), false);
    check("the artifact is another user's", |_, artifact| give_away(artifact), false);
    check("the folder is another user's", |folder, _| give_away(folder), false);
}

#[test]
fn the_disk_is_bounded() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = Cache::open(dir.path(), 2500).expect("opens");
    let digests: Vec<Digest> = (0..4u8).map(|n| Digest::of(&[n])).collect();
    for digest in &digests {
        cache.put(digest, &surface(), 1, &[0; 1000]);
    }
    let left: Vec<bool> = digests.iter().map(|digest| cache.get(digest).is_some()).collect();
    assert_eq!(left, [false, false, true, true]);
}

#[test]
fn an_artifact_that_is_larger_than_the_cache_is_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let digest = Digest::of(b"module");
    let cache = open(dir.path());
    put(&cache, &digest);
    let path = cache.path(&digest);
    let bytes = std::fs::metadata(&path).expect("there").len();
    let get = |bytes_max| Cache::open(dir.path(), bytes_max).expect("opens").of_build(&"a build").get(&digest);
    assert!(get(bytes).is_some(), "at the limit");
    assert!(get(bytes - 1).is_none(), "one byte over");
    assert!(!path.exists(), "it is dropped");
}

#[test]
fn half_written_files_are_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join(".unfinished-x"), b"half").expect("written");
    std::fs::create_dir(dir.path().join(".tmpOld")).expect("made");
    std::fs::write(dir.path().join(".tmpOld/module.cwasm"), b"half").expect("written");
    open(dir.path());
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("there").map(|entry| entry.expect("read").file_name()).collect();
    assert_eq!(left, ["key"]);
}
