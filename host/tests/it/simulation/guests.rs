//! Simulated guests: a record's value says how its guest behaves. And the right outcome of each record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use sandbar::model::batch::{Batch, Failure, NULL, Output};
use sandbar::model::codes::Code;
use sandbar::model::spec::Then;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, TopicPartition, TrapKind};
use sandbar::state::KeyedState;
use sandbar::task::Settings;

use super::broker::{Header, Input, Sent, partition_of};
use super::changelog::Fold;
use super::clock;

/// The behaviour of a record: the first byte of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Echo,
    Filter,
    /// Becomes two records, for two outputs.
    Two,
    /// Takes 40 ms.
    Slow,
    Trap,
    Timeout,
    Memory,
    /// Fails the call with an error of its own.
    Returned,
    /// Fails alone, by name.
    Row,
    /// Becomes more records than its limit allows.
    Bomb,
    BadSpan,
    /// Becomes a record that its topic does not take.
    Large,
    /// Traps as often as it may be retried, then never again.
    Flaky,
}

use Kind::*;

impl Kind {
    pub const GOOD: [Kind; 4] = [Echo, Filter, Two, Slow];
    pub const BAD: [Kind; 8] = [Trap, Timeout, Memory, Returned, Row, Bomb, BadSpan, Large];
    const ALL: [Kind; 13] = [Echo, Filter, Two, Slow, Trap, Timeout, Memory, Returned, Row, Bomb, BadSpan, Large, Flaky];

    pub fn letter(self) -> u8 {
        b'a' + Self::ALL.iter().position(|&kind| kind == self).expect("listed") as u8
    }

    fn of(value: &[u8]) -> Self {
        Self::ALL[usize::from(value[0] - b'a')]
    }

    /// The code that it fails with, and the message where the host does not make it.
    fn failure(self) -> Option<(Code, Option<&'static str>)> {
        Some(match self {
            Echo | Filter | Two | Slow | Flaky => return None,
            Trap => (Code::Trap, Some("it trapped")),
            Timeout => (Code::Timeout, Some("it took too long")),
            Memory => (Code::Memory, Some("it took too much")),
            Returned | Row => (Code::GuestFailed, Some("it refused")),
            Bomb => (Code::OutputLimit, None),
            BadSpan => (Code::Contract, None),
            Large => (Code::RecordTooLarge, None),
        })
    }
}

/// The quality of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    Good,
    /// Traps on everything: it must never commit.
    Broken,
    /// Traps on records that become two: it may commit on one host and be refused on another.
    Fragile,
}

/// The world that the guests of a run share.
#[derive(Default)]
pub struct World {
    /// Revisions that are not good.
    pub qualities: BTreeMap<u64, Quality>,
    /// Bad records that were mended (as an operator does before he resumes).
    pub healed: BTreeSet<(TopicPartition, i64)>,
    /// The number of traps of each flaky record.
    pub flaked: BTreeMap<(TopicPartition, i64), u32>,
    /// The next instances that cannot be made.
    pub no_instances: u32,
    /// Calls that do not end in time on the clock.
    pub stalls: u32,
    pub retry_attempts: u32,
    /// True if every third tick is refused, after it has written.
    pub ticks_fail: bool,
}

impl World {
    pub fn quality(&self, revision: u64) -> Quality {
        self.qualities.get(&revision).copied().unwrap_or(Quality::Good)
    }

    /// The behaviour of a record under a revision.
    fn kind(&self, value: &[u8], at: (TopicPartition, i64), revision: u64) -> Kind {
        let kind = if self.healed.contains(&at) { Echo } else { Kind::of(value) };
        match (self.quality(revision), kind) {
            (Quality::Broken, _) | (Quality::Fragile, Two) => Trap,
            (_, kind) => kind,
        }
    }
}

pub struct Factory {
    pub world: Arc<Mutex<World>>,
    pub revision: u64,
}

struct Simulated {
    world: Arc<Mutex<World>>,
    revision: u64,
    broken: bool,
    last: Option<(TopicPartition, i64)>,
}

impl GuestFactory for Factory {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let mut world = self.world.lock();
        if world.no_instances > 0 {
            world.no_instances -= 1;
            return Err(GuestError::Host("no memory".into()));
        }
        Ok(Box::new(Simulated { world: self.world.clone(), revision: self.revision, broken: false, last: None }))
    }
}

impl Guest for Simulated {
    fn process(&mut self, batch: &Batch, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        assert!(!self.broken, "an instance that failed is called again");
        assert!(!batch.is_empty(), "an empty batch crosses");
        assert!(self.last.is_none_or(|(partition, _)| partition == call.partition), "two partitions share an instance");
        self.last = Some((call.partition, batch.last_offset()));
        let mut world = self.world.lock();
        if world.stalls > 0 {
            world.stalls -= 1;
            self.broken = true;
            return Err(GuestError::Stalled("the host is busy".into()));
        }
        drop(world);
        let result = self.run(batch, call, state);
        self.broken = result.is_err();
        result
    }

