//! Ends the transactions that workers of dead hosts left open.
//!
//! ```text
//!   assigned --(the offset was committed by another worker)--> queue --(a moment later: it is no member)--> its id is taken
//! ```
//!
//! Such a transaction would hold back the readers of its outputs, and the next owner's restores, until its timeout. To
//! initialise its id ends it at once (`exclusive`). The worker of an offset stands in the offset's metadata, and consumers have
//! their transactional id as client id, so the group's coordinator tells who is alive.
//!
//! A worker that is alive all the same loses its open transaction and opens another session: nothing is lost or repeated. It
//! happens to one that is about to join its group, so the question is put after [`GRACE`].
//!
//! Owned by the log. Its few threads live while there is work.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::config::READER_GROUP;
use super::credentials::Connection;
use super::error::unavailable;
use super::exclusive::KafkaExclusive;
use super::raw::Client;
use crate::ports::{ExclusiveError, LogError};

/// The time in which a worker that has just opened its session joins its group.
const GRACE: Duration = Duration::from_millis(500);
/// Threads that end transactions: each transaction takes about 50 ms of one.
const THREADS_MAX: usize = 4;
/// Attempts to learn of a group's members, a grace apart.
const ATTEMPTS_MAX: u32 = 5;
/// Workers that are asked for after one assignment. Offsets of a live transform name as many as it had workers.
const WORKERS_MAX: usize = 64;
/// Longest time of a question for a group's members.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest name of a worker, in bytes: metadata is foreign text.
const NAME_BYTES_MAX: usize = 255;

/// The questions about workers that left a transaction open. Cloning shares it.
#[derive(Clone)]
pub(super) struct Departed {
    connection: Connection,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    /// In the order in which they are due.
    looks: VecDeque<Look>,
    threads: usize,
}

/// A question that is due: which of these workers are no members of their group any more?
struct Look {
    due: Instant,
    attempts: u32,
    group: String,
    /// The client id of the member that asks. If the answer lacks it, ids tell nothing.
    own: String,
    /// The transactional ids of the workers.
    ids: BTreeSet<String>,
}

// === impl Departed ===

impl Departed {
    pub fn new(connection: Connection) -> Self {
        Self { connection, queue: Arc::default() }
    }

    /// Ends the transactions that these workers of a group left open, once it is known that they are gone. `own` is the asking worker's id.
    pub fn look_for(&self, group: &str, own: &str, workers: BTreeSet<String>) {
        let ids = workers.iter().filter(|worker| is_name(worker)).map(|worker| format!("{group}.{worker}"));
        let ids: BTreeSet<String> = ids.filter(|id| id != own).take(WORKERS_MAX).collect();
        if !ids.is_empty() {
            let due = Instant::now() + GRACE;
            self.push(Look { due, attempts: 0, group: group.to_owned(), own: own.to_owned(), ids });
        }
    }

    fn push(&self, look: Look) {
        let mut queue = self.queue.lock();
        queue.looks.push_back(look);
        if queue.threads == THREADS_MAX {
            return;
        }
        let this = self.clone();
        match std::thread::Builder::new().name("departed".into()).spawn(move || this.run()) {
            Ok(_) => queue.threads += 1,
            // Their transactions end by their timeout.
            Err(error) if queue.threads == 0 => {
                tracing::warn!(%error, "the system gives no thread to end transactions of dead workers");
                queue.looks.clear();
            }
            Err(_) => {}
        }
    }

