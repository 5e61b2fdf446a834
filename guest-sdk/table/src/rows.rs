//! The last value of each key of a table.
//!
//! A topic may hold one key in two spellings, if its converter was changed. Their records are in different partitions, so
//! nobody knows which is the newer one, and compaction keeps both for ever: a deleted row could come back. Such a key is
//! refused instead of guessed.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::canonical;

/// Memory of a row beside its key and value, in bytes.
const ROW_BYTES: usize = 80;
/// Memory of another spelling of a key beside its row and its bytes: mostly it has a map of its own.
const SPELLING_BYTES: usize = 320;
/// Text of a key in an error, in characters.
const KEY_CHARS_MAX: usize = 200;

/// The rows of a table. It is loading until [`Rows::settle`]: until then it remembers deletions, for a row of another
/// spelling that is read later.
#[derive(Debug, Default)]
pub struct Rows {
    /// The rows by the canonical form of their keys.
    rows: HashMap<Vec<u8>, Row>,
    /// Records of keys that came in another spelling before: by the canonical form, then by the key as it was written.
    others: HashMap<Vec<u8>, HashMap<Vec<u8>, Row>>,
    /// The memory of all rows, with those of other spellings.
    bytes: usize,
    is_settled: bool,
}

#[derive(Debug)]
struct Row {
    /// A hash of the key as it was written.
    spelling: u64,
    /// The timestamp of the record, in ms.
    at_ms: i64,
    /// `None`: the key was deleted.
    value: Option<Vec<u8>>,
}

/// A key that the topic has in two spellings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respelled {
    key: String,
    other: String,
}

// === impl Rows ===

impl Rows {
    /// The value of the key that says the same.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.rows.get(&*canonical(key))?.value.as_deref()
    }

    /// Takes a record of the topic; no value deletes the row.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>, at_ms: i64) {
        let canonical = canonical(key);
        let row = Row { spelling: spelling(key), at_ms, value: value.map(<[u8]>::to_vec) };
        match self.rows.entry(canonical.into_owned()) {
            Entry::Occupied(mut known) if known.get().spelling == row.spelling => {
                self.bytes -= size(known.key(), known.get());
                if row.value.is_none() && self.is_settled && !self.others.contains_key(known.key()) {
                    known.remove();
                } else {
                    self.bytes += size(known.key(), &row);
                    known.insert(row);
                }
            }
            Entry::Occupied(known) => {
                let others = self.others.entry(known.key().clone()).or_default();
                self.bytes += size_of_other(known.key(), key, &row);
                if let Some(before) = others.insert(key.to_vec(), row) {
                    self.bytes -= size_of_other(known.key(), key, &before);
                }
            }
            Entry::Vacant(_) if row.value.is_none() && self.is_settled => {}
            Entry::Vacant(place) => {
                self.bytes += size(place.key(), &row);
                place.insert(row);
            }
        }
    }

    /// Decides on keys of two spellings, and forgets deletions: the rows may be looked up.
    ///
    /// # Errors
    /// Fails if a row is there and another spelling of its key is too, or was deleted at the same time or later.
    pub fn settle(&mut self) -> Result<(), Respelled> {
        for (key, others) in &self.others {
            let all = || self.rows.get(key).into_iter().chain(others.values());
            let Some(newest) = all().filter(|row| row.value.is_some()).map(|row| row.at_ms).max() else { continue };
            let live = all().filter(|row| row.value.is_some()).count();
            if live > 1 || all().any(|row| row.value.is_none() && row.at_ms >= newest) {
                let other = others.keys().next().map_or_else(String::new, |written| shown(written));
                return Err(Respelled { key: shown(key), other });
            }
        }
        for (key, others) in std::mem::take(&mut self.others) {
            let first = self.rows.remove(&key);
            self.bytes -= first.as_ref().map_or(0, |row| size(&key, row));
            self.bytes -= others.iter().map(|(written, row)| size_of_other(&key, written, row)).sum::<usize>();
            if let Some(row) = first.into_iter().chain(others.into_values()).find(|row| row.value.is_some()) {
                self.bytes += size(&key, &row);
                self.rows.insert(key, row);
            }
        }
        if !self.is_settled {
            let bytes = &mut self.bytes;
            self.rows.retain(|key, row| {
                *bytes -= if row.value.is_none() { size(key, row) } else { 0 };
                row.value.is_some()
            });
            self.is_settled = true;
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The memory of the rows. Each spelling of a key counts, until [`Rows::settle`] has decided on it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A key of the table in its canonical form, as an example.
    pub fn example(&self) -> Option<String> {
        self.rows.keys().next().map(|key| shown(key))
    }
}

fn size(key: &[u8], row: &Row) -> usize {
    key.len() + row.value.as_ref().map_or(0, Vec::len) + ROW_BYTES
}

/// The memory of a row under another spelling of its key.
fn size_of_other(key: &[u8], written: &[u8], row: &Row) -> usize {
    size(key, row) + written.len() + SPELLING_BYTES
}

fn spelling(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).chars().take(KEY_CHARS_MAX).collect()
}

