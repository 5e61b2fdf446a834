use super::*;
use crate::catalog::encoding::{encode_deployment, encode_revision};

fn deployment() -> Deployment {
    let spec = serde_json::json!({"inputs": ["a"], "outputs": {"o": "b"}});
    Deployment {
        id: "t/n".parse().expect("valid"),
        revision: 7,
        module: Digest::of(b""),
        spec: serde_json::from_value(spec).expect("valid"),
        desired: Desired::Running,
        asked: Generations::default(),
        changed_at: Timestamp(5),
        changes: 9,
        requests: Vec::new(),
        partitions: None,
        signature: None,
        rest: serde_json::Map::new(),
        unread: None,
    }
}

#[test]
fn a_deployment_reads_back() {
    let mut fold = Deployments::default();
    fold.apply(&encode_deployment(&deployment(), Timestamp(5))).expect("readable");
    assert_eq!(fold.snapshot()[&deployment().id], deployment());
}

#[test]
fn foreign_records_are_refused_and_change_nothing() {
    let good = encode_deployment(&deployment(), Timestamp(5));
    let mut fold = Deployments::default();
    fold.apply(&good).expect("readable");
    for (key, value) in [
        (None, good.value.clone()),
        (Some(vec![0xff]), good.value.clone()),
        (Some(b"no-slash".to_vec()), good.value.clone()),
        (Some(b"t/other".to_vec()), good.value.clone()),
        (Some(b"t/n".to_vec()), Some(b"hello".to_vec())),
        (Some(b"t/n".to_vec()), Some(b"{}".to_vec())),
        (Some(b"t/n@".to_vec()), Some(b"{}".to_vec())),
        (Some(b"t/n@x".to_vec()), None),
        (Some(b"t/n@8".to_vec()), encode_revision(&deployment().to_revision(), Timestamp(5)).value),
    ] {
        let record = LogRecord { key, value, ..good.clone() };
        fold.apply(&record).expect_err(&format!("{record:?}"));
    }
    assert_eq!(fold.snapshot()[&deployment().id], deployment());
}

#[test]
fn a_revision_has_its_bytes_whether_it_is_understood_or_not() {
    let Deployment { id, .. } = deployment();
    let written = encode_revision(&deployment().to_revision(), Timestamp(5));
    let newer = LogRecord { value: Some(br#"{"version": 2}"#.to_vec()), ..written.clone() };
    let ended = LogRecord { value: None, ..written.clone() };
    let mut fold = Deployments::default();
    for (record, understood, unread) in
        [(&written, 1, 0), (&newer, 0, 1), (&written, 1, 0), (&newer, 0, 1), (&ended, 0, 0), (&written, 1, 0)]
    {
        fold.apply(record).expect("readable");
        let bytes = record.value.as_ref().map_or(0, |value| value.len() as u64);
        assert_eq!(fold.revision_bytes(&id.team), bytes, "{record:?}");
        assert_eq!((fold.understood(&id).count(), fold.unread(&id).count()), (understood, unread), "{record:?}");
        assert_eq!((fold.revision(&id, 7).is_some(), fold.is_understood()), (understood == 1, unread == 0), "{record:?}");
    }
    assert_eq!(fold.revision_bytes(&"t0".parse().expect("valid")), 0);
}

#[test]
fn a_module_is_kept_by_the_revisions_of_live_transforms() {
    let modules = [deployment().module, Digest::of(b"other")];
    let [own, foreign] = ["t", "u"].map(|name| name.parse::<TeamName>().expect("valid"));
    let mut fold = Deployments::default();
    fold.apply(&encode_revision(&deployment().to_revision(), Timestamp(5))).expect("readable");
    let next = Deployment { revision: 8, module: modules[1], ..deployment() };
    for (desired, is_kept) in [(Desired::Running, true), (Desired::Paused, true), (Desired::Deleted, false)] {
        let next = Deployment { desired, ..next.clone() };
        fold.apply(&encode_deployment(&next, Timestamp(6))).expect("readable");
        for module in modules {
            assert_eq!(fold.keeps(Some(&own), &module), is_kept, "{desired:?}");
            assert_eq!((fold.keeps(None, &module), fold.keeps(Some(&foreign), &module)), (is_kept, false), "{desired:?}");
            assert!(fold.uses(&own, &module) && !fold.uses(&foreign, &module), "a deletion can be taken back");
        }
    }
}

#[test]
fn a_cleared_key_keeps_its_revision() {
    let mut fold = Deployments::default();
    fold.apply(&encode_deployment(&deployment(), Timestamp(5))).expect("readable");
    fold.apply(&LogRecord { value: None, ..encode_deployment(&deployment(), Timestamp(5)) }).expect("readable");
    let deployment = fold.snapshot()[&deployment().id].clone();
    assert_eq!((deployment.revision, deployment.desired), (7, Desired::Deleted));
}
