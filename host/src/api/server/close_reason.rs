//! Reasons for which the host closes a connection, or a stream of HTTP/2.

/// The reason why this host closes a connection or a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection needed the slot.
    Evicted,
    /// The peer sent no request for too long.
    HeadTime,
    /// The peer left too many requests before their answers.
    Resets,
    /// The peer took nothing for too long.
    WriteTime,
    /// The authorities of clients' certificates have changed.
    ClientAuthorities,
    /// The peer did not take its answer, and another answer needed the bytes.
    AnswerBytes,
}

// === impl CloseReason ===

impl CloseReason {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::HeadTime => "head_time",
            Self::Resets => "resets",
            Self::WriteTime => "write_time",
            Self::ClientAuthorities => "client_authorities",
            Self::AnswerBytes => "answer_bytes",
        }
    }
}