    fn tick(&mut self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        assert!(!self.broken, "an instance that failed is called again");
        check_tick(call.now);
        if self.world.lock().quality(self.revision) == Quality::Broken {
            self.broken = true;
            return Err(GuestError::Trapped { kind: TrapKind::Trap, message: "it trapped".into() });
        }
        let fails = self.world.lock().ticks_fail && call.now.0 / TICK_MS % 3 == 0;
        let key = if fails { b"of a refused tick".to_vec() } else { b"tick".to_vec() };
        state.put(0, key, call.now.0.to_string().into_bytes(), call.now).expect("there is room");
        if fails {
            self.broken = true;
            return Err(GuestError::Returned("it refused".into()));
        }
        Ok(Output::default())
    }

    fn memory_bytes(&self) -> usize {
        1 << 20
    }
}

/// A tick has the time of the wall clock; after that was set back, at most the time that it showed before.
fn check_tick(at: Timestamp) {
    let wall = clock::wall();
    match clock::set_back_ms() {
        0 => assert_eq!(at.0 / TICK_MS, wall.0 / TICK_MS, "a tick comes late by a whole interval"),
        back => assert!((0..=back + TICK_MS).contains(&(at.0 - wall.0)), "a tick of {at:?} at {wall:?}, set back by {back}"),
    }
}

impl Simulated {
    fn run(&self, batch: &Batch, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        let trapped = |kind, message: &str| Err(GuestError::Trapped { kind, message: message.into() });
        let mut output = Output::default();
        for row in 0..batch.len() {
            let value = batch.value(row).expect("every record has a value");
            let at = (call.partition, batch.offset(row));
            let kind = self.world.lock().kind(value, at, self.revision);
            let made = |value| made(value, self.revision);
            let target = (at.1 % 2) as u32;
            // Before it may fail: the writes of a failed record must not stay.
            if !state.stores().is_empty() {
                write(state, batch.key(row), kind, at, call.now);
            }
            clock::advance(i64::from(at.1 % 7 == 0));
            match kind {
                Echo => push(&mut output, batch, row, target, &made(value)),
                Filter => {}
                Two => (0..2).for_each(|target| push(&mut output, batch, row, target, &made(value))),
                Slow => {
                    clock::advance(40);
                    push(&mut output, batch, row, target, &made(value));
                }
                Trap => return trapped(TrapKind::Trap, "it trapped"),
                Timeout => {
                    clock::advance(2000);
                    return trapped(TrapKind::Timeout, "it took too long");
                }
                Memory => return trapped(TrapKind::Memory, "it took too much"),
                Returned => return Err(GuestError::Returned("it refused".into())),
                Row => output.failures.push(Failure { row: row as u32, message: "it refused".into() }),
                Bomb => (0..=RECORDS_PER_INPUT).for_each(|_| push(&mut output, batch, row, target, &made(value))),
                BadSpan => {
                    push(&mut output, batch, row, target, &made(value));
                    *output.values.last_mut().expect("pushed") = 1 << 30;
                }
                Large => push(&mut output, batch, row, target, &vec![b'x'; RECORD_BYTES_MAX + 1]),
                Flaky => {
                    let mut world = self.world.lock();
                    let attempts = world.retry_attempts;
                    let flaked = world.flaked.entry(at).or_default();
                    if *flaked < attempts {
                        *flaked += 1;
                        return trapped(TrapKind::Trap, "it trapped");
                    }
                    push(&mut output, batch, row, target, &made(value));
                }
            }
        }
        Ok(output)
    }
}

/// Writes a record to the state: it is counted, for its input and for all; its key's last offset is kept, unless it is
/// filtered.
fn write(state: &mut KeyedState, key: Option<&[u8]>, kind: Kind, at: (TopicPartition, i64), now: Timestamp) {
    let (counted, last) = keys(at.0, key);
    for counted in counted {
        let before = state.get(0, &counted, now).expect("memory does not fail");
        state.put(0, counted, increased(before.as_deref()), now).expect("there is room");
    }
    match kind {
        Filter => state.delete(0, last).expect("memory does not fail"),
        _ => state.put(0, last, at.1.to_string().into_bytes(), now).expect("there is room"),
    }
    let found = state.scan(0, (b"count", Some(b"couot")), 10, now, &mut || true).expect("memory does not fail");
    assert!(!found.is_empty(), "what a call wrote is there to be read");
}

