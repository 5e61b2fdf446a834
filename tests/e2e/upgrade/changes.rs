//! A host of 0.1 and one of this version change the same transform, one after the other and at once. Each accepted change is
//! there, and both show the same.

use std::collections::BTreeSet;

use sandbar_harness::{Api, Seed, wait};
use serde_json::{Value, json};

use crate::load::under_load;
use crate::pair::{HostPair, NAMES, Stop, Version, goes_on};
use crate::workload::{Echo, answered, deploy_everywhere};

const PATH: &str = "/v1/teams/tests/transforms/echo";
/// Changes one after the other.
const TURNS: u64 = 16;
/// Changes of each side at once. With all before them fewer than the revisions that are kept.
const RACE: usize = 8;

/// The transform as its accepted changes left it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    desired: &'static str,
    /// The tag of each revision, from the first on.
    tags: Vec<String>,
}

// === impl Expected ===

impl Expected {
    fn view(&self) -> Value {
        json!({"revision": self.tags.len(), "desired": self.desired, "tag": self.tags.last()})
    }

    /// Makes a change through a host, and takes it over.
    #[track_caller]
    fn change(&mut self, api: &Api, kind: u64, spec: &Value) {
        let tags = self.tags.len();
        let (verb, desired) = match kind {
            0 => ("pause", "paused"),
            1 => ("resume", "running"),
            2 if tags > 1 => {
                self.tags.push(self.tags[tags - 2].clone());
                ("rollback", self.desired)
            }
            _ => {
                let tag = format!("turn-{tags}");
                answered(|| api.try_deploy("tests/echo", &tagged(spec, &tag))).success();
                self.tags.push(tag);
                return;
            }
        };
        self.desired = desired;
        answered(|| api.send("POST", &format!("{PATH}/{verb}"), "application/json", b"")).success();
    }
}

fn tagged(spec: &Value, tag: &str) -> Value {
    let mut spec = spec.clone();
    spec["config"]["tag"] = tag.into();
    spec
}

/// The parts of a transform that hosts of both versions show.
fn view(api: &Api) -> Value {
    let shown = api.get(PATH).success().json();
    json!({"revision": shown["revision"], "desired": shown["desired"], "tag": shown["spec"]["config"]["tag"]})
}

/// Each revision, from the first on, with the parts that hosts of both versions show.
fn history(api: &Api) -> Vec<Value> {
    let shown = api.get(&format!("{PATH}/revisions")).success().json();
    let revisions = shown["revisions"].as_array().expect("a list").iter().rev();
    let revision = |summary: &Value| {
        let content = api.get(&format!("{PATH}/revisions/{}", summary["revision"])).success().json();
        json!({
            "revision": summary["revision"], "module": summary["module"], "changed_at": summary["changed_at"],
            "cause": summary["cause"], "rolled_back_to": summary["rolled_back_to"], "tag": content["spec"]["config"]["tag"],
        })
    };
    revisions.map(revision).collect()
}

#[track_caller]
fn wait_views(apis: &[Api], expected: &Value) {
    wait::until(&format!("both hosts show {expected}"), wait::PATIENCE, || {
        let views: Vec<Value> = apis.iter().map(view).collect();
        if views.iter().all(|view| view == expected) { Ok(()) } else { Err(format!("{views:?}")) }
    });
}

/// Deploys through one host, again while others are in the way, and repeats the request through the other host. Returns the
/// revision.
fn deploy_twice(apis: [&Api; 2], spec: &Value, tag: &str) -> u64 {
    let headers = [("idempotency-key", tag)];
    let spec = tagged(spec, tag);
    let [accepted, repeated] = apis.map(|api| {
        wait::until(&format!("an answer to {tag}"), 2 * wait::PATIENCE, || {
            let answer = api.try_send("PUT", PATH, &headers, &spec)?;
            match answer.status {
                503 => Err(answer.body),
                _ => Ok(answer.success().json()["revision"].as_u64().expect("a revision")),
            }
        })
    });
    assert_eq!(accepted, repeated, "a repeated request has the first answer: {tag}");
    accepted
}

#[test]
fn changes_of_both_sides_are_kept() {
    let cluster = "upgrade-changes";
    let mut seed = Seed::new(cluster);
    let echo = Echo::new(cluster);
    let mut pair = HostPair::start(cluster, [Version::Old, Version::New]);
    let apis = [pair.api(0), pair.api(1)];
    let spec = deploy_everywhere(&echo.job, &apis[0]);
    let mut expected = Expected { desired: "running", tags: vec!["first".into()] };
    under_load(vec![(&echo.job, echo.source())], |_| {
        goes_on(&echo.job);
        for turn in 0..TURNS {
            let side = seed.within(0..2) as usize;
            let kind = seed.within(0..5);
            expected.change(&apis[side], kind, &spec);
            println!("turn {turn} through host {}: {expected:?}", NAMES[side]);
            wait_views(&apis, &expected.view());
        }
        expected.change(&apis[0], 1, &spec);
        wait_views(&apis, &expected.view());
        goes_on(&echo.job);

        let raced: BTreeSet<(u64, String)> = std::thread::scope(|scope| {
            let sides = [[&apis[0], &apis[1]], [&apis[1], &apis[0]]].into_iter().zip(NAMES);
            let sides = sides.map(|(order, name)| {
                let spec = &spec;
                scope.spawn(move || {
                    let tags = (0..RACE).map(|number| format!("race-{name}-{number}"));
                    tags.map(|tag| (deploy_twice(order, spec, &tag), tag)).collect::<Vec<_>>()
                })
            });
            let sides: Vec<_> = sides.collect();
            sides.into_iter().flat_map(|side| side.join().expect("no side panics")).collect()
        });
        let first = expected.tags.len() as u64 + 1;
        let numbers: Vec<u64> = raced.iter().map(|(revision, _)| *revision).collect();
        assert_eq!(numbers, (first..first + 2 * RACE as u64).collect::<Vec<_>>(), "each change is a revision of its own");
        expected.tags.extend(raced.into_iter().map(|(_, tag)| tag));
        wait_views(&apis, &expected.view());
        goes_on(&echo.job);
    });
    let histories = [history(&apis[0]), history(&apis[1])];
    assert_eq!(histories[0], histories[1], "both show the same revisions");
    let tags: Vec<&str> = histories[0].iter().filter_map(|revision| revision["tag"].as_str()).collect();
    assert_eq!(tags, expected.tags, "no change is lost");
    println!("{} revisions of both sides", tags.len());
    pair.stop(0, Stop::Sigterm);
    pair.start_as(0, Version::New);
    assert_eq!(history(&apis[0]), histories[0], "nor is it after the upgrade");
    wait_views(&apis, &expected.view());
    echo.assert_exact();
}