impl fmt::Display for Respelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, other } = self;
        write!(f, "its topic has the key {key} in two spellings, one of which is {other:?}; nobody knows which row counts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"id":7}"#;
    const SPACED: &str = r#"{"id": 7}"#;
    const WRAPPED: &str = r#"{"schema":{"type":"struct"},"payload":{"id":7}}"#;

    /// A record: its key, its value, its timestamp.
    type Record<'a> = (&'a str, Option<&'a str>, i64);

    fn rows(records: &[Record<'_>]) -> Rows {
        let mut rows = Rows::default();
        for (key, value, at_ms) in records {
            rows.put(key.as_bytes(), value.map(str::as_bytes), *at_ms);
        }
        rows
    }

    /// Looks the key up after these records, in this order and in the opposite one of the spellings.
    #[track_caller]
    fn check(records: &[Record<'_>], expected: Result<Option<&str>, ()>) {
        let mut by_spelling = records.to_vec();
        by_spelling.sort_by(|one, other| other.0.cmp(one.0));
        for records in [records, &by_spelling] {
            let mut rows = rows(records);
            let settled = rows.settle().map_err(drop);
            let found = settled.map(|()| rows.get(PLAIN.as_bytes()));
            assert_eq!(found, expected.map(|value| value.map(str::as_bytes)), "{records:?}");
        }
    }

    #[test]
    fn each_spelling_is_found_by_each() {
        for written in [PLAIN, SPACED, WRAPPED] {
            for asked in [PLAIN, SPACED, WRAPPED] {
                let mut rows = rows(&[(written, Some("old"), 1), (written, Some("new"), 2)]);
                rows.settle().expect("one spelling");
                assert_eq!(rows.get(asked.as_bytes()), Some(b"new".as_slice()), "{written} {asked}");
                rows.put(written.as_bytes(), None, 3);
                assert_eq!((rows.get(asked.as_bytes()), rows.bytes(), rows.is_empty()), (None, 0, true));
            }
        }
    }

    #[test]
    fn a_key_in_two_spellings_is_refused_unless_one_is_gone_for_certain() {
        check(&[(PLAIN, Some("a"), 1), (SPACED, Some("b"), 2)], Err(()));
        check(&[(PLAIN, Some("a"), 1), (PLAIN, None, 2), (SPACED, Some("b"), 3)], Ok(Some("b")));
        check(&[(PLAIN, Some("a"), 1), (PLAIN, None, 3), (SPACED, Some("b"), 3)], Err(()));
        check(&[(PLAIN, Some("a"), 1), (SPACED, None, 2)], Err(()));
        check(&[(PLAIN, Some("a"), 1), (PLAIN, None, 1), (SPACED, Some("b"), 2), (SPACED, None, 3)], Ok(None));
        check(&[(PLAIN, None, 1), (SPACED, None, 1), (WRAPPED, Some("c"), 2)], Ok(Some("c")));
        check(&[(PLAIN, Some("a"), 1), (SPACED, Some("b"), 2), (WRAPPED, Some("c"), 3)], Err(()));
    }

    /// A connector whose `decimal.handling.mode` was changed has both.
    #[test]
    fn an_encoded_decimal_is_a_spelling_of_its_number() {
        let decimal = r#"{"name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0"},"field":"id"}"#;
        let encoded = format!(r#"{{"schema":{{"fields":[{decimal}]}},"payload":{{"id":"Bw=="}}}}"#);
        let encoded = encoded.as_str();
        check(&[(encoded, Some("a"), 1)], Ok(Some("a")));
        check(&[(PLAIN, Some("a"), 1), (encoded, Some("b"), 2)], Err(()));
    }

    #[test]
    fn a_second_spelling_is_noticed_after_the_rows_were_settled() {
        for second in [Some("b"), None] {
            let mut rows = rows(&[(PLAIN, Some("a"), 1)]);
            rows.settle().expect("one spelling");
            rows.put(SPACED.as_bytes(), second.map(str::as_bytes), 2);
            let refused = rows.settle().expect_err("two spellings").to_string();
            assert_eq!(rows.get(PLAIN.as_bytes()), Some(b"a".as_slice()), "nothing is guessed");
            assert!(refused.contains(PLAIN) && refused.contains(r#"{\"id\": 7}"#), "{refused}");
        }
        let mut rows = rows(&[(PLAIN, Some("a"), 5)]);
        rows.settle().expect("one spelling");
        rows.put(SPACED.as_bytes(), None, 4);
        rows.settle().expect("an older deletion");
        assert_eq!(rows.get(PLAIN.as_bytes()), Some(b"a".as_slice()));
        rows.put(SPACED.as_bytes(), Some(b"b"), 7);
        rows.put(PLAIN.as_bytes(), None, 6);
        rows.settle().expect("the first is gone");
        assert_eq!((rows.get(PLAIN.as_bytes()), rows.len()), (Some(b"b".as_slice()), 1));
    }

    #[test]
    fn memory_is_counted_exactly() {
        let mut rows = rows(&[(PLAIN, Some("a"), 1), (SPACED, None, 0), ("k", None, 1), ("l", Some("long"), 1)]);
        rows.settle().expect("fine");
        assert_eq!((rows.len(), rows.bytes()), (2, 2 * ROW_BYTES + PLAIN.len() + 1 + 1 + 4));
        rows.put(b"l", Some(b"s"), 2);
        rows.put(b"m", None, 2);
        assert_eq!(rows.bytes(), 2 * ROW_BYTES + PLAIN.len() + 1 + 1 + 1);
    }

    /// A key may have any number of spellings, each as long as a key may be.
    #[test]
    fn every_spelling_counts_until_it_is_decided() {
        let spelled = |spaces: usize| format!("{{\"id\":{}7}}", " ".repeat(spaces));
        let mut rows = rows(&[(PLAIN, Some("a"), 1)]);
        let alone = rows.bytes();
        let mut expected = alone;
        for spaces in 1..=1000 {
            let key = spelled(spaces);
            expected += PLAIN.len() + ROW_BYTES + key.len() + SPELLING_BYTES + 1;
            for value in ["longer", "b"] {
                rows.put(key.as_bytes(), Some(value.as_bytes()), 2);
            }
            assert_eq!(rows.bytes(), expected, "{spaces}");
        }
        rows.settle().expect_err("many spellings");
        assert_eq!(rows.bytes(), expected, "nothing was decided");
        (1..=1000).for_each(|spaces| rows.put(spelled(spaces).as_bytes(), None, 0));
        rows.settle().expect("all others were deleted before");
        assert_eq!((rows.get(PLAIN.as_bytes()), rows.bytes()), (Some(b"a".as_slice()), alone));
    }
}
