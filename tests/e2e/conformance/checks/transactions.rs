//! Checks of sessions as transactions: all or nothing, fencing, and crashes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sandbar::model::codes::Code;
use sandbar::model::spec::Delivery;
use sandbar::ports::{ExclusiveError, GroupOffset, PartitionWrite, Rebalance, SessionError};

use super::{Fixture, PATIENCE, record, wait_for, wait_within};

pub fn visible_as_a_whole(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 1)?;
    let left = fixture.topic("left", 1)?;
    let right = fixture.topic("right", 1)?;
    fixture.fill(&topic, 0, 0..10)?;
    let mut member = fixture.member("tx", &topic, &[&left, &right])?;
    member.join(1)?;
    member.receive(10)?;
    member.session.begin()?;
    member.send(0, "k", "to the left")?;
    member.send(1, "k", "to the right")?;
    for topic in [&left, &right] {
        ensure!(fixture.values(topic, 0)?.is_empty(), "{topic} shows what is not committed");
    }
    let committed = member.offsets("rev 7; store 42")[0].clone();
    member.commit("rev 7; store 42")?;
    fixture.wait_for_values(&left, 0, &["to the left"])?;
    fixture.wait_for_values(&right, 0, &["to the right"])?;
    drop(member);
    let mut member = fixture.member("tx", &topic, &[&left, &right])?;
    member.join(1)?;
    let at = &member.assigned[0];
    ensure!((at.next_offset, &*at.metadata) == (committed.next_offset, "rev 7; store 42"), "{at:?}, not {committed:?}");
    Ok(())
}

pub fn abort_leaves_nothing(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 1)?;
    let output = fixture.topic("out", 1)?;
    fixture.fill(&topic, 0, 0..10)?;
    let mut member = fixture.member("tx", &topic, &[&output])?;
    member.join(1)?;
    let start = member.assigned[0].next_offset;
    member.receive(10)?;
    for attempt in 0..3 {
        member.session.begin()?;
        member.send(0, "k", &format!("aborted {attempt}"))?;
        member.session.abort()?;
    }
    member.session.begin()?;
    member.send(0, "k", "committed")?;
    member.session.commit(&[])?;
    fixture.wait_for_values(&output, 0, &["committed"])?;
    drop(member);
    // No offset was committed, so everything comes again.
    let mut member = fixture.member("tx", &topic, &[&output])?;
    member.join(1)?;
    ensure!(member.assigned[0].next_offset == start, "{:?}", member.assigned);
    ensure!(member.receive(10)?[0].text() == "0");
    Ok(())
}

pub fn at_least_once(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 1)?;
    let output = fixture.topic("out", 1)?;
    fixture.fill(&topic, 0, 0..100)?;
    let mut options = fixture.options("alo", &topic, &[&output]);
    options.delivery = Delivery::AtLeastOnce;
    let mut member = fixture.member_with(&options)?;
    let mut copied = 0;
    wait_for("100 records", || {
        copied += member.copy()?;
        Ok(copied == 100)
    })?;
    let next = member.offsets("");
    ensure!(next.is_empty(), "everything is committed, but {next:?}");
    drop(member);
    wait_for("the output", || Ok(fixture.values(&output, 0)?.len() == 100))?;
    let mut member = fixture.member_with(&options)?;
    member.join(1)?;
    ensure!(member.assigned[0].metadata == "copy" && member.assigned[0].next_offset >= 100, "{:?}", member.assigned);
    Ok(())
}

pub fn newer_session_fences(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 1)?;
    let output = fixture.topic("out", 1)?;
    fixture.fill(&topic, 0, 0..10)?;
    let mut zombie = fixture.member("tx", &topic, &[&output])?;
    zombie.join(1)?;
    zombie.receive(10)?;
    zombie.session.begin()?;
    zombie.send(0, "k", "from the zombie")?;
    let mut newer = fixture.member("tx", &topic, &[&output])?;
    let refused = zombie.commit("zombie");
    ensure!(matches!(refused, Err(SessionError::Ended { code: Code::Fenced, .. })), "the zombie's commit: {refused:?}");
    drop(zombie);
    let mut copied = 0;
    wait_for("10 records", || {
        copied += newer.copy()?;
        Ok(copied == 10)
    })?;
    let values = fixture.values(&output, 0)?;
    ensure!(values.len() == 10 && values[0].starts_with("0:"), "{values:?}");
    Ok(())
}

