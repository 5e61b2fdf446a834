//! Records that a topic refuses for their content.

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
