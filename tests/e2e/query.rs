//! Looking into a store through any host, and beginning with empty ones.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sandbar_harness::{Api, Host, KafkaCluster, Seed, cli::Cli, wait};
use serde_json::json;

use crate::stateful::{Stateful, Sums, messages, numbers};

const KEYS: u64 = 60;

fn queryable(cluster: &str) -> Stateful {
    let fields = json!({ "state": { "sums": { "queryable": true } } });
    Stateful::new(cluster, 4, json!({"mode": "fold"}), fields)
}

/// The entry of a key, and which host had it; the error where there is none. The client follows where it is sent.
fn entry(api: &Api, stateful: &Stateful, key: &str) -> Result<((i64, i64), String), String> {
    let (team, name) = stateful.job.transform.split_once('/').expect("team/name");
    let answer = api.try_get(&format!("/v1/teams/{team}/transforms/{name}/state/sums/{key}"))?;
    if answer.status != 200 {
        return Err(answer.body);
    }
    let view = answer.json();
    let bytes = BASE64_STANDARD.decode(view["value_base64"].as_str().expect("no JSON, so base64")).expect("base64");
    let host = view["host"].as_str().expect("a host").to_owned();
    Ok((numbers(&String::from_utf8(bytes).expect("text")), host))
}

/// Every key is answered with its committed value. Returns the hosts that answered.
fn ask_for_all(api: &Api, stateful: &Stateful, sums: &Sums) -> Result<BTreeSet<String>, String> {
    let mut hosts = BTreeSet::new();
    for number in 0..KEYS {
        let key = format!("key-{number}");
        match (entry(api, stateful, &key), sums.get(&key)) {
            (Ok((found, host)), Some(sum)) => {
                assert_eq!(found, *sum, "{key}");
                hosts.insert(host);
            }
            (Err(error), None) if error.contains("\"E054\"") => {}
            (Ok(found), None) => panic!("{key} was deleted, and is {found:?}"),
            (Err(error), _) => return Err(format!("{key}: {error}")),
        }
    }
    Ok(hosts)
}

#[test]
fn any_host_answers_for_every_key() {
    let mut seed = Seed::new("any_host_answers_for_every_key");
    let kafka = KafkaCluster::shared();
    let stateful = queryable("query");
    let mut hosts = [(); 2].map(|()| Host::start(kafka, "query"));
    stateful.job.deploy(&hosts[0].api());
    stateful.job.wait_for_hosts(&hosts[0].api(), 2);
    stateful.job.produce(&messages(&mut seed, 5_000, KEYS));
    stateful.job.wait_through(wait::PATIENCE);
    let sums: Sums = stateful.fold_changelog().into_iter().flat_map(|(sums, _)| sums).collect();
    for host in &hosts {
        let answered =
            wait::until_complete("each entry is answered", wait::PATIENCE, || ask_for_all(&host.api(), &stateful, &sums));
        assert_eq!(answered.len(), 2, "each host has a part: {answered:?}");
    }
    hosts[1].kill9();
    wait::until_complete("the host that is left answers for all", wait::PATIENCE, || {
        let answered = ask_for_all(&hosts[0].api(), &stateful, &sums)?;
        if answered.len() == 1 { Ok(()) } else { Err(format!("{answered:?}")) }
    });
}

/// With its offsets where they are the next record begins the state; with these at the beginning it is built again.
#[test]
fn a_state_that_is_reset_begins_empty() {
    let mut seed = Seed::new("a_state_that_is_reset_begins_empty");
    let kafka = KafkaCluster::shared();
    let mut stateful = queryable("state-reset");
    let host = Host::start(kafka, "state-reset");
    let cli = Cli::new("state-reset", &host);
    stateful.job.deploy(&host.api());
    stateful.job.produce(&messages(&mut seed, 5_000, KEYS));
    stateful.job.wait_through(wait::PATIENCE);
    let before = stateful.fold_changelog();
    let id = stateful.job.transform.clone();
    let refused = cli.run(&format!("state reset {id} --yes"));
    assert!(refused.code != Some(0) && refused.err.contains("E033"), "{refused:?}");
    cli.succeeds(&format!("pause {id}"));
    cli.succeeds(&format!("state reset {id} --yes"));
    cli.succeeds(&format!("resume {id}"));
    stateful.job.produce(&[sandbar_harness::Message::new("key-1", "7")]);
    stateful.job.wait_through(wait::PATIENCE);
    wait::until("the entry is of one record", wait::PATIENCE, || match entry(&host.api(), &stateful, "key-1")?.0 {
        (1, 7) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(entry(&host.api(), &stateful, "key-2").is_err_and(|error| error.contains("\"E054\"")));
    assert_eq!(stateful.fold_changelog(), before, "the old changelog is as it was");

    cli.succeeds(&format!("pause {id}"));
    cli.succeeds(&format!("state reset {id} --yes"));
    cli.succeeds(&format!("offsets set {id} --to earliest"));
    cli.succeeds(&format!("resume {id}"));
    stateful.job.wait_through(wait::PATIENCE);
    stateful.changelog += ".2";
    let mut expected: Sums = before.into_iter().flat_map(|(sums, _)| sums).collect();
    let one = expected.entry("key-1".into()).or_default();
    *one = (one.0 + 1, one.1 + 7);
    let rebuilt: Sums = stateful.fold_changelog().into_iter().flat_map(|(sums, _)| sums).collect();
    assert_eq!(rebuilt, expected);
}
