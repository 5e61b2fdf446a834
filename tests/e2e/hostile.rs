//! Guests that panic, loop, or eat memory, next to one that behaves.

use std::time::{Duration, Instant};

use sandbar_harness::{Host, KafkaCluster, Message, Record, guests, topics, wait};
use serde_json::json;

use crate::job::{Job, numbered, unchanged};

const RECORDS: usize = 400;
const EVERY: usize = 40;

type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn is_poison(message: &Message) -> bool {
    message.value.as_ref().is_some_and(|value| value.windows(6).any(|word| word == b"poison"))
}

/// Records of every shape, some of them poison: also without a key, and with bytes that are no text.
fn mixed() -> Vec<Message> {
    let message = |i: usize| {
        let value = if i % EVERY == EVERY / 2 { format!("poison {i}\0") } else { format!("fine {i}") };
        let mut message = Message::new(format!("key-{}", i % 7), value).with_header("trace", Some(&[0xff, i as u8]));
        match i % 20 {
            0 => message.key = None,
            1 => message.value = None,
            2 => message.headers.clear(),
            3 => message = message.with_header("trace", None),
            _ => {}
        }
        message.to_partition((i % 2) as i32)
    };
    (0..RECORDS).map(message).collect()
}

fn sorted<'a>(messages: impl Iterator<Item = &'a Message>) -> Vec<Parts> {
    let mut all: Vec<Parts> = messages.map(|it| (it.key.clone(), it.value.clone(), it.headers.clone())).collect();
    all.sort();
    all
}

/// The records as they were sent: without the additions of Sandbar.
fn sorted_read(records: &[Record]) -> Vec<Parts> {
    let own = |headers: &[(String, Option<Vec<u8>>)]| {
        headers.iter().filter(|(name, _)| !name.starts_with("sandbar.")).cloned().collect::<Vec<_>>()
    };
    let mut all: Vec<Parts> = records.iter().map(|it| (it.key.clone(), it.value.clone(), own(&it.headers))).collect();
    all.sort();
    all
}

/// Each poison goes to the dead letters with its reason, everything else comes out once.
#[track_caller]
fn check(job: &Job, messages: &[Message], poison: impl Fn(&Message) -> bool, codes: &[&str]) {
    job.wait_through(2 * wait::PATIENCE);
    let fine = messages.iter().filter(|message| !poison(message));
    assert_eq!(sorted_read(&job.outputs()), sorted(fine), "{}: the output", job.transform);
    let dead = topics::read_committed(job.kafka, &job.dead_letters);
    assert_eq!(
        sorted_read(&dead),
        sorted(messages.iter().filter(|message| poison(message))),
        "{}: the dead letters",
        job.transform
    );
    let input = topics::read_committed(job.kafka, &job.input);
    for letter in &dead {
        let header =
            |name: &str| letter.header(name).unwrap_or_else(|| panic!("{}: no {name} in {letter:?}", job.transform));
        let [code, message] = ["code", "message"].map(|name| header(&format!("sandbar.error.{name}")));
        assert!(codes.contains(&code.as_str()), "{}: {code}: {message}", job.transform);
        assert!(!message.is_empty());
        assert_eq!(header("sandbar.error.transform"), job.transform);
        assert_eq!(header("sandbar.error.revision"), "1");
        assert!(header("sandbar.error.module").starts_with("sha256:"));
        assert_eq!(header("sandbar.error.topic"), job.input);
        let [partition, offset] = ["partition", "offset"].map(|name| header(&format!("sandbar.error.{name}")));
        let source = input.iter().find(|it| it.partition.to_string() == partition && it.offset.to_string() == offset);
        let source = source.unwrap_or_else(|| panic!("{}: {partition}/{offset} is no record", job.transform));
        assert_eq!(
            (&source.key, &source.value),
            (&letter.key, &letter.value),
            "{}: the place is another record's",
            job.transform
        );
    }
}

#[test]
fn poison_becomes_dead_letters_and_the_rest_comes_out_once() {
    let host = Host::start(KafkaCluster::shared(), "hostile");
    let api = host.api();
    let messages = mixed();
    // These two have no need of poison. A guest that fails on everything is run at longer and longer intervals, so
    // there is little for them to do.
    let few = &messages[..12];
    let limits = json!({"limits": {"memory": "16MiB", "batch_time": "200ms", "output_bytes_per_record": "64KiB"}});
    let jobs = [
        ("fail", messages.as_slice(), ["E101"].as_slice()),
        ("panic", &messages, &["E102"]),
        ("loop", &messages, &["E103"]),
        ("memory-bomb", &messages, &["E104"]),
        ("fat-output", few, &["E105"]),
        // Whichever limit it meets first.
        ("output-bomb", few, &["E103", "E104", "E105"]),
    ];
    let jobs = jobs.map(|(mode, messages, codes)| {
        let config = json!({"mode": mode, "bytes": 100_000});
        let job = Job::new("hostile", mode, 2, guests::fixture(), config).with(limits.clone());
        job.deploy(&api);
        job.produce(messages);
        (job, messages, codes)
    });
    let echo = Job::new("hostile", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    echo.deploy(&api);
    echo.produce(&messages);
    check_echo(&echo, &messages);
    for (job, messages, codes) in jobs {
        let all = messages.len() == few.len();
        check(&job, messages, |message| all || is_poison(message), codes);
    }
    assert_eq!(api.get("/healthz").status, 200);
}

#[track_caller]
fn check_echo(echo: &Job, messages: &[Message]) {
    echo.wait_through(wait::PATIENCE);
    assert_eq!(sorted_read(&echo.outputs()), sorted(messages.iter()));
}

#[test]
fn a_neighbour_goes_on_while_others_burn_the_processor() {
    let host = Host::start(KafkaCluster::shared(), "neighbours");
    let api = host.api();
    let echo = Job::new("neighbours", "echo", 4, guests::fixture(), json!({"mode": "echo"}));
    let messages = numbered(60_000, 100);
    echo.deploy(&api);
    echo.produce(&messages[..20_000]);
    echo.wait_through(wait::PATIENCE);
    let through = |part: &[Message]| {
        let started = Instant::now();
        echo.produce(part);
        echo.wait_through(wait::PATIENCE);
        started.elapsed()
    };
    let alone = through(&messages[20_000..40_000]);

    // Each record of these costs a thread 200 ms: together they have work for minutes, while the echo has for seconds.
    let burners = ["burner-a", "burner-b", "burner-c"].map(|name| {
        let job = Job::new("neighbours", name, 1, guests::fixture(), json!({"mode": "loop-all"}))
            .with(json!({"limits": {"batch_time": "200ms"}, "on_error": {"then": "skip"}}));
        job.produce(&numbered(2_000, 10));
        job.deploy(&api);
        job
    });
    for job in &burners {
        wait::until(&format!("{} burns", job.transform), wait::PATIENCE, || {
            if job.progress.total() > 0 { Ok(()) } else { Err("nothing is committed".to_owned()) }
        });
    }
    let beside = through(&messages[40_000..]);
    for job in &burners {
        assert!(job.progress.total() < 2_000, "{} was done too soon to prove anything", job.transform);
    }
    println!("20,000 records: {alone:?} alone, {beside:?} next to three guests that loop");
    assert!(beside < 10 * alone + Duration::from_secs(5), "{alone:?} alone, but {beside:?} next to the others");
    echo.assert_output(&unchanged(&messages));
}
