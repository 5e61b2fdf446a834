//! A broker in memory: input logs with control records, a consumer group with generations and cooperative rebalances,
//! transactions with producer epochs. It holds the invariants: each commit is checked as it becomes visible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use sandbar::model::revision::Progress;
use sandbar::ports::{CommitOffset, Rebalance, TopicPartition};
use sandbar::task::Settings;

use super::changelog::{Changelogs, Fold};
use super::clock;
use super::guests::{Quality, World, expected, fold, source_of};
use super::rng::Rng;

/// A member that did not poll for so long is thrown out.
const SESSION_TIMEOUT_MS: i64 = 60_000;
const TRANSACTION_TIMEOUT_MS: i64 = 90_000;
/// Partitions of each output topic.
const OUTPUT_PARTITIONS: usize = 2;

pub type Header = (String, Option<Vec<u8>>);

/// A record of an input.
#[derive(Debug, Clone)]
pub struct Input {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Vec<Header>,
}

/// An output partition's log may hold records of control, the inputs do: offsets without a record.
#[derive(Default)]
pub struct InputLog {
    pub records: Vec<Input>,
    pub end: i64,
}

impl InputLog {
    pub fn records_from(&self, offset: i64) -> &[Input] {
        &self.records[self.find(offset)..]
    }

    /// Index of the first record at or after `offset`.
    pub fn find(&self, offset: i64) -> usize {
        self.records.partition_point(|record| record.offset < offset)
    }
}

/// A record that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub topic: usize,
    pub partition: usize,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Vec<Header>,
    pub timestamp: i64,
}

/// To be compared, and shown where it differs. What ticks write depends on the time.
fn lines(fold: &Fold) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let timeless = fold.iter().filter(|(key, _)| !key.starts_with(b"tick"));
    timeless.map(|(key, value)| format!("{} = {}", text(key), text(value))).collect()
}

pub fn partition_of(key: Option<&[u8]>, value: &[u8]) -> usize {
    key.unwrap_or(value).iter().map(|&byte| byte as usize).sum::<usize>() % OUTPUT_PARTITIONS
}

#[derive(Debug, Default)]
struct Member {
    /// The generation that it joined: brought up to date inside poll.
    generation: u64,
    owned: BTreeSet<TopicPartition>,
    target: BTreeSet<TopicPartition>,
    seen: i64,
}

#[derive(Default)]
struct Producer {
    epoch: u32,
    open: Option<Transaction>,
}

#[derive(Default)]
pub struct Transaction {
    /// Its own among all.
    id: u64,
    sent: Vec<Sent>,
    offsets: Vec<CommitOffset>,
    since: i64,
    /// The time at which its EndTxn arrives, which is on its way.
    ends_at: Option<i64>,
}

/// Rates of faults, in per mille of calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub calls: usize,
    pub commits: usize,
    pub repeats: usize,
    /// Commits that end in an abort, and nothing else.
    pub aborts: usize,
}

/// See the module.
pub struct Broker {
    pub rng: Rng,
    pub faults: Faults,
    pub settings: Arc<Settings>,
    pub world: Arc<Mutex<World>>,
    pub inputs: BTreeMap<TopicPartition, InputLog>,
    pub outputs: BTreeMap<(usize, usize), Vec<Sent>>,
    committed: BTreeMap<TopicPartition, i64>,
    /// The revisions that processed the records: each with the offset before which it did.
    ran: BTreeMap<TopicPartition, Vec<(i64, u64)>>,
    pub metadata: BTreeMap<TopicPartition, String>,
    pub changelogs: Arc<Mutex<Changelogs>>,
    /// The right state of each partition: the fold of the committed records of its inputs.
    folds: BTreeMap<i32, Fold>,
    transactions: u64,
    /// True if a commit needs the group's newest generation, as after the end of a rebalance. If not, it is only refused
    /// for partitions of another member, as during a rebalance.
    pub strict: bool,
    /// Most records of a partition that a poll hands over.
    pub reads_max: usize,
    /// Sessions whose process died.
    pub crashed: BTreeSet<u64>,
    pub commits: u64,
    generation: u64,
    members: BTreeMap<u64, Member>,
    producers: BTreeMap<String, Producer>,
    sessions: u64,
}

impl Broker {
    pub fn new(rng: Rng, settings: Arc<Settings>, world: Arc<Mutex<World>>, partitions: Vec<TopicPartition>) -> Self {
        Self {
            rng,
            faults: Faults::default(),
            settings,
            world,
            inputs: partitions.into_iter().map(|partition| (partition, InputLog::default())).collect(),
            outputs: BTreeMap::new(),
            committed: BTreeMap::new(),
            ran: BTreeMap::new(),
            metadata: BTreeMap::new(),
            changelogs: Arc::default(),
            folds: BTreeMap::new(),
            transactions: 0,
            strict: true,
            reads_max: 12,
            crashed: BTreeSet::new(),
            commits: 0,
            generation: 0,
            members: BTreeMap::new(),
            producers: BTreeMap::new(),
            sessions: 0,
        }
    }

