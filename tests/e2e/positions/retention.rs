//! Retention that deletes records: of a partition that stands still, and of one that is held.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::*;

const CALL: Duration = Duration::from_secs(20);

/// Writes messages in a transaction of its own: a marker follows them.
fn produce_in_transaction(kafka: &KafkaCluster, topic: &str, messages: &[Message]) {
    let mut config = kafka.client();
    config.set("transactional.id", format!("tests.{topic}"));
    let producer: BaseProducer = config.create().expect("valid");
    producer.init_transactions(CALL).expect("Kafka answers");
    producer.begin_transaction().expect("none is open");
    for message in messages {
        let record = BaseRecord::<[u8], [u8]> {
            key: message.key.as_deref(),
            payload: message.value.as_deref(),
            partition: message.partition,
            ..BaseRecord::to(topic)
        };
        producer.send(record).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(CALL).expect("Kafka answers");
    producer.commit_transaction(CALL).expect("Kafka answers");
}

#[test]
fn retention_stops_the_partition_whose_records_it_took() {
    let kafka = KafkaCluster::shared();
    let cluster = "retention";
    let mut host = Host::start(kafka, cluster);
    let job = echo(cluster, "echo", 2, "earliest");
    begin(&host.api(), &job, 2);
    let other = echo(cluster, "other", 2, "earliest").with(json!({"delivery": "at-least-once"}));
    begin(&host.api(), &other, 2);
    let mut expected = [to_partition(0, 0..10), to_partition(1, 0..10)].concat();
    produce_in_transaction(kafka, &job.input, &expected);
    produce_in_transaction(kafka, &other.input, &expected);
    // The marker is passed, and that is committed: by an idle worker too.
    job.wait_through(wait::PATIENCE);
    other.wait_through(wait::PATIENCE);
    assert_eq!(topics::ends(kafka, &job.input), [11, 11]);
    let lags: Vec<Value> = shown(&host.api(), &job).iter().map(|at| at["lag"].clone()).collect();
    assert_eq!(lags, [0, 0]);
    let metadata = shown(&host.api(), &job)[0]["metadata"].as_str().expect("text").to_owned();
    assert!(metadata.contains("\"revision\":1"), "{metadata}");
    produce_in_transaction(kafka, &job.input, &to_partition(0, 10..20));
    expected.extend(to_partition(0, 10..20));
    wait_outputs(&job, &expected);
    // Before the commit, both show an equal end: no work is left.
    wait::until("status and offsets agree", wait::PATIENCE, || {
        let status = partitions(&host.api().status(&job.transform));
        let shown = shown(&host.api(), &job);
        let status = status.get(&0).and_then(|own| own.1);
        let offsets = shown[0]["lag"].as_u64();
        if (status, offsets) == (Some(0), Some(0)) { Ok(()) } else { Err(format!("{status:?} and {offsets:?}")) }
    });
    assert_eq!(host.sigterm_and_wait(), Some(0));
    assert_eq!(job.progress.committed(), [Some(22), Some(11)], "committed at the stop");
    topics::delete_records(kafka, &job.input, 0, 22);
    topics::delete_records(kafka, &job.input, 1, 11);
    host.start_again();
    host.wait_ready();
    wait_for(&host.api(), &job, &[(0, None), (1, None)]);

    // Records that nobody has read are lost: that partition stands still, and names them.
    post(&host.api(), &job, "pause");
    let more = [to_partition(0, 20..30), to_partition(1, 20..30)].concat();
    produce_in_transaction(kafka, &job.input, &more);
    topics::delete_records(kafka, &job.input, 0, 26);
    post(&host.api(), &job, "resume");
    let status = wait_for(&host.api(), &job, &[(0, Some("E225")), (1, None)]).to_string();
    let command = format!("sandbar offsets set {} --offset {}:0:26", job.transform, job.input);
    for named in ["offsets 22 to 25 were deleted", &command] {
        assert!(status.contains(named), "{named}: {status}");
    }
    expected.extend(to_partition(1, 20..30));
    wait_outputs(&job, &expected);
    job.produce(&to_partition(1, 30..35));
    expected.extend(to_partition(1, 30..35));
    wait_outputs(&job, &expected);
    post(&host.api(), &job, "pause");
    set(&host.api(), &job, &[(0, 26)]);
    post(&host.api(), &job, "resume");
    expected.extend(to_partition(0, 24..30));
    wait_outputs(&job, &expected);

    // An offset that the partition does not have any more, or not yet.
    post(&host.api(), &job, "pause");
    let end = topics::ends(kafka, &job.input)[1];
    wait::until("the group is empty", wait::PATIENCE, || {
        let status = host.api().status(&job.transform);
        if partitions(&status).is_empty() { Ok(()) } else { Err(status.to_string()) }
    });
    topics::commit(kafka, &group(cluster, &job), &job.input, 1, end + 5);
    post(&host.api(), &job, "resume");
    let status = wait_for(&host.api(), &job, &[(0, None), (1, Some("E225"))]).to_string();
    assert!(status.contains(&format!("ends at {end}, and the committed offset is {}", end + 5)), "{status}");
}

/// A bad record holds a partition, and retention takes the records after it: nobody reads on behind the gap.
#[test]
fn retention_overtakes_a_partition_that_is_held() {
    let kafka = KafkaCluster::shared();
    let cluster = "overtaken";
    let host = Host::start(kafka, cluster);
    let api = host.api();
    let job = Job::new(cluster, "held", 2, guests::fixture(), json!({"mode": "panic"}));
    let job = job.with(json!({"on_error": {"then": "pause"}}));
    let mut expected = [to_partition(0, 0..3), to_partition(1, 0..3)].concat();
    begin(&api, &job, 2);
    job.produce(&expected);
    wait_outputs(&job, &expected);
    job.produce(&[Message::new("key-0", "poison").to_partition(0)]);
    job.produce(&to_partition(0, 3..8));
    wait::until("a bad record holds partition 0", wait::PATIENCE, || {
        let status = api.status(&job.transform);
        match partitions(&status).get(&0) {
            Some((state, ..)) if state == "paused" => Ok(()),
            _ => Err(status.to_string()),
        }
    });
    topics::delete_records(kafka, &job.input, 0, 6);
    post(&api, &job, "resume");
    let status = wait_for(&api, &job, &[(0, Some("E225")), (1, None)]).to_string();
    assert!(status.contains("offsets 3 to 5 were deleted"), "{status}");
    let more = to_partition(1, 3..6);
    job.produce(&more);
    expected.extend(more);
    wait_outputs(&job, &expected);
    post(&api, &job, "pause");
    set(&api, &job, &[(0, 6)]);
    post(&api, &job, "resume");
    expected.extend(to_partition(0, 5..8));
    wait_outputs(&job, &expected);
}
