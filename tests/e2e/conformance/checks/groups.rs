//! Checks of [`sandbar::ports::Groups`], and of where a session begins.

use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use sandbar::model::names::TopicName;
use sandbar::model::spec::Start;
use sandbar::model::units::Timestamp;
use sandbar::ports::{ExclusiveError, GroupOffset, LogError, LogRecord, NoPlace, PartitionWrite, UnplacedPartition};

use super::{Fixture, NOW, record, wait_for};

/// The time of record 0; each next one is a second later, and none of them old enough to be deleted by age.
static FIRST: LazyLock<i64> = LazyLock::new(|| *NOW - 60_000);

/// Records 0 to 9 in partition 0, and nothing in partition 1.
fn filled(fixture: &Fixture) -> Result<TopicName> {
    let topic = fixture.topic("in", 2)?;
    let at = |n: i64| LogRecord { timestamp: *FIRST + 1000 * n, ..record(None, Some(n.to_string().as_bytes())) };
    fixture.log.append(&topic, Some(0), (0..10).map(at).collect())?;
    wait_for("the records", || Ok(fixture.log.offsets(&topic, 0)? == (0, 10)))?;
    Ok(topic)
}

pub fn times_are_looked_up(fixture: &Fixture) -> Result<()> {
    let topic = filled(fixture)?;
    for (at, expected) in [
        (i64::MIN, Some(0)),
        (-1, Some(0)),
        (*FIRST, Some(0)),
        (*FIRST + 1, Some(1)),
        (*FIRST + 9000, Some(9)),
        (*FIRST + 9001, None),
    ] {
        let found = fixture.log.offsets_at(&topic, Timestamp(at))?;
        ensure!(found == [expected, None], "at {at}: {found:?}, expected {expected:?} and an empty partition");
    }
    ensure!(fixture.log.offsets_at(&fixture.name("missing")?, Timestamp(0)).is_err(), "there is no such topic");
    Ok(())
}

