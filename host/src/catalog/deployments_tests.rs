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
fn a_cleared_key_keeps_its_revision() {
    let mut fold = Deployments::default();
    fold.apply(&encode_deployment(&deployment(), Timestamp(5))).expect("readable");
    fold.apply(&LogRecord { value: None, ..encode_deployment(&deployment(), Timestamp(5)) }).expect("readable");
    let deployment = fold.snapshot()[&deployment().id].clone();
    assert_eq!((deployment.revision, deployment.desired), (7, Desired::Deleted));
}
