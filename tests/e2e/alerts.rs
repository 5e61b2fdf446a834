//! The shipped alerts and the dashboard, in a real Prometheus that watches real hosts.
//!
//! Each case makes the condition of one alert, sees it fire for its subject, removes the cause, and sees it resolve. The
//! rules are those of deploy/ with a shorter `for`. A window of an expression cannot be shortened: an alert over the last 10
//! minutes resolves 10 minutes after its cause is gone. So `make test` sees these fire, and `make nightly`, which sets
//! `SANDBAR_ALERTS=all`, sees them resolve too, and makes the conditions that take minutes. With `SANDBAR_ALERTS=hour` the
//! test also waits for the windows of an hour.

mod cases;
mod dashboard;
mod names;
mod night;
mod scene;
mod traffic;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sandbar_harness::{Prometheus, guests, wait};
use serde_json::Value;

use self::scene::Scene;

/// An alert, and how a test makes it.
struct Case {
    alert: &'static str,
    resolves: Resolves,
    provoke: fn(&mut Scene) -> Cause,
}

/// The moment at which an alert resolves, when its cause is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resolves {
    AtOnce,
    /// When the window of its expression has passed.
    AfterWindow,
    /// When a window of an hour has passed.
    AfterAnHour,
}

/// A condition that a test has made.
struct Cause {
    /// The label that names the subject of the alert.
    subject: (&'static str, String),
    remove: Box<dyn FnOnce(&mut Scene)>,
}

/// The longest window below an hour, and a time in which Prometheus notices that it has passed.
const WINDOW_MAX: Duration = Duration::from_secs(15 * 60 + 90);
const HOUR: Duration = Duration::from_secs(60 * 60 + 90);

fn fires(prometheus: &Prometheus, alert: &str, (label, subject): &(&'static str, String)) -> Result<bool, String> {
    let firing = prometheus.firing()?;
    Ok(firing.iter().any(|labels| labels["alertname"] == alert && (subject.is_empty() || labels[*label] == **subject)))
}

/// Rules that Prometheus could not evaluate, or has not evaluated yet.
fn unhealthy(rules: &[Value]) -> Vec<String> {
    rules
        .iter()
        .filter(|rule| rule["health"] != "ok")
        .map(|rule| format!("{}: {}", rule["name"], rule["lastError"]))
        .collect()
}

#[test]
fn alerts_fire_and_resolve_and_the_dashboard_has_data() {
    let which = std::env::var("SANDBAR_ALERTS").unwrap_or_default();
    let is_night = ["all", "hour"].contains(&which.as_str());
    let mut scene = Scene::open();
    let mut cases = if is_night { night::all() } else { Vec::new() };
    cases.extend(cases::all());

    let absent = ("", String::new());
    wait::until("an alert says that no host is known", wait::PATIENCE, || {
        match fires(&scene.prometheus, "SandbarNoHosts", &absent) {
            Ok(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    scene.watch_all();
    // The dashboard shows compilations, too.
    scene.host.api().upload(&guests::field_strip());

    let started = Instant::now();
    let mut provoked = Vec::new();
    for Case { alert, resolves, provoke } in cases {
        let Cause { subject, remove } = provoke(&mut scene);
        println!("{:>4.0?} {alert} for {subject:?} is provoked", started.elapsed());
        provoked.push((alert, resolves, subject, remove));
    }
    let mut fired = BTreeSet::new();
    let patience = if is_night { 4 * wait::PATIENCE } else { wait::PATIENCE };
    wait::until("all alerts fire", patience, || {
        for (alert, _, subject, _) in &provoked {
            if !fired.contains(alert) && fires(&scene.prometheus, alert, subject)? {
                println!("{:>4.0?} {alert} fires", started.elapsed());
                fired.insert(*alert);
            }
        }
        let quiet = provoked.iter().map(|(alert, ..)| *alert).filter(|alert| !fired.contains(alert));
        let quiet: Vec<&str> = quiet.collect();
        if quiet.is_empty() { Ok(()) } else { Err(format!("{quiet:?} do not fire")) }
    });
    scene.assert_steady();
    dashboard::assert_shown(&scene.prometheus);
    wait::until("all rules are evaluated", wait::PATIENCE, || {
        let unhealthy = unhealthy(&scene.prometheus.rules());
        if unhealthy.is_empty() { Ok(()) } else { Err(format!("{unhealthy:?}")) }
    });
    names::assert_clean(&scene.host.api());

    let mut waits = vec![("SandbarNoHosts", Resolves::AtOnce, absent)];
    for (alert, resolves, subject, remove) in provoked {
        remove(&mut scene);
        waits.push((alert, resolves, subject));
    }
    for (alert, resolves, subject) in waits {
        let patience = match resolves {
            Resolves::AtOnce => wait::PATIENCE,
            Resolves::AfterWindow if is_night => WINDOW_MAX,
            Resolves::AfterAnHour if which == "hour" => HOUR,
            Resolves::AfterWindow | Resolves::AfterAnHour => continue,
        };
        wait::until(&format!("{alert} resolves"), patience, || match fires(&scene.prometheus, alert, &subject) {
            Ok(false) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        println!("{:>4.0?} {alert} has resolved", started.elapsed());
    }
    scene.assert_steady();
}