pub fn stale_generation_is_refused(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 2)?;
    let output = fixture.topic("out", 1)?;
    fixture.fill(&topic, 0, 0..10)?;
    fixture.fill(&topic, 1, 0..10)?;
    let mut stale = fixture.member("stale", &topic, &[&output])?;
    stale.join(2)?;
    let mut seen = stale.receive(20)?;
    stale.session.begin()?;
    stale.send(0, "k", "from a generation that is over")?;
    let mut other = fixture.member("other", &topic, &[&output])?;
    let mut revoked = None;
    wait_for("a revocation", || {
        other.turn(&mut Vec::new())?;
        revoked = stale.poll(&mut seen)?;
        Ok(matches!(revoked, Some(Rebalance::Revoke(_))))
    })?;
    let refused = stale.commit("stale");
    ensure!(matches!(refused, Err(SessionError::Withheld { code: Code::Fenced, .. })), "the stale commit: {refused:?}");
    stale.session.abort()?;
    stale.rewind()?;
    for _ in 0..10 {
        other.turn(&mut Vec::new())?;
    }
    ensure!(other.owned() == 0, "a partition was given on before its owner gave it up");
    stale.follow(revoked.context("a revocation")?)?;
    other.rewind()?;
    let mut copied = 0;
    wait_for("20 records", || {
        copied += stale.copy()? + other.copy()?;
        Ok(copied == 20)
    })?;
    ensure!(stale.owned() == 1 && other.owned() == 1, "{} and {}", stale.owned(), other.owned());
    let values = fixture.values(&output, 0)?;
    ensure!(values.len() == 20 && !values.iter().any(|value| value.starts_with("from")), "{values:?}");
    Ok(())
}

/// Two workers copy while one or the other is dropped in the middle of a transaction, at random.
pub fn crashes_lose_and_repeat_nothing(fixture: &Fixture) -> Result<()> {
    const RECORDS: usize = 4000;
    const CRASHES: usize = 12;
    let mut random = std::time::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_nanos() as u64) | 1;
    println!("     seed {random}");
    let mut dice = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let topic = fixture.topic("in", 4)?;
    let output = fixture.topic("out", 4)?;
    let ids = ["a", "b"];
    let mut members = vec![fixture.member("a", &topic, &[&output])?, fixture.member("b", &topic, &[&output])?];
    let mut appended = 0;
    let mut crashes = 0;
    let mut committed = 0;
    wait_within(8 * PATIENCE, "all records", || {
        if appended < RECORDS {
            let partition = (appended / 50 % 4) as i32;
            fixture.fill(&topic, partition, appended..appended + 50)?;
            appended += 50;
        }
        let unlucky = dice(2) as usize;
        if crashes < CRASHES && appended >= RECORDS / CRASHES * crashes && dice(3) == 0 {
            crashes += 1;
            members[unlucky].begin_copy()?;
            if dice(2) == 0 {
                members[unlucky].session.abort()?;
                members[unlucky].session.begin()?;
                members[unlucky].send(0, "zombie", "from a second transaction")?;
            }
            // Opened before the old one is dropped: fenced. Or after: left behind.
            if dice(2) == 0 {
                members[unlucky] = fixture.member(ids[unlucky], &topic, &[&output])?;
            } else {
                drop(members.remove(unlucky));
                members.insert(unlucky, fixture.member(ids[unlucky], &topic, &[&output])?);
            }
        }
        for member in &mut members {
            committed += member.copy()?;
        }
        Ok(committed >= RECORDS && crashes == CRASHES)
    })?;
    drop(members);
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..4 {
        for value in fixture.values(&output, number)? {
            let number = value.split(' ').nth(1).unwrap_or(&value).to_owned();
            *found.entry(number).or_default() += 1;
        }
    }
    let lost = (0..RECORDS).filter(|n| !found.contains_key(&n.to_string())).count();
    let repeated = found.values().filter(|&&n| n > 1).count();
    ensure!(lost == 0 && repeated == 0, "{lost} lost, {repeated} repeated of {RECORDS}");
    ensure!(found.len() == RECORDS && committed == RECORDS, "{} found, {committed} committed", found.len());
    Ok(())
}

