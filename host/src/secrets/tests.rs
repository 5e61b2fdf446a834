use std::os::unix::fs::symlink;
use std::path::Path;

use super::follower::Seen;
use super::*;

fn team(name: &str) -> TeamName {
    name.parse().expect("valid")
}

fn secret(text: &str) -> SecretRef {
    text.parse().expect("valid")
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, content).expect("written");
}

fn in_folder(folder: &Path) -> Secrets {
    let options = SecretOptions { folder: Some(folder.to_owned()), bytes_max: 8 };
    let variable = |name: &str| {
        let known = [
            ("SANDBAR_SECRET_SHOP__KEY", "of shop\n"),
            ("SANDBAR_SECRET_SHOP_EU__KEY", "of eu"),
            ("SANDBAR_SECRET_SHOP__EMPTY", ""),
            ("SANDBAR_SECRET_SHOP__LONG", "123456789"),
        ];
        known.into_iter().find(|(own, _)| *own == name).map(|(_, value)| value.into())
    };
    Secrets::with_variables(options, variable)
}

/// The value of one secret, or a part of the error, whose kind stands before it.
#[track_caller]
fn check(secrets: &Secrets, owner: &str, name: &str, expected: Result<&str, &str>) {
    let read = secrets.read(&team(owner), &[secret(name)]);
    let config = format!("{{\"a\":{{\"secret\":\"{name}\"}}}}");
    match (read, expected) {
        (Ok(values), Ok(value)) => {
            let filled: serde_json::Value = serde_json::from_str(&values.fill(&config)).expect("JSON");
            assert_eq!(filled, serde_json::json!({ "a": value }), "{owner} {name}");
        }
        (Err(error), Err(part)) => {
            let kind = if matches!(error, SecretError::Missing(_)) { "missing" } else { "unusable" };
            let shown = format!("{kind}: {error}");
            assert!(shown.contains(part) && shown.contains(name), "{owner} {name}: {shown:?} lacks {part:?}");
        }
        (read, _) => panic!("{owner} {name}: {read:?}"),
    }
}

#[test]
fn a_file_belongs_to_its_team() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let secrets = in_folder(place);
    write(place, "shop/a", "value");
    write(place, "shop/line", "value\r\n");
    write(place, "shop/lines", "a\n\n");
    write(place, "shop/full", "12345678");
    write(place, "shop/over", "123456789");
    write(place, "shop/empty", "\n");
    write(place, "shop/bytes", [0xff, 0xfe]);
    write(place, "other/b", "foreign");
    std::fs::create_dir(place.join("shop/dir")).expect("made");
    let expected: [(&str, Result<&str, &str>); 9] = [
        ("a", Ok("value")),
        ("line", Ok("value")),
        ("lines", Ok("a\n")),
        ("full", Ok("12345678")),
        ("over", Err("unusable: file:over of team shop has more than 8 bytes (secret_bytes_max)")),
        ("empty", Err("unusable: file:empty of team shop is empty")),
        ("bytes", Err("unusable: file:bytes of team shop is not UTF-8 text")),
        ("dir", Err("unusable: file:dir of team shop is not a file")),
        ("b", Err("missing: file:b: the folder of secrets has no file shop/b")),
    ];
    for (name, expected) in expected {
        check(&secrets, "shop", &format!("file:{name}"), expected);
    }
    check(&secrets, "nobody", "file:a", Err("missing"));
    check(&Secrets::default(), "shop", "file:a", Err("missing: file:a: this host has no folder of secrets"));
}

#[test]
fn links_stay_in_the_folder_of_the_team() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let secrets = in_folder(place);
    // As Kubernetes mounts a secret.
    write(place, "shop/..2026_1/a", "old");
    write(place, "shop/..2026_2/a", "new");
    symlink("..2026_1", place.join("shop/..data")).expect("linked");
    symlink("..data/a", place.join("shop/a")).expect("linked");
    check(&secrets, "shop", "file:a", Ok("old"));
    std::fs::remove_file(place.join("shop/..data")).expect("removed");
    symlink("..2026_2", place.join("shop/..data")).expect("linked");
    check(&secrets, "shop", "file:a", Ok("new"));
    // The folder of a team may be a link itself: the operator made it.
    symlink(place.join("shop"), place.join("twin")).expect("linked");
    check(&secrets, "twin", "file:a", Ok("new"));

    write(place, "other/b", "foreign");
    write(place, "shop-eu/b", "foreign");
    symlink("../other/b", place.join("shop/up")).expect("linked");
    // The name of the folder begins like the team's.
    symlink("../shop-eu/b", place.join("shop/beside")).expect("linked");
    symlink(place.join("other/b"), place.join("shop/absolute")).expect("linked");
    symlink("/etc/hostname", place.join("shop/system")).expect("linked");
    symlink("loop", place.join("shop/loop")).expect("linked");
    for name in ["up", "beside", "absolute", "system"] {
        check(&secrets, "shop", &format!("file:{name}"), Err("unusable: file:"));
        check(&secrets, "shop", &format!("file:{name}"), Err("is a link that leaves the team's folder"));
    }
    check(&secrets, "shop", "file:loop", Err("unusable"));
}

#[test]
fn a_pipe_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("shop")).expect("made");
    let pipe = folder.path().join("shop/pipe");
    let done = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(done.success());
    check(&in_folder(folder.path()), "shop", "file:pipe", Err("unusable: file:pipe of team shop is not a file"));
}