pub fn start_means_the_same(fixture: &Fixture) -> Result<()> {
    let topic = filled(fixture)?;
    let output = fixture.topic("out", 1)?;
    let offsets = |of_topic: &[(i32, i64)]| Start::Offsets([(topic.clone(), of_topic.iter().copied().collect())].into());
    for (number, (start, expected)) in [
        (Start::Earliest, [0, 0]),
        (Start::Latest, [10, 0]),
        (Start::At(Timestamp(*FIRST + 4500)), [5, 0]),
        (Start::At(Timestamp(*FIRST + 60_000)), [10, 0]),
        (offsets(&[(0, 7)]), [7, 0]),
        // Out of range: as near as there is.
        (offsets(&[(0, 70), (1, 70)]), [10, 0]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut options = fixture.options(&format!("tx{number}"), &topic, &[&output]);
        options.group += &format!(".{number}");
        options.start = start.clone();
        let mut member = fixture.member_with(&options)?;
        member.join(2)?;
        let mut found: Vec<_> = member.assigned.iter().map(|at| (at.partition.partition, at.next_offset)).collect();
        found.sort_unstable();
        ensure!(found == [(0, expected[0]), (1, expected[1])], "{start:?}: {found:?}");
        // It is committed at once.
        let committed = fixture.log.group_offsets(&options.group, std::slice::from_ref(&topic))?;
        let committed: Vec<_> = committed.iter().map(|offset| (offset.partition, offset.next_offset)).collect();
        ensure!(committed == found, "{start:?}: {committed:?} committed, {found:?} assigned");
    }
    Ok(())
}

pub fn offsets_are_moved_from_outside(fixture: &Fixture) -> Result<()> {
    let topic = filled(fixture)?;
    let output = fixture.topic("out", 1)?;
    let log = &fixture.log;
    let topics = std::slice::from_ref(&topic);
    let options = fixture.options("tx", &topic, &[&output]);
    let group = options.group.as_str();
    let offset = |partition, next_offset, metadata: &str| GroupOffset {
        topic: topic.clone(),
        partition,
        next_offset,
        metadata: metadata.to_owned(),
    };
    // A group that nobody has heard of.
    ensure!(log.group_offsets(group, topics)?.is_empty() && log.group_members(group)? == 0);
    log.delete_group(group).context("of a group that does not exist")?;
    log.commit_for_group(group, &[offset(0, 3, "{\"revision\":7}")])?;
    ensure!(log.group_offsets(group, topics)? == [offset(0, 3, "{\"revision\":7}")], "what was committed");

    // A member goes on from there, with the metadata; while it is one, nothing is changed from outside.
    let mut member = fixture.member_with(&options)?;
    member.join(2)?;
    let first = member.assigned.iter().find(|at| at.partition.partition == 0).context("partition 0")?;
    ensure!((first.next_offset, first.metadata.as_str()) == (3, "{\"revision\":7}"), "{first:?}");
    ensure!(log.group_members(group)? == 1, "{} members", log.group_members(group)?);
    let refused = log.commit_for_group(group, &[offset(0, 5, "")]);
    ensure!(matches!(refused, Err(LogError::Refused(_))), "{refused:?}");
    let refused = log.delete_group(group);
    ensure!(matches!(refused, Err(LogError::Refused(_))), "{refused:?}");
    member.session.begin()?;
    member.receive(7)?;
    member.commit("{\"revision\":8}")?;
    drop(member);

    wait_for("an empty group", || Ok(log.group_members(group)? == 0))?;
    let committed = log.group_offsets(group, topics)?;
    ensure!(committed[0] == offset(0, 10, "{\"revision\":8}"), "{committed:?}");
    log.commit_for_group(group, &[offset(0, 6, "{\"revision\":8}"), offset(1, 0, "")])?;
    let mut member = fixture.member_with(&options)?;
    let again: Vec<String> = member.receive(4)?.iter().map(|seen| seen.text()).collect();
    ensure!(again == ["6", "7", "8", "9"], "after going back: {again:?}");
    drop(member);

    // Forgotten, `start` (earliest) decides again.
    wait_for("an empty group", || Ok(log.group_members(group)? == 0))?;
    log.delete_group(group)?;
    ensure!(log.group_offsets(group, topics)?.is_empty(), "{:?}", log.group_offsets(group, topics)?);
    let mut member = fixture.member_with(&options)?;
    ensure!(member.receive(10)?.len() == 10);
    Ok(())
}

/// A broker takes them while the group has members, and not from a writer that another one has replaced.
pub fn first_offsets_come_with_a_record(fixture: &Fixture) -> Result<()> {
    let topic = filled(fixture)?;
    let output = fixture.topic("out", 1)?;
    let notes = fixture.topic("notes", 1)?;
    let options = fixture.options("tx", &topic, &[&output]);
    let group = options.group.as_str();
    let mut member = fixture.member_unbegun(&options)?;
    wait_for("an unplaced partition", || {
        member.turn(&mut Vec::new())?;
        Ok(member.session.unplaced().len() == 2)
    })?;
    ensure!(member.session.unplaced().iter().all(|other| other.reason == NoPlace::Unbegun) && member.assigned.is_empty());
    ensure!(!member.session.finds_places()?);

    let older = fixture.log.exclusive(&fixture.prefix)?;
    let newer = fixture.log.exclusive(&fixture.prefix)?;
    let offset = |next_offset| GroupOffset { topic: topic.clone(), partition: 1, next_offset, metadata: "m".to_owned() };
    let records = vec![record(Some(b"key"), Some(b"note"))];
    let note = || PartitionWrite { topic: notes.clone(), partition: 0, records: records.clone() };
    let fenced = older.commit_with_offsets(&[note()], group, &[offset(7)]);
    ensure!(matches!(fenced, Err(ExclusiveError::Fenced(_))), "{fenced:?}");
    ensure!(fixture.log.group_offsets(group, std::slice::from_ref(&topic))?.is_empty());
    newer.commit_with_offsets(&[note()], group, &[offset(0)]).context("with a member in the group")?;
    ensure!(fixture.log.group_offsets(group, std::slice::from_ref(&topic))? == [offset(0)]);
    ensure!(fixture.read_all(&notes, 0)?.len() == 1);
    ensure!(member.session.finds_places()?, "an offset that came meanwhile");

    // Offsets without a record.
    let older = fixture.log.exclusive(&fixture.prefix)?;
    let newer = fixture.log.exclusive(&fixture.prefix)?;
    let fenced = older.commit_with_offsets(&[], group, &[offset(7)]);
    ensure!(matches!(fenced, Err(ExclusiveError::Fenced(_))), "{fenced:?}");
    newer.commit_with_offsets(&[], group, &[offset(1)]).context("with a member in the group")?;
    ensure!(fixture.log.group_offsets(group, std::slice::from_ref(&topic))? == [offset(1)]);
    ensure!(fixture.read_all(&notes, 0)?.len() == 1);
    Ok(())
}

/// The others of its member are.
pub fn without_a_place_not_read(fixture: &Fixture) -> Result<()> {
    let topic = fixture.topic("in", 4)?;
    let output = fixture.topic("out", 1)?;
    for partition in 0..4 {
        fixture.fill(&topic, partition, 0..10)?;
    }
    let mut options = fixture.options("tx", &topic, &[&output]);
    options.begun = [(topic.clone(), 2)].into();
    let offset =
        |partition, next_offset| GroupOffset { topic: topic.clone(), partition, next_offset, metadata: String::new() };
    fixture.log.commit_for_group(&options.group, &[offset(0, 4), offset(2, 11)])?;
    let mut member = fixture.member_unbegun(&options)?;
    let seen: Vec<String> = member.receive(6)?.iter().map(|seen| seen.text()).collect();
    ensure!(seen == (4..10).map(|n| n.to_string()).collect::<Vec<_>>(), "{seen:?}");
    let mut unplaced: Vec<UnplacedPartition> = member.session.unplaced().to_vec();
    unplaced.sort_by_key(|other| other.partition);
    let reasons: Vec<(i32, NoPlace)> = unplaced.into_iter().map(|other| (other.partition.partition, other.reason)).collect();
    let outside = NoPlace::Outside { next_offset: 11, first: 0, end: 10 };
    ensure!(reasons == [(1, NoPlace::Forgotten), (2, outside), (3, NoPlace::Unbegun)], "{reasons:?}");
    // Nothing hinders the member from giving them up.
    drop(member);
    wait_for("an empty group", || Ok(fixture.log.group_members(&options.group)? == 0))
}
