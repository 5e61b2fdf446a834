//! The commands of the pages that need Kafka, with what the pages show: blocks after
//! `<!-- run by tests/e2e/pages.rs: NAME -->`, in the order in which an operator needs them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbar_harness::{Cli, Host, KafkaCluster, Message, OwnKafka, Producer, Progress, dirs, guests, topics, wait};
use serde_json::json;

use crate::backup::{MADE_ANEW, SAVED, copy, wait_complete};
use crate::job::numbered;

const MARK: &str = "<!-- run by tests/e2e/pages.rs: ";
const PAGES: [&str; 4] = ["docs/operate.md", "docs/cli.md", "docs/doctor.md", "docs/upgrading.md"];
const GROUP: &str = "sandbar.prod.shop.echo";
const INPUT: &str = "shop.orders";
const PARTITIONS: i32 = 2;

/// A block, and the one right behind it without a language: what the commands print.
struct Block {
    name: String,
    commands: String,
    shown: Option<String>,
}

/// The operator's shell, and the blocks that are left.
struct Operator {
    folder: PathBuf,
    /// What the pages call a thing, and what it is called here.
    names: Vec<(&'static str, String)>,
    blocks: Vec<Block>,
}

/// The marked blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut marked = None;
    let mut is_behind_marked = false;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let is_behind = std::mem::take(&mut is_behind_marked);
        if let Some(name) = line.trim().strip_prefix(MARK) {
            marked = Some(name.trim_end_matches(" -->").to_owned());
        } else if let Some(info) = line.trim().strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            let text = text.join("\n");
            if let Some(name) = marked.take() {
                assert_eq!(info, "sh", "{name} marks no commands");
                found.push(Block { name, commands: text, shown: None });
                is_behind_marked = true;
            } else if info.is_empty() && is_behind {
                found.last_mut().expect("the marked one").shown = Some(text);
            }
        }
    }
    found
}

/// A line without the numbers in it, and without the spaces between its columns.
fn outline(line: &str) -> String {
    let digit = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let words: Vec<String> = line.split_whitespace().map(|word| word.chars().map(digit).collect()).collect();
    let mut outline = words.join(" ");
    while outline.contains("00") {
        outline = outline.replace("00", "0");
    }
    outline
}

impl Operator {
    fn new(old: &KafkaCluster, new: &KafkaCluster) -> Self {
        let folder = dirs::fresh("pages");
        let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
        let settings = format!("brokers = {:?}\ncluster = \"prod\"\ndata-dir = {:?}\n", old.brokers(), path("data"));
        std::fs::write(folder.join("sandbar.toml"), settings).expect("written");
        std::fs::write(folder.join("client.properties"), "client.id=operator\n").expect("written");
        std::fs::create_dir(folder.join("backups")).expect("made");
        let names = vec![
            ("kafka:9092", old.brokers().to_owned()),
            ("kafka-1:9092", old.brokers().to_owned()),
            ("new:9092", new.brokers().to_owned()),
            ("--cluster shop", "--cluster prod".to_owned()),
            ("/var/lib/sandbar", path("data")),
            ("/var/backups", path("backups")),
            ("/etc/sandbar/sandbar.toml", path("sandbar.toml")),
        ];
        let read = |page: &&str| std::fs::read_to_string(dirs::root().join(page)).expect("the page is there");
        let blocks = PAGES.iter().map(read).flat_map(|page| blocks(&page)).collect();
        Self { folder, names, blocks }
    }

    /// Runs a block whose commands all succeed, compares its output with its page, and returns it.
    #[track_caller]
    fn runs(&mut self, name: &str) -> String {
        self.runs_with("set -euo pipefail", name)
    }

    /// Runs a block whose last command succeeds.
    #[track_caller]
    fn runs_to_the_end(&mut self, name: &str) -> String {
        self.runs_with("set -u", name)
    }

    #[track_caller]
    fn runs_with(&mut self, options: &str, name: &str) -> String {
        let at = self.blocks.iter().position(|block| block.name == name);
        let Block { commands, shown, .. } = self.blocks.remove(at.unwrap_or_else(|| panic!("no page has {name}")));
        let commands = self.names.iter().fold(commands, |commands, (theirs, ours)| commands.replace(theirs, ours));
        let own_path = std::env::var("PATH").expect("UTF-8");
        let binary = dirs::sandbar();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{options}\n{commands}\n")]).current_dir(&self.folder);
        command.env("PATH", format!("{}:{own_path}", binary.parent().map_or(Path::new("."), |it| it).display()));
        command.env("SANDBAR_LISTEN", "127.0.0.1:0").env("XDG_CONFIG_HOME", self.folder.join("config"));
        let ran = Cli::ended(&mut command);
        assert_eq!(ran.code, Some(0), "{name}: {commands}\n{ran:?}");
        let printed: BTreeSet<String> = ran.out.lines().map(outline).collect();
        for line in shown.iter().flat_map(|shown| shown.lines()).filter(|line| !line.trim().is_empty()) {
            assert!(printed.contains(&outline(line)), "{name} shows {line:?}, and prints {}", ran.out);
        }
        ran.out + &ran.err
    }

    /// Makes room for the next backup of the same name.
    fn remove_backup(&self) {
        std::fs::remove_file(self.folder.join("prod.backup")).expect("there is one");
    }
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
    let mut operator = Operator::new(old, new);
    topics::create(old, &[INPUT, "shop.echoes"], PARTITIONS);
    let mut host = Host::start(old, "prod");
    let spec = json!({
        "inputs": [INPUT], "outputs": {"out": "shop.echoes"}, "config": {"mode": "echo"}, "start": "earliest",
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
    let checked = operator.runs_to_the_end("backup-check");
    assert!(checked.contains("error[E114]") && checked.contains("shop/echo"), "{checked}");
    let offsets = operator.runs("lost-offsets");
    assert!(offsets.contains(INPUT), "{offsets}");
    operator.remove_backup();
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
    operator.remove_backup();
    let out = operator.folder.join("prod.backup");
    let saved = format!("backup --brokers {} --cluster prod --out {}", old.brokers(), out.display());
    Cli::at("pages-backup", ([127, 0, 0, 1], 1).into()).succeeds(&saved);
    topics::create(new, &[INPUT, "shop.echoes"], PARTITIONS);
    topics::create(new, &["shop.echo.dead-letter"], 1);
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
    let left: Vec<&str> = operator.blocks.iter().map(|block| block.name.as_str()).collect();
    assert_eq!(left, [""; 0], "blocks that nobody runs");
}