    /// Works until nothing is left.
    fn run(&self) {
        let mut client = None;
        while let Some(look) = self.next() {
            std::thread::sleep(look.due.saturating_duration_since(Instant::now()));
            match self.end_one(&mut client, &look) {
                // The members are asked for again before the next one, and the looks of others come in between.
                Ok(ids) if !ids.is_empty() => self.push(Look { due: Instant::now(), ids, ..look }),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(group = look.group, %error, "the members of a group are not known");
                    client = None;
                    let attempts = look.attempts + 1;
                    if attempts < ATTEMPTS_MAX {
                        self.push(Look { due: Instant::now() + GRACE, attempts, ..look });
                    }
                }
            }
        }
    }

    /// The look whose turn it is. Without one, the thread that asks counts as ended.
    fn next(&self) -> Option<Look> {
        let mut queue = self.queue.lock();
        let next = queue.looks.pop_front();
        if next.is_none() {
            queue.threads -= 1;
        }
        next
    }

    /// Ends the transaction of one worker that is gone. Returns the ids of the others that are.
    fn end_one(&self, client: &mut Option<Client>, look: &Look) -> Result<BTreeSet<String>, LogError> {
        let client = match client {
            Some(client) => client,
            None => client.insert(self.connection.reader(READER_GROUP).map_err(unavailable)?),
        };
        let members = client.members(&look.group, MEMBERS_TIMEOUT).map_err(unavailable)?;
        let members = members.into_iter().collect();
        let mut gone = gone(look, &members);
        let Some(id) = gone.pop_first() else { return Ok(gone) };
        match KafkaExclusive::open(&self.connection, &id) {
            Ok(_) => tracing::info!(transactional_id = id, "the transaction of a worker that is gone is over"),
            // Another host was at it, or the team has no right to this id.
            Err(ExclusiveError::Fenced(error) | ExclusiveError::Unknown(error)) => {
                tracing::debug!(transactional_id = id, error, "a transaction is left to its timeout");
            }
            Err(ExclusiveError::Log(error)) => {
                tracing::debug!(transactional_id = id, %error, "a transaction is left to its timeout");
            }
        }
        Ok(gone)
    }
}

/// The workers that are no members. A member whose client id is no worker's may be any of them: then none is.
fn gone(look: &Look, members: &BTreeSet<String>) -> BTreeSet<String> {
    let is_worker = |member: &String| member.strip_prefix(&look.group).is_some_and(|rest| rest.starts_with('.'));
    if !members.contains(&look.own) || !members.iter().all(is_worker) {
        return BTreeSet::new();
    }
    look.ids.difference(members).cloned().collect()
}

/// Returns true for the name of a worker: its host and its number. Other ids of a transform have no number.
fn is_name(worker: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let number = worker.rsplit_once('.').filter(|(host, _)| !host.is_empty()).map(|(_, number)| number);
    worker.len() <= NAME_BYTES_MAX
        && worker.bytes().all(is_fit)
        && number.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_workers_are_told_from_other_text() {
        for (name, expected) in [
            ("a.0", true),
            ("host-1.example.12", true),
            ("positions", false),
            ("offsets", false),
            ("a.b", false),
            (".0", false),
            ("a.", false),
            ("a.-1", false),
            ("a b.0", false),
            ("a\n.0", false),
            ("", false),
        ] {
            assert_eq!(is_name(name), expected, "{name:?}");
        }
        assert!(!is_name(&format!("{}.0", "a".repeat(NAME_BYTES_MAX))));
    }

    #[track_caller]
    fn check(ids: &[&str], members: &[&str], expected: &[&str]) {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let look = Look { due: Instant::now(), attempts: 0, group: "g".into(), own: "g.own.0".into(), ids: set(ids) };
        assert_eq!(gone(&look, &set(members)), set(expected));
    }

    #[test]
    fn only_who_is_no_member_is_gone() {
        check(&["g.a.0", "g.b.0"], &["g.own.0", "g.b.0"], &["g.a.0"]);
        check(&["g.a.0"], &["g.own.0", "g.a.0"], &[]);
        check(&["g.a.0"], &["g.own.0"], &["g.a.0"]);
        // The group shows other ids: an operator has set them, a host is older, or this member is out itself.
        check(&["g.a.0"], &["sandbar", "sandbar"], &[]);
        check(&["g.a.0"], &["g.own.0", "sandbar"], &[]);
        check(&["g.a.0"], &[], &[]);
    }
}
