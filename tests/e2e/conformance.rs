//! The suite that every log must pass ([`checks`]), over Apache Kafka and over the embedded log ([`embedded`]). A check that
//! needs Kafka's own group protocol follows here.

mod checks;
mod embedded;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar::model::codes::Code;
use sandbar::model::spec::{Delivery, Start};
use sandbar::ports::{
    CommitOffset, Groups, Log, LogRecord, ProducerRecord, Rebalance, Session, SessionError, SessionOptions, TopicPartition,
};
use sandbar_harness::{KafkaCluster, topics, wait};

fn log() -> KafkaLog {
    let brokers = KafkaCluster::shared().brokers().to_owned();
    KafkaLog::new(KafkaConfig { brokers, ..KafkaConfig::default() }).expect("a client")
}

#[test]
fn kafka_conforms() {
    checks::run(Arc::new(log()), "conformance");
}

/// The options of a member of the group `name`, which reads the topic `name.in` and writes to `name.out`.
fn options(name: &str, id: &str) -> SessionOptions {
    let topic = |suffix: &str| format!("{name}.{suffix}").parse().expect("valid");
    SessionOptions {
        group: name.to_owned(),
        transactional_id: format!("{name}.{id}"),
        inputs: vec![topic("in")],
        outputs: vec![topic("out")],
        delivery: Delivery::ExactlyOnce,
        transaction_timeout: sandbar::model::transaction_time::TIMEOUT_MIN,
        start: Start::Earliest,
        begun: BTreeMap::new(),
        co_partitioned: false,
    }
}

/// One poll; a change is carried out.
fn turn(session: &mut dyn Session) -> Option<Rebalance> {
    let change = session.poll(Duration::from_millis(50), 100, &mut |_, _| {}).expect("it goes on");
    match &change {
        Some(Rebalance::Assign(partitions)) => drop(session.assign(partitions).expect("they are its own")),
        Some(Rebalance::Revoke(partitions)) => session.unassign(partitions).expect("they were its own"),
        Some(Rebalance::Lost(partitions)) => panic!("it polls all the time, and lost {partitions:?}"),
        None => {}
    }
    change
}

/// A transaction commits under the membership of its begin. A membership that was fetched at its end would be of a later
/// generation than its work.
#[test]
fn a_transaction_does_not_outlive_its_generation() {
    let kafka = KafkaCluster::shared();
    let log = log();
    let name = "generations";
    topics::create(kafka, &["generations.in", "generations.out"], 2);
    let open = |id: &str| log.open(&options(name, id)).expect("it opens");
    let offset =
        CommitOffset { partition: TopicPartition { input: 0, partition: 0 }, next_offset: 0, metadata: String::new() };
    let begin = |session: &mut dyn Session| {
        session.begin().expect("it begins");
        let record = ProducerRecord { topic: 0, partition: None, key: None, value: Some(b"1"), headers: &[], timestamp: -1 };
        session.send(&record).expect("it is taken");
    };
    let begun = log.start_offsets(&"generations.in".parse().expect("valid"), &Start::Earliest).expect("there");
    log.commit_for_group(name, &begun).expect("nobody is a member");
    let mut first = open("first");
    wait::until("the first member owns both partitions", wait::PATIENCE, || match turn(&mut *first) {
        Some(Rebalance::Assign(partitions)) if partitions.len() == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    begin(&mut *first);
    first.commit(std::slice::from_ref(&offset)).expect("nothing has happened");

    begin(&mut *first);
    let mut second = open("second");
    wait::until("there is a second member", wait::PATIENCE, || {
        turn(&mut *second);
        let members = log.group_members(name).map_err(|error| error.to_string())?;
        if members == 2 { Ok(()) } else { Err(format!("{members}")) }
    });
    // The first one's client follows the group by itself, at its next heartbeat (2 s).
    let followed = Instant::now() + Duration::from_secs(6);
    while Instant::now() < followed {
        turn(&mut *second);
    }
    let refused = first.commit(&[offset]);
    assert!(matches!(refused, Err(SessionError::Withheld { code: Code::Fenced, .. })), "{refused:?}");
    first.abort().expect("it ends");
    let out = topics::read_committed(kafka, "generations.out");
    assert_eq!(out.len(), 1, "of the first transaction, and nothing of the second");
}

/// librdkafka counts an error of a partition as a record: after one its position there is one too far. Where retention has
/// removed exactly that far, such a position would hide the loss of the record.
#[test]
fn a_session_that_is_out_of_range_tells_no_position() {
    const READ: i64 = 3;
    let kafka = KafkaCluster::shared();
    let log = log();
    let name = "out-of-range";
    let input = "out-of-range.in".parse().expect("valid");
    topics::create(kafka, &["out-of-range.in", "out-of-range.out"], 2);
    let write = || {
        let record = LogRecord { offset: 0, timestamp: 1, key: None, value: Some(b"1".to_vec()), headers: Vec::new() };
        log.append(&input, Some(0), vec![record; READ as usize]).expect("appended");
    };
    write();
    let begun = log.start_offsets(&input, &Start::Earliest).expect("there");
    log.commit_for_group(name, &begun).expect("nobody is a member");
    let mut session = log.open(&options(name, "reader")).expect("it opens");
    let partition = TopicPartition { input: 0, partition: 0 };
    let position = |session: &dyn Session| {
        session.consumed_ends().iter().find(|(read, _)| *read == partition).map(|(_, position)| *position)
    };
    wait::until("all is read", wait::PATIENCE, || {
        turn(&mut *session);
        match position(&*session) {
            Some(READ) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    session.pause(partition).expect("it pauses");
    write();
    topics::delete_records(kafka, "out-of-range.in", 0, READ + 1);
    session.resume(partition).expect("it goes on");
    // The error comes in between, and then is the first of a batch.
    std::thread::sleep(Duration::from_secs(2));
    wait::until("it is out of range", wait::PATIENCE, || {
        turn(&mut *session);
        session.interrupted().map(drop).ok_or_else(|| "nothing is told".to_owned())
    });
    for _ in 0..10 {
        turn(&mut *session);
        let told = position(&*session);
        assert!(told.is_none_or(|told| told == READ), "{told:?}");
    }
}
