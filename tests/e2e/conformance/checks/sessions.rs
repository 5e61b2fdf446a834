//! Checks of sessions as consumers: delivery, positions, and sharing of partitions.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use sandbar::model::spec::Start;
use sandbar::ports::{Rebalance, TopicPartition};

use super::{Fixture, PATIENCE, wait_for};

const P0: TopicPartition = TopicPartition { input: 0, partition: 0 };
const P1: TopicPartition = TopicPartition { input: 0, partition: 1 };

pub fn order_is_kept(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 3)?;
    let output = fixture.topic("out", 1)?;
    for part in 0..4 {
        for number in 0..3 {
            fixture.fill(&topic, number, part * 250..(part + 1) * 250)?;
        }
    }
    let mut member = fixture.member("tx", &topic, &[&output])?;
    let seen = member.receive(3000)?;
    for number in 0..3 {
        let of_partition: Vec<_> = seen.iter().filter(|seen| seen.partition.partition == number).collect();
        ensure!(of_partition.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        let values: Vec<_> = of_partition.iter().map(|seen| seen.text()).collect();
        ensure!(values == (0..1000).map(|n| n.to_string()).collect::<Vec<_>>(), "partition {number}");
        let end = member.session.end_offset(TopicPartition { input: 0, partition: number });
        ensure!(end.is_none_or(|end| end > of_partition[999].offset), "partition {number} ends at {end:?}");
    }
    // Records that are sent to one partition keep their order as well.
    member.session.begin()?;
    for n in 0..1000 {
        member.send(0, &format!("k{n}"), &n.to_string())?;
    }
    member.commit("")?;
    wait_for("the output", || Ok(fixture.values(&output, 0)?.len() == 1000))?;
    ensure!(fixture.values(&output, 0)? == (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
    Ok(())
}

pub fn waiting_poll_is_woken(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 1)?;
    let output = fixture.topic("out", 1)?;
    let mut member = fixture.member("tx", &topic, &[&output])?;
    member.join(1)?;
    let log = fixture.log.clone();
    let input = topic.clone();
    let record = super::record(None, Some(b"wake up"));
    let writer = std::thread::spawn(move || log.append(&input, Some(0), vec![record]));
    let start = Instant::now();
    let mut seen = 0;
    while seen == 0 && start.elapsed() < PATIENCE {
        member.session.poll(PATIENCE, 10, &mut |_, _| seen += 1)?;
    }
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    ensure!(seen == 1 && start.elapsed() < PATIENCE / 2, "{seen} records after {:?}", start.elapsed());
    Ok(())
}

pub fn seek_pause_resume(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 2)?;
    let output = fixture.topic("out", 1)?;
    for part in 0..4 {
        fixture.fill(&topic, 0, part * 5..part * 5 + 5)?;
    }
    fixture.fill(&topic, 1, 0..20)?;
    let mut member = fixture.member("tx", &topic, &[&output])?;
    member.join(2)?;
    let first = member.receive(40)?;
    let of_first: Vec<i64> = first.iter().filter(|seen| seen.partition == P0).map(|seen| seen.offset).collect();

    // Back to the middle of one partition: its rest comes once more, in order, and nothing of the other.
    member.seek(P0, of_first[12])?;
    let again = member.receive(8)?;
    let offsets: Vec<i64> = again.iter().map(|seen| seen.offset).collect();
    ensure!(again.iter().all(|seen| seen.partition == P0) && offsets == of_first[12..], "{offsets:?}");

    // And while the rest is fetched but not delivered yet: forwards, then backwards.
    for (from, to) in [(0, 11), (0, 2), (8, 3)] {
        member.seek(P0, of_first[from])?;
        member.receive_few(7)?;
        member.seek(P0, of_first[to])?;
        let offsets: Vec<i64> = member.receive(20 - to)?.iter().map(|seen| seen.offset).collect();
        ensure!(offsets == of_first[to..], "from {from} to {to}: {offsets:?}");
    }

    member.session.pause(P0)?;
    fixture.fill(&topic, 0, 20..30)?;
    fixture.fill(&topic, 1, 20..30)?;
    let others = member.receive(10)?;
    ensure!(others.iter().all(|seen| seen.partition == P1), "a paused partition was delivered");
    member.session.resume(P0)?;
    let resumed: Vec<String> = member.receive(10)?.iter().map(|seen| seen.text()).collect();
    ensure!(resumed == (20..30).map(|n| n.to_string()).collect::<Vec<_>>(), "{resumed:?}");
    Ok(())
}

