//! Kafka with TLS, log-ins and ACLs: each team works with its own rights, and with no others.

pub(crate) mod tokens;

use std::path::{Path, PathBuf};

use sandbar_harness::{Api, Host, Message, Progress, SecuredKafka, dirs, guests, topics, wait};
use serde_json::{Value, json};

use crate::doctor::Visit;
use crate::job::{Job, numbered, unchanged};

/// A secured Kafka with the files of one cluster's hosts.
struct Site {
    kafka: SecuredKafka,
    cluster: &'static str,
    folder: PathBuf,
}

impl Site {
    /// With these teams as users, each with its name's password, and the rights of the page for hosts and teams.
    fn new(cluster: &'static str, teams: &[&str]) -> Self {
        let mut users = vec![("sandbar", "of-the-host")];
        users.extend(teams.iter().map(|team| (*team, *team)));
        let site = Self { kafka: SecuredKafka::start(&users), cluster, folder: dirs::fresh("credentials") };
        std::fs::create_dir(site.teams_dir()).expect("made");
        std::fs::write(site.folder.join("password"), "of-the-host\n").expect("written");
        let host = "sasl.mechanism=SCRAM-SHA-512\nsasl.username=sandbar\nsasl.password=file:password\n";
        let tls = format!("security.protocol=SASL_SSL\nssl.ca.location={}\n", site.kafka.authority().display());
        std::fs::write(site.folder.join("host.properties"), tls + host).expect("written");
        site.grant("User:sandbar", &[]);
        for team in teams {
            site.write_team(team, &format!("sasl.username={team}\nsasl.password={team}\n"));
            site.grant("User:TEAM", &[("TEAM", team)]);
        }
        site
    }

    fn teams_dir(&self) -> PathBuf {
        self.folder.join("teams")
    }

    /// Puts a team's file in place, as a whole.
    fn write_team(&self, team: &str, text: &str) {
        let next = self.folder.join("next");
        std::fs::write(&next, text).expect("written");
        std::fs::rename(next, self.teams_dir().join(format!("{team}.properties"))).expect("renamed");
    }

    fn host(&self, more: &[&str]) -> Host {
        self.host_at(&self.kafka.passwords, more)
    }

    fn host_at(&self, brokers: &str, more: &[&str]) -> Host {
        let [config, teams] = [self.folder.join("host.properties"), self.teams_dir()].map(|path| text(&path));
        let options = [&["--host", "a", "--kafka-config", &config, "--kafka-teams-dir", &teams], more].concat();
        Host::start_at(brokers, self.kafka.kafka, self.cluster, &options)
    }

    /// Gives the rights that the page lists for a principal, with the names that the words stand for. Lines with other words
    /// are for other topics.
    fn grant(&self, principal: &str, names: &[(&str, &str)]) {
        self.change("--add", principal, names);
    }

    fn revoke(&self, principal: &str, names: &[(&str, &str)]) {
        self.change("--remove", principal, names);
    }

    fn change(&self, verb: &str, principal: &str, names: &[(&str, &str)]) {
        let asked = names.iter().find(|(word, _)| matches!(*word, "INPUT" | "OUTPUT"));
        let mut changed = 0;
        for words in acls() {
            let is_of = |word: &str| words.contains(&word);
            let wanted = asked.map_or(!is_of("INPUT") && !is_of("OUTPUT"), |(word, _)| is_of(word));
            if !is_of(principal) || !wanted {
                continue;
            }
            let force = (verb == "--remove").then(|| "--force".to_owned());
            let args = words.iter().map(|word| {
                let named = word.replace("CLUSTER", self.cluster).replace("--add", verb);
                names.iter().fold(named, |word, (name, value)| word.replace(name, value))
            });
            let args: Vec<String> = args.chain(force).collect();
            self.kafka.kafka.acl(&args.iter().map(String::as_str).collect::<Vec<_>>());
            changed += 1;
        }
        assert!(changed > 0, "the page has no line for {principal} {names:?}");
    }

    /// A transform of a team from its topics, with the rights on them.
    fn job(&self, team: &str, name: &str, fields: Value) -> Job {
        let job = self.job_without_rights(team, name, fields);
        self.grant("User:TEAM", &[("TEAM", team), ("INPUT", &job.input)]);
        self.grant("User:TEAM", &[("TEAM", team), ("OUTPUT", &job.output)]);
        job
    }

    fn job_without_rights(&self, team: &str, name: &str, fields: Value) -> Job {
        let cluster = self.cluster;
        let job = Job::on(self.kafka.kafka, (cluster, name), 1, guests::fixture(), json!({"mode": "echo"})).with(fields);
        let progress = Progress::new(self.kafka.kafka, &format!("sandbar.{cluster}.{team}.{name}"), &job.input);
        Job { transform: format!("{team}/{name}"), progress, ..job }
    }
}

