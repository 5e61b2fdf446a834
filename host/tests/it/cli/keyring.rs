//! The token of `sandbar login` in a keyring: a stand-in for `secret-tool`, and a real one where this machine has it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::command::{Dev, RunResult, sandbar};

/// Keeps one text for each set of words, and fails with the text of the file `broken`. The token must come over its standard
/// input: it writes its words into a file.
const STAND_IN: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$*" >> words
[ ! -e broken ] || { cat broken >&2; exit 1; }
verb=$1; shift
[ "$verb" != store ] || shift
entry="entry-$(echo "$*" | tr -c 'a-z0-9\n' '_')"
case $verb in
store) cat > "$entry" ;;
lookup) [ -e "$entry" ] && cat "$entry" ;;
clear) rm -f "$entry" ;;
esac
"#;

/// A folder with an admin's token, and a host that knows it.
fn host(place: &Path) -> Dev {
    let admin = RunResult::of(sandbar(place).args(["token", "generate"])).out;
    std::fs::write(place.join("admin.token"), admin.trim()).expect("written");
    Dev::start_with(place, &["--auth", "required", "--admin-token-file", "admin.token"])
}

fn token(place: &Path) -> String {
    std::fs::read_to_string(place.join("admin.token")).expect("there")
}

fn config(place: &Path) -> String {
    std::fs::read_to_string(place.join("config/sandbar/config.toml")).expect("there")
}

/// The entries of the stand-in.
fn entries(place: &Path) -> Vec<String> {
    let files = std::fs::read_dir(place.join("bin")).expect("a folder").map(|file| file.expect("a file").path());
    let entries = files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("entry-")));
    entries.map(|path| std::fs::read_to_string(path).expect("text")).collect()
}

#[test]
fn a_token_is_in_the_keyring_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let bin = place.join("bin");
    std::fs::create_dir(&bin).expect("made");
    std::fs::write(bin.join("secret-tool"), STAND_IN).expect("written");
    std::fs::set_permissions(bin.join("secret-tool"), std::fs::Permissions::from_mode(0o700)).expect("set");
    let dev = host(place);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    let run = |words: &str| RunResult::of(sandbar(place).args(words.split(' ')).env("PATH", &path));
    let login = format!("login --token-file admin.token --url {}", dev.url);

    let done = run(&login);
    assert!(done.code == 0 && done.out.contains("in the keyring of this system"), "{done:?}");
    assert_eq!(entries(place), [token(place)]);
    assert!(!config(place).contains("sbr_"), "{}", config(place));
    assert!(!std::fs::read_to_string(bin.join("words")).expect("there").contains("sbr_"), "a command line has the token");
    let whoami = run("whoami");
    assert!(whoami.code == 0 && whoami.out.contains("*:admin"), "{whoami:?}");
    let listed = run("context list -o json");
    assert!(listed.out.contains("\"token\":true") && !listed.out.contains("sbr_"), "{listed:?}");

    // A keyring that fails is not taken for one without a token, and the environment goes before it.
    std::fs::write(bin.join("broken"), "the collection is locked").expect("written");
    let failed = run("whoami");
    assert!(failed.code == 2 && failed.err.contains("E069") && failed.err.contains("is locked"), "{failed:?}");
    assert!(run("logout").err.contains("E069"));
    let own = RunResult::of(sandbar(place).arg("whoami").env("PATH", &path).env("SANDBAR_TOKEN", token(place)));
    assert_eq!(own.code, 0, "{own:?}");
    let forced = run(&format!("{login} --store keyring"));
    assert!(forced.code == 2 && forced.err.contains("E069"), "{forced:?}");
    std::fs::remove_file(bin.join("broken")).expect("removed");

    // Another login leaves nothing of the one before.
    assert_eq!(run(&login).code, 0);
    assert_eq!(entries(place).len(), 1);
    let id = config(place).lines().find_map(|line| line.strip_prefix("keyring = ").map(str::to_owned)).expect("an id");
    let other = config(place).replace(&id, "\"00000000000000000000000000000000\"");
    let kept = config(place);
    std::fs::write(place.join("config/sandbar/config.toml"), other).expect("written");
    let lost = run("whoami");
    assert!(lost.err.contains("E069") && lost.err.contains("does not have the token"), "{lost:?}");
    std::fs::write(place.join("config/sandbar/config.toml"), kept).expect("written");
    assert_eq!(run("logout").code, 0);
    assert!(entries(place).is_empty() && !config(place).contains("keyring"));

    // The file on request, and where there is no keyring.
    let in_file = run(&format!("{login} --store file"));
    assert!(in_file.out.contains("only you can read") && config(place).contains("sbr_"), "{in_file:?}");
    assert_eq!(run(&login).code, 0);
    assert!(!config(place).contains("sbr_") && entries(place).len() == 1);
    std::fs::write(bin.join("broken"), "Cannot autolaunch D-Bus").expect("written");
    let fallen_back = run(&login);
    assert!(fallen_back.out.contains("no keyring (Cannot autolaunch D-Bus)"), "{fallen_back:?}");
    assert!(config(place).contains("sbr_"));
}

/// GNOME Keyring in a session of its own, with a home of its own.
#[test]
fn a_real_keyring_keeps_a_token() {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !["dbus-run-session", "gnome-keyring-daemon", "secret-tool"].into_iter().all(has) {
        println!("this machine has no GNOME Keyring: the test ends here");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let dev = host(place);
    let script = r#"
set -e
printf password | gnome-keyring-daemon --unlock --components=secrets > daemon
"$SANDBAR" login --token-file admin.token --url "$URL" --store keyring
"$SANDBAR" whoami
"$SANDBAR" logout
"$SANDBAR" whoami && exit 1
echo ended
"#;
    let mut command = Command::new("dbus-run-session");
    command.args(["--", "sh", "-c", script]).current_dir(place).env("SANDBAR", env!("CARGO_BIN_EXE_sandbar"));
    command.env("URL", &dev.url).env("XDG_CONFIG_HOME", place.join("config")).env_remove("SANDBAR_TOKEN");
    command.env("HOME", place).env("XDG_RUNTIME_DIR", place).env("XDG_DATA_HOME", place.join("data"));
    let ran = RunResult::of(&mut command);
    assert!(ran.out.contains("in the keyring of this system") && ran.out.contains("*:admin"), "{ran:?}");
    assert!(ran.out.ends_with("ended\n") && ran.err.contains("E075"), "{ran:?}");
}
