//! The process of one shape: loops on librdkafka that forward records exactly once.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Shape, output};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a shared transaction waits for the records of other transforms.
const GATHER: Duration = Duration::from_millis(20);

/// Time between two looks for deliveries.
const DELIVERY_LOOK: Duration = Duration::from_millis(1);

/// A record that a transform has read, as its transaction needs it.
struct Read {
    transform: usize,
    value: Vec<u8>,
    offsets: TopicPartitionList,
    group: ConsumerGroupMetadata,
}

/// Runs until it is killed.
pub fn run(shape: Shape, brokers: &str, input: &str, transforms: usize) -> anyhow::Result<()> {
    match shape {
        Shape::Own => {
            let start = |transform| spawn(move |(brokers, input)| own(&brokers, &input, transform), brokers, input);
            (0..transforms).for_each(start);
        }
        Shape::OneProducer => {
            let (sender, reads) = channel();
            for transform in 0..transforms {
                let sender = sender.clone();
                spawn(move |(brokers, input)| read(&brokers, &input, transform, &sender), brokers, input);
            }
            one_producer(brokers, &reads)?;
        }
        Shape::OneOfBoth => one_of_both(brokers, input, transforms)?,
    }
    loop {
        std::thread::park();
    }
}

fn spawn(work: impl FnOnce((String, String)) -> anyhow::Result<()> + Send + 'static, brokers: &str, input: &str) {
    let arguments = (brokers.to_owned(), input.to_owned());
    std::thread::spawn(move || work(arguments).expect("the loop does not end"));
}

fn own(brokers: &str, input: &str, transform: usize) -> anyhow::Result<()> {
    let id = format!("own-{transform}");
    let consumer = consumer(brokers, input, &id)?;
    let mut transactions = None;
    loop {
        if let Some(read) = poll(&consumer, transform)? {
            let producer = match &mut transactions {
                Some(producer) => producer,
                None => transactions.insert(producer(brokers, &id)?),
            };
            commit(producer, Shape::Own, &[read])?;
        }
    }
}

fn read(brokers: &str, input: &str, transform: usize, reads: &Sender<Read>) -> anyhow::Result<()> {
    let consumer = consumer(brokers, input, &format!("one-producer-{transform}"))?;
    loop {
        if let Some(read) = poll(&consumer, transform)? {
            reads.send(read)?;
        }
    }
}

fn one_producer(brokers: &str, reads: &Receiver<Read>) -> anyhow::Result<()> {
    let producer = producer(brokers, "one-producer")?;
    loop {
        let mut gathered = vec![reads.recv()?];
        let end = Instant::now() + GATHER;
        while let Ok(read) = reads.recv_timeout(end.saturating_duration_since(Instant::now())) {
            gathered.push(read);
        }
        commit(&producer, Shape::OneProducer, &gathered)?;
    }
}

fn one_of_both(brokers: &str, input: &str, transforms: usize) -> anyhow::Result<()> {
    let consumer = consumer(brokers, input, "one-of-both")?;
    let producer = producer(brokers, "one-of-both")?;
    loop {
        let Some(read) = poll(&consumer, 0)? else { continue };
        producer.begin_transaction()?;
        (0..transforms).try_for_each(|transform| send(&producer, Shape::OneOfBoth, transform, &read.value))?;
        end(&producer, &[read])?;
    }
}

fn poll(consumer: &BaseConsumer, transform: usize) -> anyhow::Result<Option<Read>> {
    let Some(message) = consumer.poll(Duration::from_secs(5)).transpose()? else { return Ok(None) };
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(message.topic(), message.partition(), Offset::Offset(message.offset() + 1))?;
    let group = consumer.group_metadata().context("it has joined")?;
    Ok(Some(Read { transform, value: message.payload().unwrap_or_default().to_vec(), offsets, group }))
}

fn commit(producer: &BaseProducer, shape: Shape, reads: &[Read]) -> anyhow::Result<()> {
    producer.begin_transaction()?;
    reads.iter().try_for_each(|read| send(producer, shape, read.transform, &read.value))?;
    end(producer, reads)
}

fn send(producer: &BaseProducer, shape: Shape, transform: usize, value: &[u8]) -> anyhow::Result<()> {
    let topic = output(shape.name(), transform);
    producer.send(BaseRecord::<(), [u8]>::to(&topic).payload(value)).map_err(|(error, _)| error.into())
}

/// Commits the records, and the offsets of each group under its membership (KIP-447).
fn end(producer: &BaseProducer, reads: &[Read]) -> anyhow::Result<()> {
    while producer.in_flight_count() > 0 {
        // A poll with less than a millisecond left does not wait at all.
        std::thread::sleep(DELIVERY_LOOK);
        producer.poll(Duration::ZERO);
    }
    for read in reads {
        resumed(|| producer.send_offsets_to_transaction(&read.offsets, &read.group, CALL_TIMEOUT))?;
    }
    resumed(|| producer.commit_transaction(CALL_TIMEOUT))
}

/// Makes a call of a transaction, again for as long as its error is retriable: 200 of them at once take longer than one waits.
fn resumed(mut call: impl FnMut() -> KafkaResult<()>) -> anyhow::Result<()> {
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            ended => return Ok(ended?),
        }
    }
}

/// The properties that matter here are those of a host. A fetch waits longer, as a host's workers fetch nothing in a silence.
fn consumer(brokers: &str, input: &str, group: &str) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "2000")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "latest")
        .set("fetch.wait.max.ms", "5000")
        .create()?;
    consumer.subscribe(&[input])?;
    Ok(consumer)
}

fn producer(brokers: &str, id: &str) -> anyhow::Result<BaseProducer> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", format!("sharing-{id}"))
        .set("linger.ms", "0")
        .set("compression.type", "lz4")
        .create()?;
    resumed(|| producer.init_transactions(CALL_TIMEOUT))?;
    Ok(producer)
}
