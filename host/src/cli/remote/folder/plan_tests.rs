use super::super::content::{DesiredModule, labelled};
use super::super::show;
use super::*;
use crate::model::spec::RawSpec;
use crate::model::yaml;

const OWN: &str = "shop";

fn spec(text: &str) -> RawSpec {
    yaml::one(text.as_bytes()).expect(text)
}

fn id(name: &str) -> TransformId {
    format!("a/{name}").parse().expect("valid")
}

/// The content that an apply of a folder gives to a transform.
fn applied(name: &str, text: &str, folder: &str) -> RawSpec {
    labelled(spec(text), &id(name), &Digest::of(b"module"), &folder.parse().expect("valid"))
}

fn want(name: &str, text: &str) -> Desired {
    let module = DesiredModule { digest: Digest::of(b"module"), local: None };
    Desired { id: id(name), file: format!("{name}.yaml").into(), spec: applied(name, text, OWN), module }
}

fn past(revision: u64, folder: Option<&str>, is_rollback: bool) -> PastRevision {
    let folder = folder.map(str::to_owned);
    PastRevision { revision, folder, changed_at: "then".into(), changed_by: Some("anna".into()), is_rollback }
}

/// A transform whose newest revisions were of these folders.
fn deployed(name: &str, spec: RawSpec, folders: &[Option<&str>]) -> Deployed {
    let revision = folders.len() as u64;
    let history = folders.iter().enumerate().map(|(older, folder)| past(revision - older as u64, *folder, false));
    Deployed { id: id(name), revision, spec, history: history.collect() }
}

/// Plans for one transform `a/x`, whose spec in the folder is `text`.
#[track_caller]
fn check(text: &str, found: Option<Deployed>, takes_over: bool, expected: &str) {
    let folder = OWN.parse().expect("valid");
    let desired = [want("x", text)];
    let deployed = found.into_iter().map(|found| (found.id.clone(), found)).collect();
    let cluster = Cluster { deployed, labelled: Vec::new() };
    let shown = show::text(&plan(&folder, &desired, &cluster, takes_over));
    let (shown, _) = shown.split_once("folder shop:").expect("a summary");
    assert_eq!(shown.trim_end(), expected);
}

#[test]
fn a_spec_without_a_transform_is_created() {
    check(
        "inputs: [t]\nworkers: 2",
        None,
        false,
        "a/x: create (x.yaml), module 120970d81283\n  + inputs: [\"t\"]\n  + workers: 2",
    );
}