pub fn start_is_resolved_once(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 1)?;
    let output = fixture.topic("out", 1)?;
    fixture.fill(&topic, 0, 0..10)?;
    let mut options = fixture.options("latest", &topic, &[&output]);
    options.start = Start::Latest;
    options.group += ".latest";
    let mut member = fixture.member_with(&options)?;
    member.join(1)?;
    let first = member.assigned[0].next_offset;
    fixture.fill(&topic, 0, 10..20)?;
    let seen: Vec<String> = member.receive(10)?.iter().map(|seen| seen.text()).collect();
    ensure!(seen == (10..20).map(|n| n.to_string()).collect::<Vec<_>>(), "latest began with {seen:?}");
    // It ends without a commit. Records that came in the meantime must not be skipped.
    drop(member);
    fixture.fill(&topic, 0, 20..30)?;
    let mut member = fixture.member_with(&options)?;
    member.join(1)?;
    ensure!(member.assigned[0].next_offset == first, "first {first}, then {}", member.assigned[0].next_offset);
    let seen: Vec<String> = member.receive(20)?.iter().map(|seen| seen.text()).collect();
    ensure!(seen == (10..30).map(|n| n.to_string()).collect::<Vec<_>>(), "after a restart: {seen:?}");

    let mut member = fixture.member("earliest", &topic, &[&output])?;
    member.join(1)?;
    let seen: Vec<String> = member.receive(30)?.iter().map(|seen| seen.text()).collect();
    ensure!(seen == (0..30).map(|n| n.to_string()).collect::<Vec<_>>(), "earliest began with {seen:?}");
    Ok(())
}

/// Two members share four partitions; one goes, the other takes over. Nobody is without an owner in the end, nobody had
/// two, and committed records are not delivered again.
pub fn shared_and_taken_over(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 4)?;
    let output = fixture.topic("out", 4)?;
    for number in 0..4 {
        fixture.fill(&topic, number, 0..50)?;
    }
    let mut a = fixture.member("a", &topic, &[&output])?;
    a.join(4)?;
    let mut copied = 0;
    wait_for("the first records", || {
        copied += a.copy()?;
        Ok(copied == 200)
    })?;
    let mut b = fixture.member("b", &topic, &[&output])?;
    wait_for("two partitions each", || {
        copied += b.copy()? + a.copy()?;
        let both = (0..4).filter(|&number| {
            let partition = TopicPartition { input: 0, partition: number };
            a.owns(partition) && b.owns(partition)
        });
        ensure!(both.count() == 0, "a partition with two owners");
        Ok(a.owned() == 2 && b.owned() == 2)
    })?;
    ensure!(copied == 200, "{} records came again", copied - 200);
    for number in 0..4 {
        fixture.fill(&topic, number, 50..100)?;
    }
    let mut by_b = 0;
    wait_for("the second records", || {
        by_b += b.copy()?;
        copied += a.copy()?;
        Ok(copied + by_b == 400)
    })?;
    ensure!(by_b == 100, "b had 2 of 4 partitions and copied {by_b} of 200 records");
    drop(a);
    wait_for("the takeover", || {
        by_b += b.copy()?;
        Ok(b.owned() == 4)
    })?;
    for number in 0..4 {
        fixture.fill(&topic, number, 100..150)?;
    }
    wait_for("the third records", || {
        by_b += b.copy()?;
        Ok(copied + by_b == 600)
    })?;
    // Kafka answers a commit before each partition shows it.
    let mut places = BTreeSet::new();
    wait_for("all that was committed", || {
        places.clear();
        for number in 0..4 {
            for value in fixture.values(&output, number)? {
                ensure!(places.insert(value.clone()), "{value} is there twice");
            }
        }
        Ok(places.len() >= 600)
    })?;
    ensure!(places.len() == 600, "{} of 600 records", places.len());
    Ok(())
}

/// A worker that is told to stop may have a change of its partitions before it that it has not carried out.
pub fn ends_unanswered(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 2)?;
    fixture.fill(&topic, 0, 0..10)?;
    let mut first = fixture.member("first", &topic, &[])?;
    let mut change = None;
    wait_for("an assignment", || {
        change = first.poll(&mut Vec::new())?;
        Ok(change.is_some())
    })?;
    drop(first);
    // A revocation is left unanswered, too.
    let mut second = fixture.member("second", &topic, &[])?;
    second.join(2)?;
    let mut third = fixture.member("third", &topic, &[])?;
    wait_for("a revocation", || {
        third.turn(&mut Vec::new())?;
        Ok(matches!(second.poll(&mut Vec::new())?, Some(Rebalance::Revoke(_))))
    })?;
    drop(second);
    third.join(2)?;
    ensure!(third.receive(10)?.len() == 10);
    Ok(())
}
