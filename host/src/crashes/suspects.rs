//! Counts abnormal ends of the host against the transforms that were in a call: a pure function, and its form on disk.
//!
//! An end is abnormal where nothing asked the host to end. It counts for every transform that was in a call, and for every
//! partition that the call worked on: a transform of which one partition commits and another kills the host is found as
//! well. A commit clears the counts of its partitions and that of the transform. An orderly end clears all counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::calls::LastRun;
use crate::model::json;
use crate::model::names::TransformId;
use crate::model::units::Timestamp;
use crate::ports::TopicPartition;

/// Abnormal ends in a row that put a transform in quarantine.
pub const ENDS_MAX: u32 = 3;
const VERSION: u32 = 1;
/// The count of a transform, whatever it was doing.
const ANY: &str = "any";

/// The suspects of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspects {
    /// The newest run of the host that is counted.
    pub run: u64,
    suspects: BTreeMap<TransformId, Suspect>,
}

/// A transform that was in a call when the host died, and has not committed since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Suspect {
    /// Abnormal ends in a row, by `any` and by `input/partition`.
    pub ends: BTreeMap<String, u32>,
    /// The number of its resumes when it became a suspect. Any other number clears it.
    pub resumes: Option<u64>,
    pub quarantined_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct SuspectsFile {
    version: u32,
    run: u64,
    suspects: BTreeMap<String, Suspect>,
}

impl Suspect {
    /// Returns the largest of its counts.
    pub fn count(&self) -> u32 {
        self.ends.values().copied().max().unwrap_or(0)
    }

    /// Takes note of a commit with these partitions. Returns true if a count was cleared.
    pub fn committed(&mut self, partitions: impl Iterator<Item = TopicPartition>) -> bool {
        let before = self.ends.len();
        self.ends.remove(ANY);
        for partition in partitions {
            self.ends.remove(&place(partition));
        }
        self.ends.len() != before
    }
}

fn place(partition: TopicPartition) -> String {
    format!("{}/{}", partition.input, partition.partition)
}

impl Suspects {
    pub fn iter(&self) -> impl Iterator<Item = (&TransformId, &Suspect)> {
        self.suspects.iter()
    }

    pub fn contains(&self, id: &TransformId) -> bool {
        self.suspects.contains_key(id)
    }

    pub fn get_mut(&mut self, id: &TransformId) -> Option<&mut Suspect> {
        self.suspects.get_mut(id)
    }

    pub fn remove(&mut self, id: &TransformId) {
        self.suspects.remove(id);
    }

    /// Counts the end of the last run.
    pub fn after(mut self, last: Option<&LastRun>, now: Timestamp) -> Self {
        let Some(last) = last.filter(|last| last.run != self.run) else { return self };
        self.run = last.run;
        if last.ended_orderly {
            self.suspects.values_mut().for_each(|suspect| suspect.ends.clear());
        } else {
            for (id, partitions) in &last.under_way {
                let suspect = self.suspects.entry(id.clone()).or_default();
                let places = partitions.iter().flatten().map(|&partition| place(partition));
                for place in places.chain([ANY.to_owned()]) {
                    let count = suspect.ends.entry(place).or_default();
                    *count = count.saturating_add(1);
                }
                if suspect.count() >= ENDS_MAX {
                    suspect.quarantined_at.get_or_insert(now);
                }
            }
        }
        self.suspects.retain(|_, suspect| suspect.quarantined_at.is_some() || suspect.count() > 0);
        self
    }

