//! The commands of the pages that need Kafka, with what the pages show, in the order in which an operator needs them. Each block
//! has a comment: `<!-- run by tests/e2e/pages.rs: NAME -->`.

mod hosts;
mod replay;
pub(crate) mod shell;

use sandbar_harness::{Cli, Host, KafkaCluster, Message, OwnKafka, Producer, Progress, dirs, guests, topics, wait};
use serde_json::json;

use self::shell::PageShell;
use crate::backup::{MADE_ANEW, SAVED, copy, wait_complete};
use crate::job::numbered;

const RUNNER: &str = "tests/e2e/pages.rs";
const GROUP: &str = "sandbar.prod.shop.echo";
const INPUT: &str = "shop.orders";
const OUTPUT: &str = "shop.echoes";
const DEAD_LETTERS: &str = "shop.echo.dead-letter";
const PARTITIONS: i32 = 2;
/// It restarts the host as systemd does: the test waits for the one file, and the command for the other.
const SYSTEMCTL: &str = "#!/bin/sh
[ \"$*\" = 'restart sandbar' ] && touch restart && until [ -e restarted ]; do sleep 0.1; done
";

/// The operator's shell, in a folder with their files.
fn operator(old: &KafkaCluster, new: &KafkaCluster) -> PageShell {
    let mut shell = PageShell::new(RUNNER, Vec::new());
    let path = |name: &str| shell.path(name);
    let names = [
        ("kafka:9092", old.brokers().to_owned()),
        ("kafka-1:9092", old.brokers().to_owned()),
        ("new:9092", new.brokers().to_owned()),
        ("--cluster shop", "--cluster prod".to_owned()),
        ("/var/lib/sandbar", path("data")),
        ("/var/backups", path("backups")),
        ("/etc/sandbar/sandbar.toml", path("sandbar.toml")),
        ("/usr/bin/sandbar", path("installed")),
    ];
    let settings = format!("brokers = {:?}\ncluster = \"prod\"\ndata-dir = {:?}\n", old.brokers(), path("data"));
    names.iter().for_each(|(theirs, ours)| shell.name(theirs, ours));
    shell.write("sandbar.toml", settings);
    shell.write("client.properties", "client.id=operator\n");
    std::fs::create_dir(shell.folder.join("backups")).expect("made");
    shell.add_program("systemctl", SYSTEMCTL);
    std::fs::copy(dirs::sandbar(), shell.folder.join("sandbar-new")).expect("copied");
    shell
}

/// Runs the commands that replace the host's program.
fn replace_host(operator: &mut PageShell, host: &mut Host) {
    operator.name("http://host-1:8080", &format!("http://{}", host.address()));
    let commands = operator.start("upgrade-host");
    let asked = operator.folder.join("restart");
    wait::until("a restart is asked for", wait::PATIENCE, || if asked.exists() { Ok(()) } else { Err(commands.text()) });
    assert_eq!(host.sigterm_and_wait(), Some(0));
    host.set_binary(&operator.folder.join("installed"));
    host.start_again();
    operator.write("restarted", "");
    let shown = commands.ends();
    assert!(shown.contains("shop/echo"), "{shown}");
}

/// Makes room for the next backup of the same name.
fn remove_backup(operator: &PageShell) {
    std::fs::remove_file(operator.folder.join("prod.backup")).expect("there is one");
}

/// Deletes what hosts have written for the cluster.
fn lose_control_topics(kafka: &KafkaCluster) {
    let all = SAVED.iter().chain(&MADE_ANEW).map(|topic| format!("_sandbar.prod.{topic}"));
    all.filter(|topic| topics::partitions(kafka, topic).is_some()).for_each(|topic| topics::delete(kafka, &topic));
}

#[test]
fn the_commands_of_operators_run() {
    let [old, new] = [(); 2].map(|()| OwnKafka::start_with(""));
    let [old, new] = [old.cluster(), new.cluster()];
    let mut operator = operator(old, new);
    topics::create(old, &[INPUT, OUTPUT], PARTITIONS);
    let mut host = Host::start(old, "prod");
    let spec = json!({
        "inputs": [INPUT], "outputs": {"out": OUTPUT}, "config": {"mode": "echo"}, "start": "earliest",
        "module": host.api().upload(&guests::fixture()),
    });
    host.api().deploy("shop/echo", &spec);
    let work = |kafka: &'static KafkaCluster, records: &[Message]| {
        Producer::new(kafka).send_all(INPUT, records);
        Progress::new(kafka, GROUP, INPUT).wait_through(wait::PATIENCE);
    };
    let records = numbered(300, 20);
    work(old, &records[..100]);

    let read = operator.runs("cli-consume");
    assert_eq!(read.lines().count(), 100, "{read}");
    operator.runs("upgrade-doctor");
    let visit = operator.runs("doctor");
    assert!(visit.contains(r#""outcome":"ok""#) || visit.contains(r#""outcome": "ok""#), "{visit}");
    operator.runs("backup");
    operator.runs("backup-of-a-day");
    operator.runs("upgrade-backup");
    replace_host(&mut operator, &mut host);
    let checked = operator.runs_to_the_end("backup-check");
    assert!(checked.contains("error[E114]") && checked.contains("shop/echo"), "{checked}");
    let offsets = operator.runs("lost-offsets");
    assert!(offsets.contains(INPUT), "{offsets}");
    remove_backup(&operator);
    operator.runs("cli-backup");

    assert_eq!(host.sigterm_and_wait(), Some(0));
    lose_control_topics(old);
    operator.runs("restore-plan");
    operator.runs("cli-restore");
    let mut host = Host::start(old, "prod");
    wait_complete(&host.api(), "shop/echo");
    work(old, &records[100..200]);
    assert_eq!(host.sigterm_and_wait(), Some(0));

    // The backup of the page was of before.
    remove_backup(&operator);
    let out = operator.folder.join("prod.backup");
    let saved = format!("backup --brokers {} --cluster prod --out {}", old.brokers(), out.display());
    Cli::at("pages-backup", ([127, 0, 0, 1], 1).into()).succeeds(&saved);
    topics::create(new, &[INPUT, OUTPUT], PARTITIONS);
    topics::create(new, &[DEAD_LETTERS], 1);
    copy(old, new, INPUT);
    operator.runs("move-with-offsets");
    let mut host = Host::start(new, "prod");
    work(new, &records[200..]);
    assert_eq!(host.sigterm_and_wait(), Some(0));

    lose_control_topics(new);
    operator.runs("move-with-groups");
    lose_control_topics(new);
    topics::forget_group(new, GROUP);
    operator.runs("move-without");
    operator.end();
}
