//! Checks of [`sandbar::ports::Log`] without sessions.

use std::time::Duration;

use anyhow::{Result, ensure};
use sandbar::model::murmur2::partition_for;
use sandbar::ports::{LogError, LogRecord, NewTopic, ProducerRecord};

use super::{Fixture, NOW, PATIENCE, record, wait_for};

pub fn created_once_and_listed(fixture: &Fixture) -> Result<()> {
    let log = &fixture.log;
    let missing = fixture.name("missing")?;
    ensure!(matches!(log.topic(&missing), Err(LogError::NoTopic(_))), "a missing topic: {:?}", log.topic(&missing));
    let topic = fixture.topic("t", 4)?;
    // Again, and with another number: it is left as it is.
    log.create_topic(&NewTopic { name: topic.clone(), partitions: 7, compacted: false, retention: None })?;
    ensure!(log.topic(&topic)?.partitions == 4);
    ensure!(log.topic(&topic)?.record_bytes_max >= 100_000);
    let compacted = NewTopic { name: fixture.name("c")?, partitions: 1, compacted: true, retention: None };
    log.create_topic(&compacted)?;
    wait_for("both in the list", || {
        let topics = log.topics()?;
        let has = |name, partitions| topics.iter().any(|(found, info)| found == name && info.partitions == partitions);
        Ok(has(&topic, 4) && has(&compacted.name, 1))
    })?;
    let (start, end) = log.offsets(&topic, 3)?;
    ensure!(start == end, "an empty partition: {start} to {end}");
    ensure!(log.read(&topic, 4, 0, Duration::ZERO, 1000).is_err(), "there is no partition 4");
    Ok(())
}

pub fn payloads_read_back_exactly(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 1)?;
    let output = fixture.topic("out", 1)?;
    let binary: Vec<u8> = (0..=255).collect();
    let headers = |raw: &[(&str, Option<&[u8]>)]| {
        raw.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect::<Vec<_>>()
    };
    let sent: Vec<LogRecord> = [
        (Some(&b"key"[..]), Some(&b"value"[..]), headers(&[])),
        (None, Some(b"null key"), headers(&[("h", Some(b"1"))])),
        (Some(b""), Some(b"empty key"), headers(&[("h", Some(b"1")), ("h", Some(b"2")), ("g", Some(b"3"))])),
        (Some(b"null value"), None, headers(&[("null", None)])),
        (Some(b"empty value"), Some(b""), headers(&[("empty", Some(b""))])),
        (None, None, headers(&[])),
        (Some(&binary), Some(&binary), headers(&[("binary", Some(&binary)), ("ümlaut", Some(b"x"))])),
        (Some(b"large"), Some(&[7; 100_000]), headers(&[])),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, (key, value, headers))| LogRecord { timestamp: *NOW + i as i64, headers, ..record(key, value) })
    .collect();
    fixture.log.append(&topic, Some(0), sent.clone())?;
    let same = |found: &[LogRecord], by: &str| {
        ensure!(found.len() == sent.len(), "{by}: {} of {} records", found.len(), sent.len());
        for (found, sent) in found.iter().zip(&sent) {
            let found = LogRecord { offset: sent.offset, ..found.clone() };
            ensure!(found == *sent, "{by}: {found:?} instead of {sent:?}");
        }
        Ok(())
    };
    same(&fixture.read_all(&topic, 0)?, "appended and read")?;

    let mut member = fixture.member("tx", &topic, &[&output])?;
    member.join(1)?;
    let polled = member.receive(sent.len())?;
    let polled: Vec<LogRecord> = polled
        .into_iter()
        .map(|seen| LogRecord {
            offset: seen.offset,
            timestamp: seen.timestamp,
            key: seen.key,
            value: seen.value,
            headers: seen.headers,
        })
        .collect();
    same(&polled, "appended and polled")?;

    member.session.begin()?;
    for record in &sent {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let key = record.key.as_deref();
        let value = record.value.as_deref();
        member.session.send(&ProducerRecord {
            topic: 0,
            partition: None,
            key,
            value,
            headers: &headers,
            timestamp: record.timestamp,
        })?;
    }
    member.commit("")?;
    wait_for("the output", || Ok(fixture.read_all(&output, 0)?.len() >= sent.len()))?;
    same(&fixture.read_all(&output, 0)?, "sent and read")
}

