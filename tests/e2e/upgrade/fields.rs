//! A field of the spec that 0.1 does not know is refused while a host of 0.1 lives, and accepted once it is gone.

use std::time::{Duration, Instant};

use sandbar_harness::{Api, Seed, wait};
use serde_json::{Value, json};

use crate::load::under_load;
use crate::pair::{HostPair, NAMES, Stop, Version, goes_on};
use crate::workload::{Echo, answered, deploy, deploy_everywhere};

const PATH: &str = "/v1/teams/tests/transforms/echo";
/// A host of 0.1 counts as gone after this time of silence.
const OLDER_SILENT_MAX: Duration = Duration::from_secs(16);
/// The host of 0.1, and the one of this version.
const OLD: usize = 0;
const NEW: usize = 1;

/// Fields that are younger than 0.1.
fn younger() -> [Value; 5] {
    [
        json!({"labels": {"tier": "gold"}}),
        json!({"hosts": 1}),
        json!({"limits": {"log_bytes_per_second": "32KiB"}}),
        json!({"commit_interval": {"min": "50ms", "max": "200ms"}}),
        json!({"config": {"mode": "echo", "tag": {"secret": "env:TAG"}}}),
    ]
}

fn with(spec: &Value, fields: &Value) -> Value {
    let mut spec = spec.clone();
    spec.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
    spec
}

/// The answer to a dry run, with its code; none if it is accepted.
fn refusal(api: &Api, spec: &Value) -> Option<(String, String)> {
    let dry_run = || api.try_send("PUT", &format!("{PATH}?dry_run=true"), &[], spec).expect("the host answers");
    let answer = answered(dry_run);
    let code = answer.json()["code"].as_str().map(str::to_owned);
    code.map(|code| (code, answer.body))
}

/// Waits until the field is refused, or accepted; the time that it took.
#[track_caller]
fn wait_refused(api: &Api, spec: &Value, expected: bool) -> Duration {
    let begun = Instant::now();
    wait::until(&format!("the field is refused: {expected}"), wait::PATIENCE, || match refusal(api, spec) {
        Some((code, body)) => {
            assert_eq!(code, "E058", "{body}");
            if expected { Ok(()) } else { Err(body) }
        }
        None if expected => Err("it is accepted".into()),
        None => Ok(()),
    });
    begun.elapsed()
}

#[test]
fn a_younger_field_waits_for_the_last_old_host() {
    let mut seed = Seed::new("a_younger_field_waits_for_the_last_old_host");
    let echo = Echo::new("upgrade-fields");
    let mut pair = HostPair::start("upgrade-fields", [Version::Old, Version::New]);
    let apis = [pair.api(OLD), pair.api(NEW)];
    let plain = deploy_everywhere(&echo.job, &apis[OLD]);
    let labelled = with(&plain, &younger()[0]);
    under_load(vec![(&echo.job, echo.source())], |_| {
        goes_on(&echo.job);
        for fields in younger() {
            let spec = with(&plain, &fields);
            let answer = answered(|| apis[NEW].try_deploy(&echo.job.transform, &spec));
            assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("E058")), "{fields}: {answer:?}");
            assert!(answer.body.contains(&format!("{} (0.1.0)", NAMES[OLD])), "the host is named: {}", answer.body);
        }
        // 0.1 itself does not take what it cannot read.
        for fields in &younger()[..4] {
            let answer = answered(|| apis[OLD].try_deploy(&echo.job.transform, &with(&plain, fields)));
            assert!((400..500).contains(&answer.status), "{fields}: {answer:?}");
        }
        for api in &apis {
            assert_eq!(api.get(PATH).success().json()["revision"], 1, "nothing was changed");
        }

        std::thread::sleep(seed.duration(Duration::from_secs(2)));
        pair.stop(OLD, Stop::Sigterm);
        let after_stop = wait_refused(&apis[NEW], &labelled, false);
        println!("a younger field is accepted {after_stop:.1?} after the old host was stopped");
        assert!(after_stop < OLDER_SILENT_MAX, "a host that stops says so");

        pair.start_as(OLD, Version::Old);
        wait_refused(&apis[NEW], &labelled, true);
        pair.stop(OLD, Stop::Kill9);
        assert_eq!(refusal(&apis[NEW], &labelled).map(|(code, _)| code), Some("E058".into()), "right after the kill");
        let after_kill = wait_refused(&apis[NEW], &labelled, false);
        println!("a younger field is accepted {after_kill:.1?} after the old host was killed");

        // As soon as the host is back as a new one.
        pair.start_as(OLD, Version::New);
        pair.wait_acquainted();
        wait_refused(&apis[NEW], &labelled, false);
        deploy(&apis[NEW], &echo.job, &labelled);
        wait::until("both show the label", wait::PATIENCE, || {
            let shown = apis.iter().all(|api| api.get(PATH).success().json()["spec"]["labels"]["tier"] == "gold");
            if shown { Ok(()) } else { Err("one does not".into()) }
        });
        echo.job.wait_for_hosts(&apis[OLD], NAMES.len());
        goes_on(&echo.job);
    });
    echo.assert_exact();
}
