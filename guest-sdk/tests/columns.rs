//! Seeded random records that pass through the columns.

use sandbar_sdk::prelude::*;
use sandbar_sdk::testing::{Harness, Input, Outcome, json};

#[transform]
fn forward(record: Record<'_>) -> Message<'_> {
    record.forward()
}

#[transform]
fn copy(record: Record<'_>) -> Message<'_> {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let message = Message::new().key(owned(record.key())).value(owned(record.value));
    record.headers().fold(message, |message, header| message.header(header.name.to_owned(), owned(header.value)))
}

#[transform]
fn keep_even(record: Record<'_>) -> Option<Message<'_>> {
    (record.offset() % 2 == 0).then(|| record.forward())
}

#[transform]
fn rekey(record: Record<'_, Option<&str>>) -> Option<Message<'_>> {
    let word = record.value?.split('-').nth(1)?;
    Some(record.forward().key(word))
}

/// Sends value, then fails if there is no key.
#[transform]
fn send_then_fail(record: Record<'_>, out: &mut Output) -> Result<()> {
    let message = || record.forward().header("own", "header").timestamp(5);
    out.send(message())?;
    out.send_json(message(), &json!([1, 2, 3]))?;
    ensure!(record.key().is_some(), "no key");
    Ok(())
}

/// An xorshift generator: a failing test prints the seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        match self.below(4) {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some((0..self.below(30)).map(|_| self.below(256) as u8).collect()),
        }
    }

    fn record(&mut self, headers_max: u64) -> Input {
        Input {
            key: self.bytes(),
            value: self.bytes(),
            headers: (0..self.below(headers_max + 1)).map(|n| (format!("h{}", n % 2), self.bytes())).collect(),
            timestamp_ms: (self.below(3) > 0).then(|| self.below(1 << 40) as i64),
        }
    }
}

/// Runs `check` on random batches, some of which have no header at all.
fn for_random_batches(check: impl Fn(Vec<Input>)) {
    for seed in 1..=200u64 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed));
        let headers_max = random.below(2) * 3;
        let records: Vec<_> = (0..random.below(20)).map(|_| random.record(headers_max)).collect();
        println!("seed {seed}");
        check(records);
    }
}

fn as_inputs(outcome: &Outcome) -> Vec<Input> {
    let input = |sent: &sandbar_sdk::testing::SentMessage| Input {
        key: sent.key.clone(),
        value: sent.value.clone(),
        headers: sent.headers.clone(),
        timestamp_ms: sent.timestamp_ms,
    };
    outcome.messages.iter().map(input).collect()
}

fn bytes_written(outcome: &Outcome) -> usize {
    outcome.messages.iter().map(|sent| sent.bytes_written).sum()
}

#[test]
fn what_is_forwarded_is_the_same_and_copies_nothing() {
    for_random_batches(|records| {
        let outcome = Harness::<forward>::new(json!({})).run(records.clone());
        assert_eq!(as_inputs(&outcome), records);
        assert_eq!(bytes_written(&outcome), 0);
    });
}

#[test]
fn what_is_copied_is_the_same() {
    for_random_batches(|records| {
        let outcome = Harness::<copy>::new(json!({})).run(records.clone());
        assert_eq!(as_inputs(&outcome), records);
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = |input: &Input| input.headers.iter().map(|(name, value)| name.len() + length(value)).sum::<usize>();
        let bytes: usize = records.iter().map(|input| length(&input.key) + length(&input.value) + headers(input)).sum();
        assert_eq!(bytes_written(&outcome), bytes);
    });
}

#[test]
fn a_filter_copies_nothing() {
    for_random_batches(|records| {
        let outcome = Harness::<keep_even>::new(json!({})).run(records.clone());
        let even: Vec<_> = records.iter().step_by(2).cloned().collect();
        assert_eq!(as_inputs(&outcome), even);
        assert!(outcome.messages.iter().enumerate().all(|(index, sent)| sent.source == 2 * index));
        assert_eq!(bytes_written(&outcome), 0);
    });
}

#[test]
fn a_slice_of_the_input_makes_a_key_without_a_copy() {
    let outcome = Harness::<rekey>::new(json!({})).run([Input::text("a-bc-d"), Input::text("a"), Input::tombstone()]);
    assert_eq!(outcome.messages.len(), 1);
    assert_eq!(outcome.messages[0].key.as_deref(), Some(&b"bc"[..]));
    assert_eq!(bytes_written(&outcome), 0);
}

#[test]
fn a_failed_record_takes_back_its_messages_alone() {
    for_random_batches(|records| {
        let outcome = Harness::<send_then_fail>::new(json!({})).run(records.clone());
        let (good, bad): (Vec<_>, Vec<_>) = (0..records.len()).partition(|&row| records[row].key.is_some());
        assert_eq!(outcome.failures.iter().map(|failed| failed.source).collect::<Vec<_>>(), bad);
        assert!(outcome.failures.iter().all(|failed| failed.message == "no key"));
        let expected: Vec<_> = good
            .iter()
            .flat_map(|&row| {
                let mut sent = records[row].clone().header("own", Some(b"header")).timestamp(5);
                let first = sent.clone();
                sent.value = Some(b"[1,2,3]".to_vec());
                [first, sent]
            })
            .collect();
        assert_eq!(as_inputs(&outcome), expected);
    });
}

#[test]
fn rows_without_a_timestamp_of_their_own_keep_their_sources() {
    #[transform]
    fn stamp_second(record: Record<'_>) -> Message<'_> {
        let message = record.forward();
        if record.offset() == 1 { message.timestamp(99) } else { message }
    }
    let records = [Input::text("a").timestamp(7), Input::text("b").timestamp(8), Input::text("c")];
    let outcome = Harness::<stamp_second>::new(json!({})).run(records);
    let timestamps: Vec<_> = outcome.messages.iter().map(|sent| sent.timestamp_ms).collect();
    assert_eq!(timestamps, [Some(7), Some(99), None]);
}