/// The words after `kafka-acls.sh --bootstrap-server BROKERS` of each line of the page.
fn acls() -> Vec<Vec<&'static str>> {
    let page = include_str!("../../docs/security.md");
    let lines = page.lines().filter_map(|line| line.strip_prefix("kafka-acls.sh --bootstrap-server BROKERS "));
    lines.map(|line| line.split(' ').collect()).collect()
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// The rights of the page are enough for the doctor, who names each one that lacks.
#[test]
fn the_doctor_knows_the_rights_of_a_host() {
    let site = Site::new("ward", &["orders"]);
    let visit = |config: &Path| {
        let words = ["--kafka-teams-dir", &text(&site.teams_dir()), "--kafka-config", &text(config)];
        Visit::new(&site.kafka.passwords, site.cluster, &words)
    };
    let host = site.folder.join("host.properties");
    let well = visit(&host);
    assert_eq!(well.with("failure").len(), 0, "{:?}", well.checks);
    for check in ["kafka", "control-topics", "transactions", "kafka-teams"] {
        assert!(well.with("ok").contains(&check), "{check}: {:?}", well.checks);
    }
    site.write_team("orders", "sasl.username=orders\nsasl.password=guessed\n");
    visit(&host).failed("kafka-teams", "orders: ");
    site.write_team("orders", "sasl.username=orders\nsasl.password=orders\n");

    // As a team, which has no rights of a host.
    let config = std::fs::read_to_string(&host).expect("readable");
    let as_team = site.folder.join("team.properties");
    let of_team = config.replace("sasl.username=sandbar", "sasl.username=orders").replace("file:password", "orders");
    std::fs::write(&as_team, of_team).expect("written");
    let refused = visit(&as_team);
    assert!(refused.with("failure").iter().filter(|check| **check == "control-topics").count() == 8, "{:?}", refused.checks);
    assert!(refused.with("failure").contains(&"transactions"), "{:?}", refused.checks);
    std::fs::write(&as_team, config.replace("file:password", "guessed-by-nobody")).expect("written");
    let stranger = visit(&as_team);
    stranger.failed("kafka", "refuses the log-in");
    assert!(!format!("{:?}", stranger.checks).contains("guessed-by-nobody"), "{:?}", stranger.checks);
}

/// Waits until the host's status of a transform has the error, or none.
#[track_caller]
fn wait_code(api: &Api, job: &Job, code: Option<&str>) -> Value {
    wait::until(&format!("{} has {code:?}", job.transform), wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let is_so = status["hosts"][0]["error"]["code"].as_str() == code && (status["state"] == "running") == code.is_none();
        if is_so { Ok(status) } else { Err(status.to_string()) }
    })
}

/// The rights of the page are enough for all that a transform does, and those of one team are not another's.
#[test]
fn each_team_has_the_rights_of_the_page_and_no_others() {
    let site = Site::new("locked", &["orders", "stock"]);
    let host = site.host(&["--kafka-teams-required"]);
    let api = host.api();
    let orders = site.job("orders", "copy", json!({}));
    let stock = site.job("stock", "copy-stock", json!({}));
    let messages = numbered(200, 7);
    for job in [&orders, &stock] {
        job.deploy(&api);
        job.produce(&messages);
        job.wait_through(wait::PATIENCE);
        job.assert_output(&unchanged(&messages));
        wait_code(&api, job, None);
    }

    // A spec may name another team's topic: the brokers refuse it.
    let mut thief = site.job_without_rights("stock", "thief", json!({"inputs": [orders.input]})).spec;
    thief["module"] = api.upload(&guests::fixture()).into();
    let refused = api.try_deploy("stock/thief", &thief);
    assert_eq!((refused.status, refused.json()["code"].as_str()), (502, Some("E204")), "{refused:?}");

    // A right that is taken away stops that transform alone, and given back lets it go on.
    let input = [("TEAM", "orders"), ("INPUT", orders.input.as_str())];
    site.revoke("User:TEAM", &input);
    let more = numbered(100, 7);
    for job in [&orders, &stock] {
        job.produce(&more);
    }
    let status = wait_code(&api, &orders, Some("E204"));
    assert!(status.to_string().contains(&orders.input), "{status}");
    stock.wait_through(wait::PATIENCE);
    wait_code(&api, &stock, None);
    site.grant("User:TEAM", &input);
    orders.wait_through(wait::PATIENCE);
    wait_code(&api, &orders, None);
    let all: Vec<_> = messages.iter().chain(&more).cloned().collect();
    orders.assert_output(&unchanged(&all));
    stock.assert_output(&unchanged(&all));

    // No team, no credentials.
    let other = site.job_without_rights("nobody", "none", json!({})).spec;
    let refused = api.try_deploy("nobody/none", &{
        let mut spec = other;
        spec["module"] = api.upload(&guests::fixture()).into();
        spec
    });
    assert_eq!((refused.status, refused.json()["code"].as_str()), (502, Some("E204")), "{refused:?}");
    assert!(refused.body.contains("E241") && refused.body.contains("nobody"), "{refused:?}");
    let log = std::fs::read_to_string(host.log()).expect("readable");
    assert!(!log.contains("of-the-host"), "the host's password is in its log");
}