    /// Reads the output of [`Suspects::to_json`].
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let SuspectsFile { version, run, suspects } = json::read(text).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("it has version {version}, this host reads {VERSION}"));
        }
        let parse =
            |(id, suspect): (String, Suspect)| Ok((id.parse().map_err(|_| format!("{id:?} is no transform"))?, suspect));
        Ok(Self { run, suspects: suspects.into_iter().map(parse).collect::<Result<_, String>>()? })
    }

    pub fn to_json(&self) -> Vec<u8> {
        let suspects = self.suspects.iter().map(|(id, suspect)| (id.to_string(), suspect.clone())).collect();
        serde_json::to_vec_pretty(&SuspectsFile { version: VERSION, run: self.run, suspects }).expect("plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { input: 0, partition: number }
    }

    /// One run of the host: `a:0,1 b` were in calls at its end (a on two partitions), `+a:0` had committed, `.` ends it
    /// orderly.
    fn run(mut suspects: Suspects, text: &str) -> Suspects {
        let mut last = LastRun { run: suspects.run + 1, ..LastRun::default() };
        for word in text.split_whitespace() {
            let committed = word.strip_prefix('+');
            let (name, numbers) = committed.unwrap_or(word).split_once(':').unwrap_or((committed.unwrap_or(word), ""));
            let numbers = numbers.split(',').filter_map(|number| number.parse().ok()).map(partition);
            let id: TransformId = format!("t/{name}").parse().unwrap_or_else(|_| "t/none".parse().expect("valid"));
            match (word, committed) {
                (".", _) => last.ended_orderly = true,
                (_, Some(_)) => drop(suspects.get_mut(&id).map(|suspect| suspect.committed(numbers))),
                (_, None) => {
                    let marks = last.under_way.entry(id).or_default();
                    let before = marks.len();
                    marks.extend(numbers.map(Some));
                    if marks.len() == before {
                        marks.insert(None);
                    }
                }
            }
        }
        suspects.after(Some(&last), Timestamp(9))
    }

    #[track_caller]
    fn check(runs: &[&str], expected: &str) {
        let suspects = runs.iter().fold(Suspects::default(), |suspects, text| run(suspects, text));
        let shown = suspects.iter().map(|(id, suspect)| {
            let mark = if suspect.quarantined_at.is_some() { "!" } else { "" };
            format!("{}{mark}{}", id.name, suspect.count())
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{runs:?}");
        assert_eq!(Suspects::parse(&suspects.to_json()), Ok(suspects));
    }

    #[test]
    fn three_ends_in_a_row_without_a_commit_are_a_quarantine() {
        check(&[], "");
        check(&["a:0"], "a1");
        check(&["a:0", "a:0"], "a2");
        check(&["a:0", "a:0", "a:0"], "a!3");
        check(&["a", "a", "a"], "a!3");
        // While a module is loaded, then on a record.
        check(&["a", "a:0", "a:1"], "a!3");
    }

    #[test]
    fn a_commit_between_begins_the_count_again() {
        check(&["a:0", "a:0", "+a:0 a:0"], "a1");
        check(&["a:0", "a:0", "+a:0"], "");
        check(&["a:0", "+a:0 a:0", "a:0", "a:0"], "a!3");
        check(&["a", "a", "+a:5 a"], "a1");
    }

    #[test]
    fn a_commit_of_another_partition_hides_no_culprit() {
        check(&["a:1", "+a:0 a:1", "+a:0 a:0,1"], "a!3");
        check(&["a:1", "+a:0 a:1", "+a:0,1 a:0"], "a1");
    }

    #[test]
    fn an_end_counts_for_those_in_a_call() {
        check(&["a:0 b:0", "a:0", "a:0"], "a!3 b1");
        check(&["a:0 b:0", "+b:0 a:0", "a:0"], "a!3");
        // Whoever waits for its turn keeps its count.
        check(&["a:0 b:0", "b:0", "b:0", ""], "a1 b!3");
    }

    #[test]
    fn an_orderly_end_breaks_the_row_and_ends_no_quarantine() {
        check(&["a:0", "a:0", "a:0 ."], "");
        check(&["a:0", "a:0", ".", "a:0"], "a1");
        check(&["a:0", "a:0", "a:0", "."], "a!0");
    }

    #[test]
    fn a_run_is_counted_once() {
        let last =
            LastRun { run: 1, under_way: [("t/a".parse().expect("valid"), [None].into())].into(), ..LastRun::default() };
        let once = Suspects::default().after(Some(&last), Timestamp(0));
        assert_eq!(once.clone().after(Some(&last), Timestamp(0)), once);
        assert_eq!(once.clone().after(None, Timestamp(0)), once);
    }

    #[test]
    fn foreign_files_are_refused() {
        for json in
            ["", "[]", "{}", r#"{"version":2,"run":1,"suspects":{}}"#, r#"{"version":1,"run":1,"suspects":{"x":{}}}"#]
        {
            assert!(Suspects::parse(json.as_bytes()).is_err(), "{json}");
        }
        let extremes = r#"{"version":1,"run":18446744073709551615,"suspects":{"t/a":{"ends":{"any":4294967295},"resumes":18446744073709551615,"quarantined_at":-9223372036854775808}}}"#;
        let suspects = Suspects::parse(extremes.as_bytes()).expect("readable");
        let last =
            LastRun { run: 1, under_way: [("t/a".parse().expect("valid"), [None].into())].into(), ..LastRun::default() };
        assert_eq!(suspects.after(Some(&last), Timestamp(0)).suspects.len(), 1);
    }
}