    /// Time passes: members are thrown out, transactions end.
    pub fn tick(&mut self) {
        let now = clock::ms();
        let before = self.members.len();
        self.members.retain(|_, member| now - member.seen <= SESSION_TIMEOUT_MS);
        if self.members.len() < before {
            self.rebalance();
        }
        for id in self.producers.keys().cloned().collect::<Vec<_>>() {
            let producer = self.producers.get_mut(&id).expect("listed");
            let Some(open) = &producer.open else { continue };
            if open.ends_at.is_some_and(|at| at <= now) {
                self.end(&id, true);
            } else if now - open.since > TRANSACTION_TIMEOUT_MS {
                producer.epoch += 1;
                self.end(&id, false);
            }
        }
    }

    // === The group ===

    /// Deals all partitions out again. Their owners first give up those that move.
    pub fn rebalance(&mut self) {
        self.generation += 1;
        let mut partitions: Vec<TopicPartition> = self.inputs.keys().copied().collect();
        self.rng.shuffle(&mut partitions);
        self.members.values_mut().for_each(|member| member.target.clear());
        let members: Vec<u64> = self.members.keys().copied().collect();
        for (i, partition) in partitions.into_iter().enumerate() {
            // Those of a number share their state, so they go together.
            let i = if self.settings.changelogs.is_empty() {
                i
            } else {
                partition.partition as usize + self.generation as usize
            };
            if let Some(id) = members.get(i % members.len().max(1)) {
                self.members.get_mut(id).expect("listed").target.insert(partition);
            }
        }
    }

    /// Throws a member out, as if it had been away for long.
    pub fn evict(&mut self, session: u64) {
        if self.members.remove(&session).is_some() {
            self.rebalance();
        }
    }

    pub fn leave(&mut self, session: u64) {
        self.evict(session);
    }

    pub fn has_member(&self, session: u64) -> bool {
        self.members.contains_key(&session)
    }

    pub fn owner(&self, partition: TopicPartition) -> Option<u64> {
        self.members.iter().find(|(_, member)| member.owned.contains(&partition)).map(|(&id, _)| id)
    }

    /// The change that the group wants of a member that polls. `holds` are the partitions that it believes to own.
    pub fn next_change(&mut self, session: u64, holds: &BTreeSet<TopicPartition>) -> Option<Rebalance> {
        let is_member = self.members.contains_key(&session);
        if !is_member && !holds.is_empty() {
            return Some(Rebalance::Lost(holds.iter().copied().collect()));
        }
        if !is_member {
            self.members.entry(session).or_default();
            self.rebalance();
        }
        let generation = self.generation;
        let member = self.members.get_mut(&session).expect("joined above");
        member.seen = clock::ms();
        member.generation = generation;
        let revoked: Vec<TopicPartition> = member.owned.difference(&member.target).copied().collect();
        if !revoked.is_empty() {
            return Some(Rebalance::Revoke(revoked));
        }
        let wanted = member.target.clone();
        let free: Vec<TopicPartition> = wanted.into_iter().filter(|&partition| self.owner(partition).is_none()).collect();
        if free.is_empty() {
            return None;
        }
        self.members.get_mut(&session).expect("joined above").owned.extend(free.iter().copied());
        Some(Rebalance::Assign(free))
    }

    pub fn committed_offset(&self, partition: TopicPartition) -> i64 {
        self.committed.get(&partition).copied().unwrap_or(0)
    }

    pub fn released(&mut self, session: u64, partitions: &[TopicPartition]) {
        if let Some(member) = self.members.get_mut(&session) {
            member.owned.retain(|partition| !partitions.contains(partition));
            // The follow-up rebalance that hands them on.
            self.generation += 1;
        }
    }

    pub fn describe_group(&self) -> String {
        format!("generation {} of {:?}, members {:?}", self.generation, self.inputs.keys(), self.members)
    }

    /// The generation of a member, for its next transaction.
    pub fn generation_of(&self, session: u64) -> Option<u64> {
        self.members.get(&session).map(|member| member.generation)
    }