#[test]
fn a_variable_belongs_to_its_team() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = in_folder(folder.path());
    check(&secrets, "shop", "env:KEY", Ok("of shop"));
    check(&secrets, "shop-eu", "env:KEY", Ok("of eu"));
    check(&secrets, "shop", "env:EMPTY", Err("unusable: env:EMPTY of team shop is empty"));
    check(&secrets, "shop", "env:LONG", Err("unusable: env:LONG of team shop has more than 8 bytes"));
    check(
        &secrets,
        "shop",
        "env:GONE",
        Err("missing: env:GONE: the host's environment has no variable SANDBAR_SECRET_SHOP__GONE"),
    );
    // Every host has these.
    check(&Secrets::default(), "shop", "env:PATH", Err("missing"));
}

#[test]
fn a_folder_that_is_not_there_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "file", "");
    let open = |place: &str| {
        let options = SecretOptions { folder: Some(folder.path().join(place)), ..SecretOptions::default() };
        Secrets::open(options).is_ok()
    };
    assert_eq!(["", "gone", "file"].map(open), [true, false, false]);
    assert!(Secrets::open(SecretOptions::default()).is_ok());
}

fn values(of: &[&str]) -> SecretValues {
    let named = of.iter().enumerate().map(|(n, value)| (secret(&format!("file:s{n}")), (*value).to_owned()));
    SecretValues::new(team("shop"), named.collect())
}

#[test]
fn secrets_are_taken_out_of_text() {
    let cases: [(&[&str], &str, &str); 10] = [
        (&[], "text", "text"),
        (&["hunter2"], "no secret", "no secret"),
        (&["hunter2"], "hunter2", "[secret]"),
        (&["hunter2"], "a hunter2, hunter2hunter2 z", "a [secret], [secret][secret] z"),
        (&["hunter2"], "hunter", "hunter"),
        // One is a part of another.
        (&["pass", "password"], "a password, a pass", "a [secret], a [secret]"),
        // In the form in which errors quote it.
        (&["two\nlines\"x"], r#"invalid value: "two\nlines\"x""#, r#"invalid value: "[secret]""#),
        (&["two\nlines\"x"], "two\nlines\"x", "[secret]"),
        (&["größe"], "die größe ä", "die [secret] ä"),
        // Too short to be looked for.
        (&["abc", "defg"], "abc defg", "abc [secret]"),
    ];
    for (secrets, text, expected) in cases {
        assert_eq!(values(secrets).redact(text, 1000), expected, "{secrets:?}");
    }
}

#[test]
fn a_text_is_cut_behind_a_secret_and_never_within_one() {
    let long = "s3cr3t-".repeat(2000);
    let secrets = values(&[&long]);
    let text = format!("{}{long}tail", "x".repeat(90));
    let shown = secrets.redact(&text, 100);
    assert_eq!(shown, format!("{}[secret]ta...", "x".repeat(90)));
    for bytes_max in 0..200 {
        let shown = secrets.redact(&text, bytes_max);
        assert!(!shown.contains("s3c") && shown.len() <= bytes_max + 11, "{bytes_max}: {shown}");
    }
}

#[test]
fn no_value_is_formatted() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "shop/a", "hunter2");
    let secrets = in_folder(folder.path());
    let read = secrets.read(&team("shop"), &[secret("file:a"), secret("env:KEY")]).expect("read");
    let shown = format!("{read:?} {secrets:?}");
    assert!(shown.contains("file:a") || shown.contains("SecretRef"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("of shop"), "{shown}");
}

#[test]
fn a_change_counts_when_two_looks_have_found_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    write(place, "shop/a", "one");
    write(place, "shop/b", "other");
    let secrets = in_folder(place);
    let read = |name: &str| secrets.read(&team("shop"), &[secret(name)]).expect("read");
    let [first, other] = ["file:a", "file:b"].map(read);
    [&first, &other].into_iter().for_each(|values| secrets.follow(values));
    let changed = || (first.have_changed(), other.have_changed());
    let seen = secrets.look(&Seen::new());
    assert_eq!((seen.len(), changed()), (0, (false, false)));
    // It is gone, and there again as it was; or with nothing in it.
    std::fs::remove_file(place.join("shop/a")).expect("removed");
    let seen = secrets.look(&seen);
    write(place, "shop/a", "");
    let seen = secrets.look(&secrets.look(&seen));
    assert_eq!((seen.len(), changed()), (0, (false, false)));
    write(place, "shop/a", "two");
    let seen = secrets.look(&seen);
    assert_eq!((seen.len(), changed()), (1, (false, false)));
    // Another change between the two looks.
    write(place, "shop/a", "three");
    let seen = secrets.look(&seen);
    assert_eq!((seen.len(), changed()), (1, (false, false)));
    let seen = secrets.look(&seen);
    assert_eq!((seen.len(), changed()), (0, (true, false)));
    // Instances with the new value are followed by themselves; those with none any more are forgotten.
    let second = read("file:a");
    drop(other);
    secrets.follow(&second);
    assert_eq!(secrets.shared.in_use.lock().len(), 2);
    assert_eq!((secrets.look(&seen).len(), second.have_changed()), (0, false));
}
