//! Records that a topic refuses for their content.

/// The timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;

/// The property of a record for which a topic refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Size,
    Timestamp,
    /// Key, value or headers: a null key in a compacted topic, for example.
    Content,
}

/// A record that its topic refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    /// The number of calls of [`crate::ports::Session::send`] between `begin` and the send of this record.
    pub send: u64,
    pub cause: Cause,
    pub reason: String,
}

/// Records of the open transaction that were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Empty if the culprits cannot be told from the records that were refused with them.
    pub culprits: Vec<Culprit>,
    /// None if nobody knows that a record is to blame.
    pub cause: Option<Cause>,
    pub reason: String,
}

/// The reason why no log takes a record with this timestamp, if there is one. A broker takes it, but cannot compact it: the
/// cleaner of its log throws at it ("Invalid negative timestamp"), and never compacts that partition again. So Java's
/// producer refuses it, too.
pub fn refused_timestamp(timestamp: i64) -> Option<String> {
    let is_refused = timestamp < 0 && timestamp != NO_TIMESTAMP;
    is_refused.then(|| format!("a record with the timestamp {timestamp} (before 1970) cannot be sent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_before_1970_is_refused() {
        for (timestamp, expected) in [(i64::MIN, true), (-5, true), (-2, true), (-1, false), (0, false), (1, false)] {
            assert_eq!(refused_timestamp(timestamp).is_some(), expected, "{timestamp}");
        }
    }
}
