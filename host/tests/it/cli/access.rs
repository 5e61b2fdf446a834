//! Sign-in with the real binary: from the first token to the audit topic, as docs/security.md shows it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::command::{Cli, Dev, RunResult, sandbar};

/// Runs with a text on standard input.
fn with_input(folder: &Path, words: &str, input: &str) -> RunResult {
    let file = folder.join("input");
    std::fs::write(&file, input).expect("written");
    let mut command = sandbar(folder);
    command.args(words.split(' ')).stdin(Stdio::from(std::fs::File::open(file).expect("there")));
    RunResult::of(&mut command)
}

fn as_user<'a>(command: &'a mut Command, dev: &Dev, token: &str) -> &'a mut Command {
    command.env("SANDBAR_URL", &dev.url).env("SANDBAR_TOKEN", token)
}

#[test]
fn from_the_first_token_to_the_audit_topic() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let made = RunResult::of(sandbar(place).args(["token", "generate"]));
    let admin = made.out.trim().to_owned();
    assert!(made.code == 0 && admin.starts_with("sbr_"), "{made:?}");
    let hash = with_input(place, "token hash", &format!("{admin}\n"));
    assert!(hash.out.starts_with("sha256:"), "{hash:?}");
    assert_eq!(with_input(place, "token hash", "sbr_nonsense").code, 2);
    std::fs::write(place.join("admin.hash"), hash.out).expect("written");
    std::fs::write(place.join("admin.token"), &admin).expect("written");

    let dev = Dev::start_with(place, &["--auth", "required", "--admin-token-file", "admin.hash"]);
    let cli = Cli { folder: place, url: &dev.url };
    cli.fails("list", 1, &["error[E075]", "sandbar login"]);

    // A token that the host does not know is not kept.
    let other = RunResult::of(sandbar(place).args(["token", "generate"])).out;
    let refused = with_input(place, &format!("login --url {}", dev.url), &other);
    assert!(refused.code == 1 && refused.err.contains("E075"), "{refused:?}");
    cli.fails("whoami", 1, &["E075"]);

    let login = cli.succeeds("login --token-file admin.token");
    assert!(login.contains("admin (*:admin)") && login.contains("context default"), "{login}");
    let config = place.join("config/sandbar/config.toml");
    assert_eq!(std::fs::metadata(&config).expect("there").permissions().mode() & 0o777, 0o600);
    // The token is in the context, which an environment of another host does not use.
    let run = |words: &str| RunResult::of(sandbar(place).args(words.split(' ')));
    let whoami = run("whoami");
    assert!(whoami.out.contains("*:admin"), "{whoami:?}");
    let listed = run("context list -o json");
    assert!(listed.out.contains("\"token\":true") && !listed.out.contains(&admin), "{listed:?}");

    let created = run("token create --team stock --role deploy --role operate --name ci --expires-in 30d");
    let token = created.out.trim().to_owned();
    assert!(token.starts_with("sbr_") && created.err.contains("not shown again"), "{created:?}");
    let as_ci = |words: &str| RunResult::of(as_user(sandbar(place).args(words.split(' ')), &dev, &token));
    let whoami = as_ci("whoami -o json").out;
    assert!(whoami.contains("stock:deploy") && whoami.contains("stock:operate"), "{whoami}");
    let refused = as_ci("status orders/strip");
    assert!(refused.code == 1 && refused.err.contains("E076"), "{refused:?}");
    assert!(as_ci("token list").err.contains("E076"));
    let list = run("token list").out;
    assert!(list.contains("ci") && list.contains("deploy operate") && !list.contains("sbr_"), "{list}");
    let id = list.lines().nth(1).and_then(|row| row.split_whitespace().next()).expect("a row").to_owned();
    assert_eq!(run(&format!("token revoke {id}")).code, 0);
    assert!(as_ci("whoami").err.contains("E075"));
    assert!(run(&format!("token revoke {id}")).err.contains("E079"));

    let audit = run("audit --since 1h");
    for part in ["create-token", "revoke-token", "refused E076", "stock", "127.0.0.1"] {
        assert!(audit.out.contains(part), "{part}: {audit:?}");
    }
    assert!(run("audit --team stock -o json").out.lines().all(|line| line.contains("\"team\":\"stock\"")));
    assert_eq!(run("logout").code, 0);
    assert!(run("whoami").err.contains("no host answers") || run("whoami").err.contains("E075"));

    // No file of the host has a token, nor does its log.
    let log = std::fs::read_to_string(place.join("host.log")).expect("a log");
    assert!(!log.contains(&admin) && !log.contains(&token), "{log}");
}

/// A token is taken as a whole, or not at all.
#[test]
fn no_part_of_a_text_is_taken_for_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let login = "login --url http://127.0.0.1:1";
    for (words, bytes, part) in [
        ("token hash", 4097, "has more than 4096 bytes"),
        (login, 16 * 1024 + 1, "the token is not one"),
        (login, 32 * 1024 + 1, "has more than 32768 bytes"),
    ] {
        let ran = with_input(folder.path(), words, &"x".repeat(bytes));
        assert!(ran.code == 2 && ran.err.contains(part), "{words}: {ran:?}");
    }
}

#[test]
fn options_of_a_provider_are_refused_with_their_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let cli = Cli { folder: folder.path(), url: "http://127.0.0.1:1" };
    let told = ["error[E083]: --oidc-audience needs --oidc-issuer URL\n", "hint: "];
    cli.fails("dev --oidc-audience a", 2, &told);
    cli.fails("serve --brokers 127.0.0.1:1 --cluster a --oidc-audience a", 2, &told);
}

#[test]
fn a_host_does_not_start_with_a_file_that_lets_in_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    for text in ["", "# nothing\n", "secret", "sha256:00"] {
        std::fs::write(folder.path().join("tokens"), text).expect("written");
        let args = ["dev", "--listen", "127.0.0.1:0", "--auth", "required", "--admin-token-file", "tokens"];
        let ended = RunResult::of(sandbar(folder.path()).args(args));
        assert!(ended.code != 0 && ended.err.contains("E081") && !ended.err.contains("secret"), "{ended:?}");
    }
}