fn keys(at: TopicPartition, key: Option<&[u8]>) -> ([Vec<u8>; 2], Vec<u8>) {
    let last = [format!("last/{}/", at.input).as_bytes(), key.unwrap_or(b"none")].concat();
    ([b"count".to_vec(), format!("count/{}", at.input).into_bytes()], last)
}

fn increased(number: Option<&[u8]>) -> Vec<u8> {
    let number = number.map_or(0, |text| std::str::from_utf8(text).expect("text").parse::<u64>().expect("a number"));
    (number + 1).to_string().into_bytes()
}

/// Adds the writes of a partition's committed records to the right state.
pub fn fold(fold: &mut Fold, records: &[Input], at: TopicPartition, world: &World, revision: u64) {
    for record in records {
        let kind = world.kind(&record.value, (at, record.offset), revision);
        if kind.failure().is_some() {
            continue;
        }
        let (counted, last) = keys(at, record.key.as_deref());
        for counted in counted {
            let before = fold.get(&counted).cloned();
            fold.insert(counted, increased(before.as_deref()));
        }
        match kind {
            Filter => drop(fold.remove(&last)),
            _ => drop(fold.insert(last, record.offset.to_string().into_bytes())),
        }
    }
}

/// Between two ticks, in runs that have them.
pub const TICK_MS: i64 = 5000;
pub const RECORDS_PER_INPUT: u32 = 4;
pub const RECORD_BYTES_MAX: usize = 1000;

fn made(value: &[u8], revision: u64) -> Vec<u8> {
    [b"made of ", value, format!(" by {revision}").as_bytes()].concat()
}

fn push(output: &mut Output, batch: &Batch, row: usize, target: u32, value: &[u8]) {
    let base = batch.data.len();
    let mut span = |bytes: Option<&[u8]>| {
        let Some(bytes) = bytes else { return [NULL, NULL] };
        let start = (base + output.data.len()) as u32;
        output.data.extend_from_slice(bytes);
        [start, start + bytes.len() as u32]
    };
    let key = span(batch.key(row));
    let value = span(Some(value));
    let headers: Vec<u32> =
        batch.headers(row).iter().flat_map(|(name, value)| [span(Some(name.as_bytes())), span(*value)]).flatten().collect();
    output.targets.push(target);
    output.sources.push(row as u32);
    output.keys.extend(key);
    output.values.extend(value);
    output.header_counts.push((headers.len() / 4) as u32);
    output.headers.extend(headers);
}

/// The source of an output or a dead letter, which its value tells: kind, input, partition, offset.
pub fn source_of(value: &[u8]) -> TopicPartition {
    let value = value.strip_prefix(b"made of ").unwrap_or(value);
    let text = std::str::from_utf8(value).expect("values are text");
    let text = text.split_once(" by ").map_or(text, |(source, _)| source);
    let mut numbers = text[1..].split('/').skip(1).map(|part| part.parse::<i32>().expect("a number"));
    let input = numbers.next().expect("input");
    let partition = numbers.next().expect("partition");
    TopicPartition { input: input as u32, partition }
}

/// The right outputs of a record under a revision.
pub fn expected(record: &Input, at: TopicPartition, settings: &Settings, world: &World, revision: u64) -> Vec<Sent> {
    let kind = world.kind(&record.value, (at, record.offset), revision);
    let sent = |topic: usize, value: Vec<u8>, headers: Vec<Header>| {
        let partition = partition_of(record.key.as_deref(), &value);
        Sent { topic, partition, key: record.key.clone(), value, headers, timestamp: record.timestamp }
    };
    if let Some((code, message)) = kind.failure() {
        return match settings.then {
            Then::Skip => Vec::new(),
            Then::Pause => panic!("the record at {} of {at:?} was passed, but it had to pause its partition", record.offset),
            Then::DeadLetter => {
                let mut headers = record.headers.clone();
                let mut own = |name: &str, value: String| {
                    headers.push((format!("sandbar.error.{name}"), Some(value.into_bytes())));
                };
                own("transform", settings.id.to_string());
                own("revision", revision.to_string());
                own("module", settings.module.to_string());
                own("topic", settings.inputs[at.input as usize].to_string());
                own("partition", at.partition.to_string());
                own("offset", record.offset.to_string());
                own("code", code.to_string());
                own("message", message.unwrap_or("*").to_owned());
                vec![sent(settings.dead_letters.expect("there is one"), record.value.clone(), headers)]
            }
        };
    }
    let target = (record.offset % 2) as usize;
    let echo = |topic| sent(topic, made(&record.value, revision), record.headers.clone());
    match kind {
        Filter => Vec::new(),
        Two => vec![echo(0), echo(1)],
        _ => vec![echo(target)],
    }
}