pub fn read_in_pages(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("t", 2)?;
    for part in 0..10 {
        fixture.fill(&topic, 1, part * 100..(part + 1) * 100)?;
    }
    let (start, end) = fixture.log.offsets(&topic, 1)?;
    ensure!(end - start >= 1000, "{start} to {end}");
    let bounds = fixture.log.bounds(&topic)?;
    ensure!(bounds == [(0, 0), (start, end)], "{bounds:?}");
    let missing = "there.is.none".parse().expect("valid");
    ensure!(matches!(fixture.log.bounds(&missing), Err(LogError::NoTopic(_))), "a topic that is not there");
    let mut offset = start;
    let mut pages = 0;
    let mut values = Vec::new();
    wait_for("the last page", || {
        let page = fixture.log.read(&topic, 1, offset, Duration::from_secs(1), 2_000)?;
        ensure!(page.next_offset >= offset, "a page goes back from {offset} to {}", page.next_offset);
        let ascending = page.records.iter().zip(offset..).all(|(record, at_least)| record.offset >= at_least);
        ensure!(ascending && page.records.iter().all(|record| record.offset < page.next_offset));
        values.extend(page.records.iter().map(|record| super::text(record.value.as_deref())));
        pages += usize::from(!page.records.is_empty());
        offset = page.next_offset;
        Ok(offset >= page.end_offset)
    })?;
    ensure!(values == (0..1000).map(|n| n.to_string()).collect::<Vec<_>>(), "{} records", values.len());
    ensure!(pages > 5, "2,000 bytes at a time, and {pages} pages");
    let middle = fixture.log.read(&topic, 1, start + 500, PATIENCE, 1)?;
    ensure!(middle.records.first().is_some_and(|record| record.offset >= start + 500));
    let empty = fixture.log.read(&topic, 0, 0, Duration::ZERO, 1000)?;
    ensure!(empty.records.is_empty(), "partition 0 has nothing");
    Ok(())
}

pub fn waiting_read_is_woken(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("t", 1)?;
    let reader = std::thread::spawn({
        let log = fixture.log.clone();
        let topic = topic.clone();
        move || log.read(&topic, 0, 0, PATIENCE, 1000)
    });
    fixture.fill(&topic, 0, 0..1)?;
    let page = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    ensure!(page.records.len() == 1, "{page:?}");
    Ok(())
}

pub fn keys_go_where_java_puts_them(fixture: &Fixture) -> Result<()> {
    const PARTITIONS: i32 = 7;
    let topic = fixture.topic("in", PARTITIONS)?;
    let output = fixture.topic("out", PARTITIONS)?;
    // Keys and hashes of Kafka's own test, so that this does not rest on our murmur2 alone.
    let published = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let others = (0..200).map(|n| format!("customer-{n}"));
    let keys: Vec<String> = published.iter().map(|(key, _)| (*key).to_owned()).chain(others).collect();
    let records = keys.iter().map(|key| record(Some(key.as_bytes()), Some(b"v"))).collect();
    fixture.log.append(&topic, None, records)?;
    let mut member = fixture.member("tx", &topic, &[&output])?;
    member.session.begin()?;
    for key in &keys {
        member.send(0, key, "v")?;
    }
    member.session.commit(&[])?;
    for topic in [&topic, &output] {
        let mut found = Vec::new();
        wait_for("all keys", || {
            found.clear();
            for number in 0..PARTITIONS {
                found.extend(fixture.read_all(topic, number)?.into_iter().map(|record| (number, record.key)));
            }
            Ok(found.len() == keys.len())
        })?;
        for (number, key) in found {
            let key = key.unwrap_or_default();
            let hash = published.iter().find(|(published, _)| published.as_bytes() == key).map(|(_, hash)| *hash);
            let expected =
                hash.map_or_else(|| partition_for(&key, PARTITIONS), |hash: i32| (hash & 0x7fff_ffff) % PARTITIONS);
            ensure!(number == expected, "{topic}: key {:?} is in {number}, not {expected}", String::from_utf8_lossy(&key));
        }
    }
    Ok(())
}
