use serde_json::json;

use super::*;

/// Records of hosts of version 0.1.
const HOST: &str =
    r#"{"host":"a","url":"http://a:8080","version":"0.1.0","started_at":5,"seen_at":6,"transforms":1,"partitions":2}"#;
const STATUS: &str = r#"{"team":"t","name":"n","state":"degraded","revision":3,"rollout":{"revision":3,"state":"complete"},"host":"a","error":{"code":"E102","message":"it traps","at":7},"partitions":[{"topic":"in","partition":0,"committed_offset":5,"end_offset":9,"lag":4,"state":"running","revision":3,"revision_since":1,"stores":[{"name":"s","entries":1,"bytes":2}]}]}"#;

fn id() -> TransformId {
    "t/n".parse().expect("valid")
}

fn with(json: &str, place: &str, value: Value) -> Vec<u8> {
    let mut all: Value = serde_json::from_str(json).expect("JSON");
    let parent = place.rsplit_once('/').expect("a path").0;
    let parent = if parent.is_empty() { &mut all } else { all.pointer_mut(parent).expect(place) };
    parent[place.rsplit('/').next().expect("a field")] = value;
    all.to_string().into_bytes()
}

#[test]
fn hosts_of_0_1_and_newer_ones_are_there() {
    let host = read_host("a", HOST.as_bytes()).expect("read");
    assert!(host.formats.is_empty() && host.understands(Format::Spec, 1) && !host.understands(Format::Spec, 2));
    for (place, value) in [("/more", json!([1])), ("/format", json!(2)), ("/format", json!(1))] {
        let host = read_host("a", &with(HOST, place, value)).expect(place);
        assert_eq!((host.host.as_str(), host.version.as_str()), ("a", "0.1.0"));
        assert!(host.understands(Format::Spec, 1));
    }
    let newer = json!({"host": "a", "format": 2, "version": "9.0.0", "formats": {"spec": 4}}).to_string();
    let newer = read_host("a", newer.as_bytes()).expect("read");
    assert!(newer.understands(Format::Spec, 4) && !newer.understands(Format::Spec, 5));
    for (place, value) in [("/format", json!("x")), ("/host", json!(7)), ("/transforms", json!(-1))] {
        read_host("a", &with(HOST, place, value)).expect_err(place);
    }
}

#[test]
fn statuses_are_told_as_far_as_they_are_understood() {
    assert_eq!(read_status(&id(), "a", STATUS.as_bytes()).expect("read").partitions.len(), 1);
    for (place, value, state, partitions) in [
        ("/version", json!(2), State::Degraded, 1),
        ("/error/code", json!("E999"), State::Degraded, 1),
        ("/state", json!("hibernating"), State::Unknown, 1),
        ("/partitions/0/state", json!("hibernating"), State::Degraded, 1),
        ("/partitions/0/error", json!({"code": "E999", "message": "", "at": 1}), State::Degraded, 1),
        ("/rollout/state", json!("half"), State::Degraded, 1),
    ] {
        let told = read_status(&id(), "a", &with(STATUS, place, value.clone())).expect(place);
        assert_eq!((told.state, told.revision, told.partitions.len()), (state, 3, partitions), "{place} {value}");
        assert_eq!(told.error.expect("it says so").code, Code::NewerFormat);
    }
    assert!(
        read_status(&id(), "a", &with(STATUS, "/more", json!(1))).expect("read").error.expect("its own").code == Code::Trap
    );
    for (place, value) in
        [("/version", json!("x")), ("/revision", json!(1e300)), ("/revision", json!(null)), ("/partitions", json!(7))]
    {
        read_status(&id(), "a", &with(STATUS, place, value.clone()))
            .map(|told| panic!("{place} {value}: {told:?}"))
            .unwrap_err();
    }
}

#[test]
fn a_state_that_is_not_known_shows_as_unknown() {
    let told = read_status(&id(), "a", &with(STATUS, "/partitions/0/state", json!("hibernating"))).expect("read");
    assert_eq!((told.partitions[0].state, told.partitions[0].lag), (State::Unknown, Some(4)));
    assert_eq!(serde_json::to_value(told.partitions[0].state).expect("plain data"), "unknown");
}