#[test]
fn a_key_of_a_config_forges_no_line() {
    let expected = "a/x: create (x.yaml), module 120970d81283\n  + config.k\\na/y: create: 1";
    check(r#"config: {"k\na/y: create": 1}"#, None, false, expected);
}

#[test]
fn equal_content_is_no_change() {
    let found = || Some(deployed("x", applied("x", "workers: 2", OWN), &[Some(OWN)]));
    check("workers: 2", found(), false, "");
    // However it is written.
    check("workers: 2\ncommit_interval: 100ms\nlimits: {memory: 65536KiB}", found(), false, "");
    // A rollback to it by hand too.
    let back = Deployed { history: vec![past(2, Some(OWN), true)], revision: 2, ..found().expect("there") };
    check("workers: 2", Some(back), false, "");
}

#[test]
fn a_change_of_the_folder_is_an_update() {
    let found = deployed("x", applied("x", "workers: 2", OWN), &[Some(OWN), None]);
    check("workers: 3", Some(found.clone()), false, "a/x: update of revision 2 (x.yaml)\n  ~ workers: 2 -> 3");
    let other = labelled(spec("workers: 2"), &id("x"), &Digest::of(b"older"), &OWN.parse().expect("valid"));
    let found = Deployed { spec: other, ..found };
    check("workers: 2", Some(found), false, "a/x: update of revision 2 (x.yaml)\n  ~ module: da925a30e31f -> 120970d81283");
}

#[test]
fn a_change_by_hand_is_drift() {
    // The labels were kept, as in a spec that was read from the host.
    let kept = RawSpec { workers: 5, ..applied("x", "workers: 2", OWN) };
    let by_anna = "a/x: drift: revision 2 was changed by hand, by anna at then (x.yaml)\n  ~ workers: 5 -> 2";
    check("workers: 2", Some(deployed("x", kept.clone(), &[Some(OWN), Some(OWN)])), false, by_anna);
    // The labels were left out, as in the folder's own file.
    let bare = RawSpec { labels: Default::default(), ..kept.clone() };
    check("workers: 2", Some(deployed("x", bare.clone(), &[None, Some(OWN)])), false, by_anna);
    // Somebody rolled back.
    let back = deployed("x", applied("x", "workers: 5", OWN), &[Some(OWN), Some(OWN)]);
    let back = Deployed { history: vec![past(2, Some(OWN), true)], ..back };
    let rolled = "a/x: drift: revision 2 was rolled back by hand, by anna at then (x.yaml)\n  ~ workers: 5 -> 2";
    check("workers: 2", Some(back), false, rolled);
    // The history has gone.
    let unknown = "a/x: drift: revision 0 was changed by hand (x.yaml)\n  ~ workers: 5 -> 2";
    check("workers: 2", Some(deployed("x", kept, &[])), false, unknown);
    // The folder has by now the content that was made by hand.
    let caught_up = "a/x: update of revision 2 (x.yaml)\n  the labels alone differ";
    check("workers: 5", Some(deployed("x", bare, &[None, Some(OWN)])), false, caught_up);
}

#[test]
fn a_transform_of_nobody_is_taken_in_and_one_of_another_folder_is_not() {
    let bare = RawSpec { labels: Default::default(), ..applied("x", "workers: 5", OWN) };
    let taken = "a/x: update of revision 1, which no folder has: folder shop takes it in (x.yaml)\n  ~ workers: 5 -> 2";
    check("workers: 2", Some(deployed("x", bare, &[None])), false, taken);
    let theirs = || Some(deployed("x", applied("x", "workers: 5", "stock"), &[Some("stock")]));
    check("workers: 2", theirs(), false, "a/x: revision 1 is of folder stock, and is not changed");
    let over = "a/x: update of revision 1, which is taken over from folder stock (x.yaml)\n  ~ workers: 5 -> 2";
    check("workers: 2", theirs(), true, over);
    // Equal content differs in its label, so it is still theirs.
    check("workers: 5", theirs(), false, "a/x: revision 1 is of folder stock, and is not changed");
}

#[test]
fn transforms_that_left_the_folder_come_last_and_all_is_counted() {
    let folder = OWN.parse().expect("valid");
    let desired = [want("b", "workers: 1"), want("x", "workers: 2")];
    let labelled = [("a", 3), ("x", 1)].map(|(name, revision)| Labelled { id: id(name), revision }).to_vec();
    let found = deployed("x", applied("x", "workers: 2", OWN), &[Some(OWN)]);
    let cluster = Cluster { deployed: [(found.id.clone(), found)].into(), labelled };
    let plan = plan(&folder, &desired, &cluster, false);
    assert_eq!(plan.summary(), Summary { create: 1, prune: 1, unchanged: 1, ..Summary::default() });
    assert!(!plan.summary().is_empty());
    let shown = show::text(&plan);
    let last =
        "a/a: revision 3 left the folder: `sandbar prune` deletes it\nfolder shop: 1 to create, 1 to prune, 1 unchanged\n";
    assert!(shown.ends_with(last), "{shown}");
    let json = serde_json::to_value(show::PlanView::of(&plan)).expect("plain data");
    assert_eq!(json["changes"][0]["action"], "create");
    assert_eq!(json["changes"][2], serde_json::json!({"transform": "a/a", "action": "prune", "revision": 3}));
    assert!(super::plan(&folder, &[], &Cluster::default(), false).summary().is_empty());
}