/// A store, a table, dead letters and at-least-once have the rights of the page, too.
#[test]
fn stores_tables_and_dead_letters_are_the_teams() {
    let site = Site::new("kept", &["orders", "stock"]);
    let host = site.host(&["--kafka-teams-required"]);
    let api = host.api();
    let table = "kept.table";
    topics::create_with(site.kafka.kafka, &[table], 1, &[("cleanup.policy", "compact")]);
    site.grant("User:TEAM", &[("TEAM", "orders"), ("INPUT", table)]);
    let fails = site.job("orders", "fails", json!({"config": {"mode": "fail"}, "tables": {"names": table}}));
    fails.deploy(&api);
    let message = |i| Message::new("key", if i % 5 == 0 { "poison" } else { "fine" });
    let messages: Vec<Message> = (0..20).map(message).collect();
    fails.produce(&messages);
    fails.wait_through(wait::PATIENCE);
    let dead = topics::read_committed(site.kafka.kafka, "orders.fails.dead-letter");
    assert_eq!(dead.len(), messages.len() / 5);
    // Another team, which may look at the table's settings and not at its records, has nothing of the open table.
    let describe = ["--add", "--allow-principal", "User:stock", "--operation", "Describe", "--topic", table];
    site.kafka.kafka.acl(&describe);
    let peeks = site.job("stock", "peeks", json!({"tables": {"names": table}}));
    peeks.deploy(&api);
    let status = wait_code(&api, &peeks, Some("E223"));
    assert!(status.to_string().contains("authorization failed"), "{status}");
    let often = site.job("orders", "often", json!({"delivery": "at-least-once"}));
    often.deploy(&api);
    often.produce(&messages);
    often.wait_through(wait::PATIENCE);
    let sums = site.job("orders", "sums", json!({"state": {"sums": {}}, "config": {"mode": "fold"}}));
    let sums = Job { module: guests::stateful(), ..sums };
    sums.deploy(&api);
    let ones: Vec<Message> = (0..50).map(|i| Message::new(format!("key-{}", i % 5), "1")).collect();
    sums.produce(&ones);
    sums.wait_through(wait::PATIENCE);
    let changelog = topics::read_committed(site.kafka.kafka, "_sandbar.kept.state.orders.sums.sums");
    assert!(!changelog.is_empty(), "the changelog is written");
    // A host without the local copies restores them.
    drop(host);
    let host = site.host(&["--kafka-teams-required"]);
    let api = host.api();
    sums.produce(&ones);
    sums.wait_through(wait::PATIENCE);
    for job in [&fails, &often, &sums] {
        wait_code(&api, job, None);
    }

    // So are all that a team asks the API for.
    let live = json!({"live": {"records": 5}}).to_string();
    let tried = api.send("POST", &route(&often, "test"), "application/json", live.as_bytes()).success().json();
    assert_eq!(tried["records"].as_array().map(Vec::len), Some(5), "{tried}");
    let turn = |job: &Job, verb: &str, state: &str| {
        api.send("POST", &route(job, verb), "application/json", b"{}").success();
        wait::until(state, wait::PATIENCE, || {
            let status = api.status(&job.transform);
            if status["state"] == state { Ok(()) } else { Err(status.to_string()) }
        });
    };
    turn(&sums, "pause", "paused");
    api.send("DELETE", &route(&sums, "state"), "application/json", b"").success();
    let to_start = json!({"to": "earliest"}).to_string();
    api.send("PATCH", &route(&sums, "offsets"), "application/json", to_start.as_bytes()).success();
    turn(&sums, "resume", "running");
    sums.wait_through(wait::PATIENCE);
    turn(&often, "pause", "paused");
    api.send("DELETE", &route(&often, "offsets"), "application/json", b"").success();
    turn(&often, "resume", "running");
    often.wait_through(wait::PATIENCE);
    let offsets = api.get(&route(&often, "offsets")).success().json();
    assert!(offsets["offsets"][0]["offset"].is_number(), "{offsets}");
}

fn route(job: &Job, end: &str) -> String {
    format!("/v1/teams/{}/{end}", job.transform.replace('/', "/transforms/"))
}