    /// Committed offsets, read as a stable read: it waits for transactions that are about to change them.
    pub fn position(&mut self, partition: TopicPartition) -> i64 {
        loop {
            self.tick();
            let pending = self.producers.values().filter_map(|producer| producer.open.as_ref());
            let waits = pending.filter(|open| open.offsets.iter().any(|offset| offset.partition == partition));
            let until = waits.map(|open| open.ends_at.unwrap_or(open.since + TRANSACTION_TIMEOUT_MS + 1)).min();
            match until {
                Some(until) => clock::advance((until - clock::ms()).max(1)),
                None => return self.committed_offset(partition),
            }
        }
    }

    /// Returns true if no transaction is about to change the committed offset.
    pub fn is_settled(&mut self, partition: TopicPartition) -> bool {
        self.tick();
        let mut pending = self.producers.values().filter_map(|producer| producer.open.as_ref());
        !pending.any(|open| open.offsets.iter().any(|offset| offset.partition == partition))
    }

    // === Transactions ===

    /// Opens a session: fences an earlier one of that id, and aborts its open transaction.
    pub fn open(&mut self, transactional_id: &str) -> (u64, u32) {
        self.tick();
        self.sessions += 1;
        self.producers.entry(transactional_id.to_owned()).or_default();
        self.fence(transactional_id);
        (self.sessions, self.producers[transactional_id].epoch)
    }

    pub fn fence(&mut self, transactional_id: &str) {
        self.producers.get_mut(transactional_id).expect("opened").epoch += 1;
        self.end(transactional_id, false);
    }

    pub fn is_current(&self, transactional_id: &str, epoch: u32) -> bool {
        self.producers[transactional_id].epoch == epoch
    }

    pub fn begin(&mut self, transactional_id: &str) {
        let producer = self.producers.get_mut(transactional_id).expect("opened");
        assert!(producer.open.is_none(), "begin in an open transaction");
        self.transactions += 1;
        producer.open = Some(Transaction { id: self.transactions, since: clock::ms(), ..Transaction::default() });
    }

    pub fn send(&mut self, transactional_id: &str, sent: Sent) {
        let producer = self.producers.get_mut(transactional_id).expect("opened");
        producer.open.as_mut().expect("send outside of a transaction").sent.push(sent);
    }

    /// A record of a changelog: it takes its place at once, like any. Returns one past its offset.
    pub fn send_change(&mut self, transactional_id: &str, partition: i32, key: &[u8], value: Option<&[u8]>, at: i64) -> i64 {
        let open = self.producers[transactional_id].open.as_ref().expect("send outside of a transaction");
        self.changelogs.lock().append(partition, open.id, key, value, at)
    }