/// A writer of an id writes one transaction after the other, until a newer one takes over.
pub fn writer_goes_on_until_fenced(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("notes", 1)?;
    let write = |value: &str| {
        let records = vec![record(Some(b"key"), Some(value.as_bytes()))];
        [PartitionWrite { topic: topic.clone(), partition: 0, records }]
    };
    ensure!(fixture.log.written_end(&topic, 0)? == 0);
    let mut first = fixture.log.exclusive(&fixture.prefix)?;
    let mut again = 0;
    let values: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    for value in &values {
        first = match first.commit(&write(value))? {
            Some(writer) => {
                again += 1;
                writer
            }
            // A commit on a busy machine may be slow: then nothing rules out that a request is on its way.
            None => fixture.log.exclusive(&fixture.prefix)?,
        };
        let last = fixture.read_all(&topic, 0)?.last().context("a record")?.offset;
        ensure!(fixture.log.written_end(&topic, 0)? == last + 1);
    }
    let second = fixture.log.exclusive(&fixture.prefix)?;
    let fenced = first.commit(&write("of the older one"));
    ensure!(matches!(fenced, Err(ExclusiveError::Fenced(_))), "{:?}", fenced.err());
    second.commit(&write("last"))?;
    ensure!(again > 0, "no writer was used again");
    let values: Vec<&str> = values.iter().map(String::as_str).chain(["last"]).collect();
    fixture.wait_for_values(&topic, 0, &values)
}

/// A transaction in parts, with offsets of several groups, ends as one; dropped or fenced it leaves nothing.
pub fn bulk_is_whole(fixture: &Fixture) -> Result<()> {
    const TIME_MAX: Duration = Duration::from_secs(300);
    let input = fixture.topic("in", 1)?;
    let notes = fixture.topic("notes", 2)?;
    let groups = ["first", "second"].map(|group| format!("{}.{group}", fixture.prefix));
    let part = |partition: i32, value: &str| {
        let records = vec![record(Some(b"key"), Some(value.as_bytes()))];
        PartitionWrite { topic: notes.clone(), partition, records }
    };
    let offset = |next_offset| [GroupOffset { topic: input.clone(), partition: 0, next_offset, metadata: "m".to_owned() }];
    let is_untouched = || -> Result<bool> {
        let mut all = fixture.values(&notes, 0)?;
        all.extend(fixture.values(&notes, 1)?);
        for group in &groups {
            all.extend(fixture.log.group_offsets(group, std::slice::from_ref(&input))?.into_iter().map(|it| it.metadata));
        }
        Ok(all.is_empty())
    };
    fixture.fill(&input, 0, 0..9)?;
    // Dropped.
    let mut bulk = fixture.log.bulk(&fixture.prefix, TIME_MAX)?;
    bulk.write(part(0, "dropped"))?;
    bulk.write_offsets(&groups[0], &offset(1))?;
    drop(bulk);
    ensure!(is_untouched()?, "a dropped bulk left something");
    // Fenced by the writer of a short transaction.
    let mut bulk = fixture.log.bulk(&fixture.prefix, TIME_MAX)?;
    bulk.write(part(1, "fenced"))?;
    drop(fixture.log.exclusive(&fixture.prefix)?);
    let fenced = bulk.write(part(0, "fenced")).and_then(|()| bulk.commit());
    ensure!(matches!(fenced, Err(ExclusiveError::Fenced(_))), "{fenced:?}");
    ensure!(is_untouched()?, "a fenced bulk left something");
    // Committed.
    let mut bulk = fixture.log.bulk(&fixture.prefix, TIME_MAX)?;
    for (partition, value) in [(0, "1"), (1, "2"), (0, "3")] {
        bulk.write(part(partition, value))?;
    }
    bulk.write_offsets(&groups[0], &offset(4))?;
    bulk.write_offsets(&groups[1], &offset(5))?;
    ensure!(fixture.values(&notes, 0)?.is_empty(), "a bulk shows what is not committed");
    bulk.commit()?;
    fixture.wait_for_values(&notes, 0, &["1", "3"])?;
    fixture.wait_for_values(&notes, 1, &["2"])?;
    for (group, next_offset) in groups.iter().zip([4, 5]) {
        ensure!(fixture.log.group_offsets(group, std::slice::from_ref(&input))? == offset(next_offset), "{group}");
    }
    Ok(())
}