/// Passwords, certificates and other users are taken up while the transforms run.
#[test]
fn new_credentials_are_taken_up() {
    let site = Site::new("renewed", &["orders", "others"]);
    let host = site.host(&[]);
    let api = host.api();
    let job = site.job("orders", "copy-orders", json!({}));
    job.deploy(&api);
    let mut produced = Vec::new();
    let mut goes_on = |job: &Job| {
        let messages = numbered(50, 3);
        job.produce(&messages);
        produced.extend(messages);
        job.wait_through(wait::PATIENCE);
        wait_code(&api, job, None);
        job.assert_output(&unchanged(&produced));
    };
    goes_on(&job);

    // Another password. Connections that are made after it need the new one: the broker is restarted.
    site.kafka.set_password("orders", "second");
    site.write_team("orders", "sasl.username=orders\nsasl.password=second\n");
    wait_read(&host, 1);
    site.kafka.kafka.stop(1);
    site.kafka.kafka.restart(1);
    goes_on(&job);

    // A wrong one is told, and mended.
    site.write_team("orders", "sasl.username=orders\nsasl.password=wrong\nclient.id=renewed\n");
    let status = wait_code(&api, &job, Some("E204"));
    assert!(!status.to_string().contains("wrong"), "{status}");
    site.write_team("orders", "sasl.username=orders\nsasl.password=second\n");
    goes_on(&job);

    // Another mechanism.
    site.write_team("orders", "sasl.mechanism=PLAIN\nsasl.username=orders\nsasl.password=orders\n");
    wait_read(&host, 4);
    goes_on(&job);

    // Another user without rights, and no file at all: in neither case does the team become the host.
    site.write_team("orders", "sasl.username=others\nsasl.password=others\n");
    wait_code(&api, &job, Some("E204"));
    std::fs::remove_file(site.teams_dir().join("orders.properties")).expect("removed");
    wait::until("the file is missed", wait::PATIENCE, || {
        let status = wait_code(&api, &job, Some("E204"));
        if status.to_string().contains("E241") { Ok(()) } else { Err(status.to_string()) }
    });
    site.write_team("orders", "sasl.username=orders\nsasl.password=second\n");
    goes_on(&job);
}

/// Waits until the host has taken up that many changes of its files.
#[track_caller]
fn wait_read(host: &Host, times: usize) {
    wait::until("the host has read its files again", wait::PATIENCE, || {
        let log = std::fs::read_to_string(host.log()).expect("readable");
        let seen = log.matches("properties of Kafka clients were read again").count();
        if seen >= times { Ok(()) } else { Err(format!("{seen} times")) }
    });
}

/// A host that may describe the cluster knows who else may write its control topics.
#[test]
fn foreign_writers_of_control_topics_are_told() {
    let site = Site::new("open", &["orders"]);
    let first = site.host(&[]);
    let log = |host: &Host| std::fs::read_to_string(host.log()).expect("readable");
    wait::until("the host has asked", wait::PATIENCE, || {
        if log(&first).contains("no other principal may write to a control topic") { Ok(()) } else { Err(log(&first)) }
    });
    drop(first);
    let prefixed = ["--topic", "_sandbar.open.s", "--resource-pattern-type", "prefixed"];
    let allow = ["--add", "--allow-principal", "User:orders", "--operation", "All"];
    site.kafka.kafka.acl(&[allow.as_slice(), &prefixed].concat());
    let second = site.host(&[]);
    wait::until("the host names the principal", wait::PATIENCE, || {
        let lines = log(&second);
        let named: Vec<&str> = lines.lines().filter(|line| line.contains("E242") && line.contains("User:orders")).collect();
        let is_told = |topic: &str| named.iter().any(|line| line.contains(topic));
        if is_told("_sandbar.open.status") && is_told("_sandbar.open.samples") { Ok(named.len()) } else { Err(lines) }
    });
    assert!(!log(&second).contains("User:sandbar"), "the host is no other");
}

/// Host and team show certificates, and log in with no password. A renewed certificate of another principal is taken up.
#[test]
fn certificates_log_in_too() {
    let site = Site::new("shown", &["orders"]);
    std::fs::write(site.folder.join("host.properties"), site.kafka.certificate_of("sandbar")).expect("written");
    site.write_team("orders", &site.kafka.certificate_of("orders"));
    let host = site.host_at(&site.kafka.certificates, &["--kafka-teams-required"]);
    let job = site.job("orders", "copy-shown", json!({}));
    job.deploy(&host.api());
    let messages = numbered(50, 3);
    job.produce(&messages);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
    site.write_team("orders", &site.kafka.certificate_of("nobody"));
    wait_code(&host.api(), &job, Some("E204"));
}