    /// Adds the offsets to the transaction, as TxnOffsetCommit does, or says why not.
    pub fn add_offsets(
        &mut self,
        session: u64,
        transactional_id: &str,
        captured: Option<u64>,
        offsets: &[CommitOffset],
    ) -> Result<(), &'static str> {
        let member = self.members.get(&session).ok_or("unknown member")?;
        if self.strict && captured != Some(self.generation) {
            return Err("illegal generation");
        }
        if !self.strict && !offsets.iter().all(|offset| member.owned.contains(&offset.partition)) {
            return Err("not the owner");
        }
        let open = self.producers.get_mut(transactional_id).expect("opened").open.as_mut();
        open.ok_or("no transaction")?.offsets = offsets.to_vec();
        Ok(())
    }

    pub fn end(&mut self, transactional_id: &str, commit: bool) {
        let Some(open) = self.producers.get_mut(transactional_id).expect("opened").open.take() else { return };
        self.changelogs.lock().end(open.id, commit);
        if commit {
            self.apply(open);
        }
    }

    pub fn end_later(&mut self, transactional_id: &str, at: i64) {
        if let Some(open) = &mut self.producers.get_mut(transactional_id).expect("opened").open {
            open.ends_at = Some(at);
        }
    }

    /// A transaction becomes visible: it must hold all that its input became, once and in order, and nothing else.
    fn apply(&mut self, transaction: Transaction) {
        self.commits += 1;
        let Transaction { sent, offsets, .. } = transaction;
        let mut of_sources: BTreeMap<TopicPartition, Vec<Sent>> = BTreeMap::new();
        for one in &sent {
            of_sources.entry(source_of(&one.value)).or_default().push(one.clone());
        }
        for CommitOffset { partition, next_offset, metadata } in offsets {
            let from = self.committed.insert(partition, next_offset).unwrap_or(0);
            let revision = self.check_revision(partition, from, next_offset, &metadata);
            let log = &self.inputs[&partition];
            assert!(next_offset >= from, "{partition:?}: its committed offset goes back from {from} to {next_offset}");
            assert!(next_offset <= log.end, "{partition:?}: committed up to {next_offset}, it ends at {}", log.end);
            let records = &log.records[log.find(from)..log.find(next_offset)];
            let world = self.world.lock();
            let wanted = records.iter().flat_map(|record| expected(record, partition, &self.settings, &world, revision));
            if self.is_stateful() {
                fold(self.folds.entry(partition.partition).or_default(), records, partition, &world, revision);
            }
            let mut wanted: Vec<Sent> = wanted.collect();
            let mut found = of_sources.remove(&partition).unwrap_or_default();
            // Order counts within a topic.
            wanted.sort_by_key(|sent| sent.topic);
            found.sort_by_key(|sent| sent.topic);
            found.iter_mut().zip(&wanted).for_each(|(found, wanted)| forgive_message(found, wanted));
            assert_eq!(texts(&found), texts(&wanted), "{partition:?}: outputs of offsets {from}..{next_offset}");
            assert!(
                found == wanted,
                "{partition:?} {from}..{next_offset}: headers, keys or timestamps differ\n{found:?}\n{wanted:?}"
            );
        }
        self.check_folds();
        assert!(of_sources.is_empty(), "outputs without their input's offset: {of_sources:?}");
        for one in sent {
            self.outputs.entry((one.topic, one.partition)).or_default().push(one);
        }
    }

    pub fn is_stateful(&self) -> bool {
        !self.settings.changelogs.is_empty()
    }

    /// State = fold of the committed input = changelog.
    fn check_folds(&self) {
        for (&partition, wanted) in &self.folds {
            assert_eq!(lines(&self.changelogs.lock().fold(partition)), lines(wanted), "the changelog of {partition}");
        }
    }

    /// The right state of a partition.
    pub fn fold(&self, partition: i32) -> Fold {
        self.folds.get(&partition).cloned().unwrap_or_default()
    }

    /// No lower revision follows a higher one, none commits that traps on everything, and each says where it began.
    fn check_revision(&mut self, partition: TopicPartition, from: i64, next_offset: i64, metadata: &str) -> u64 {
        let Progress { revision, since, .. } = Progress::parse(metadata, -1).expect("a host wrote it");
        let ran = self.ran.entry(partition).or_default();
        let (_, before) = ran.last().copied().unwrap_or_default();
        assert!(revision >= before, "{partition:?} at {next_offset}: revision {revision} after {before}");
        assert_ne!(self.world.lock().quality(revision), Quality::Broken, "{partition:?}: revision {revision} committed");
        let began = ran.iter().rev().find(|(_, ran)| *ran < revision).map_or(0, |(before, _)| *before);
        let log = &self.inputs[&partition];
        assert_eq!(log.find(since), log.find(began), "{partition:?} at {from}: {revision} since {since}, not {began}");
        ran.push((next_offset, revision));
        self.metadata.insert(partition, metadata.to_owned());
        revision
    }

    /// The newest revision that has committed.
    pub fn newest_revision(&self) -> u64 {
        self.ran.values().filter_map(|ran| ran.last()).map(|(_, revision)| *revision).max().unwrap_or(0)
    }

    /// Everything that can be read of the outputs, against everything that was put in.
    pub fn check_outputs(&self) {
        let world = self.world.lock();
        let mut wanted = 0;
        for (&partition, log) in &self.inputs {
            let mut all: BTreeMap<(usize, usize), Vec<Sent>> = BTreeMap::new();
            for record in &log.records {
                let ran = self.ran[&partition].iter().find(|(before, _)| record.offset < *before);
                let (_, revision) = ran.expect("every record was processed");
                for sent in expected(record, partition, &self.settings, &world, *revision) {
                    wanted += 1;
                    all.entry((sent.topic, sent.partition)).or_default().push(sent);
                }
            }
            for (at, wanted) in all {
                let found = self.outputs.get(&at).into_iter().flatten().filter(|sent| source_of(&sent.value) == partition);
                assert_eq!(texts(found), texts(&wanted), "{partition:?} in output {at:?}");
            }
        }
        assert_eq!(self.outputs.values().map(Vec::len).sum::<usize>(), wanted, "outputs in all");
    }
}

/// Takes over the wanted message if it is a wildcard: the host words it, and any wording is good.
fn forgive_message(found: &mut Sent, wanted: &Sent) {
    if let (Some((name, found)), Some((wanted_name, wanted))) = (found.headers.last_mut(), wanted.headers.last())
        && name == wanted_name
        && wanted.as_deref() == Some(b"*")
        && found.as_ref().is_some_and(|message| !message.is_empty())
    {
        found.clone_from(wanted);
    }
}

fn texts<'a>(sent: impl IntoIterator<Item = &'a Sent>) -> Vec<String> {
    sent.into_iter().map(|sent| format!("{}: {}", sent.topic, String::from_utf8_lossy(&sent.value))).collect()
}
