//! The limits of teams on the command line, and a host's file of teams.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::canned::{CannedHost, Reply};
use super::command::{Cli, Dev, RunResult, sandbar};

fn ceiling(key: &str, used: Option<u64>, max: u64, unit: &str) -> Value {
    json!({ "key": key, "used": used, "max": max, "unit": unit, "scope": "cluster" })
}

fn team(file_error: Option<&str>) -> Value {
    let ceilings = [
        ceiling("transforms_max", Some(3), 200, "count"),
        ceiling("memory_bytes_max", Some(64 << 20), 1 << 30, "bytes"),
        ceiling("transaction_time_max", Some(2100), 10_000, "millis"),
        ceiling("team_log_lines_max", None, 1000, "count"),
        ceiling("of_a_newer_host", Some(7), 9, "parsecs"),
    ];
    let redact = json!([{ "topic": "shop.orders", "paths": ["$.email", "$..phone\u{7}"], "keys": true,
        "headers": ["authorization"], "values": false, "viewers": true, "shown_to": ["stock"] }]);
    let topics = json!({ "owns": ["shop.*"], "read": ["*", "_schemas"], "write": [], "accepts_from": ["stock"],
        "redact": redact });
    json!({ "team": "shop", "cpu_weight": 3, "allow_cycle": false, "ceilings": ceilings, "topics": topics,
        "file_error": file_error })
}

#[test]
fn teams_are_shown_with_their_use_in_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = json!({ "teams": [team(None)], "uploads_without_team": ceiling("u", Some(0), 1, "bytes") });
    let replies =
        [Reply::new(200, "GET /v1/teams", list), Reply::new(200, "GET /v1/teams/shop", team(Some("teams.a\u{7}")))];
    let server = CannedHost::start(replies);
    let cli = Cli { folder: folder.path(), url: &server.url };
    let listed = cli.succeeds("teams");
    let row: Vec<&str> = listed.lines().nth(1).expect("one row").split_whitespace().collect();
    assert_eq!(row, ["shop", "3", "3/200", "-", "-", "64MiB/1GiB", "-"], "{listed}");
    let shown = cli.succeeds("teams shop");
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        vec!["cpu_weight:", "3"],
        vec!["allow_cycle:", "false"],
        vec!["topics.owns:", "shop.*"],
        vec!["topics.read:", "*,", "_schemas"],
        vec!["topics.accepts_from:", "stock"],
        vec!["shop.orders", "$.email,", "$..phone\\u{7}", "authorization", "keys", "masked", "stock"],
        vec!["memory_bytes_max", "64MiB", "1GiB", "cluster"],
        vec!["transaction_time_max", "2s", "100ms", "10s", "cluster"],
        vec!["team_log_lines_max", "-", "1000", "cluster"],
        vec!["of_a_newer_host", "7", "9", "cluster"],
    ] {
        assert!(rows.contains(&row), "{row:?} is not in {shown}");
    }
    assert!(shown.contains("the newest file of teams is not in use: teams.a\\u{7}\n"), "{shown}");
    assert_eq!(cli.json("teams shop")["cpu_weight"], 3);
}

#[test]
fn a_host_does_not_start_with_a_file_of_teams_that_is_not_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, part) in [
        (Some("teams: {shop: {transform_max: 1}}"), "teams.shop"),
        (Some("defaults: {cpu_weight: 0}"), "defaults.cpu_weight is 0"),
        (Some(""), "empty"),
        (None, "cannot be read"),
    ] {
        let file = folder.path().join("teams.yaml");
        match text {
            Some(text) => std::fs::write(&file, text).expect("writable"),
            None => std::fs::remove_file(&file).expect("there"),
        }
        let ran = RunResult::of(sandbar(folder.path()).args(["dev", "--listen", "127.0.0.1:0", "--teams", "teams.yaml"]));
        let told = ran.err.contains("E061") && ran.err.contains("teams.yaml") && ran.err.contains(part);
        assert!(ran.code == 2 && told, "{text:?}: {ran:?}");
    }
}

#[test]
fn a_running_host_follows_its_file_in_metrics() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("teams.yaml"), "teams: {shop: {cpu_weight: 2}}").expect("writable");
    let dev = Dev::start_with(folder.path(), &["--teams", "teams.yaml", "--team-log-lines-max", "70"]);
    let has = |lines: &[&str]| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = ureq::get(format!("{}/metrics", dev.url)).call().and_then(|mut it| it.body_mut().read_to_string());
            let metrics = answer.expect("metrics");
            if lines.iter().all(|line| metrics.lines().any(|found| found == *line)) {
                return;
            }
            let shown: Vec<_> = metrics.lines().filter(|line| line.contains("team")).collect();
            assert!(Instant::now() < deadline, "{lines:?} are not in {shown:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    has(&[
        "sandbar_team_cpu_weight{team=\"shop\"} 2",
        "sandbar_team_ceiling{ceiling=\"team_log_lines_max\",team=\"shop\"} 70",
        "sandbar_team_used{ceiling=\"transforms_max\",team=\"shop\"} 0",
        "sandbar_team_used{ceiling=\"upload_bytes_per_day_max\",team=\"-\"} 0",
        "sandbar_teams_file_refused 0",
    ]);
    std::fs::write(folder.path().join("teams.yaml"), "teams: {shop: {cpu_weight: 2").expect("writable");
    has(&["sandbar_teams_file_refused 1", "sandbar_team_cpu_weight{team=\"shop\"} 2"]);
    std::fs::write(folder.path().join("next"), "teams: {shop: {cpu_weight: 5, team_log_lines_max: 8}}").expect("writable");
    std::fs::rename(folder.path().join("next"), folder.path().join("teams.yaml")).expect("renamed");
    has(&[
        "sandbar_teams_file_refused 0",
        "sandbar_team_cpu_weight{team=\"shop\"} 5",
        "sandbar_team_ceiling{ceiling=\"team_log_lines_max\",team=\"shop\"} 8",
    ]);
    let log = std::fs::read_to_string(folder.path().join("host.log")).expect("its log");
    assert_eq!(log.matches("E061").count(), 1, "{log}");
}
