//! Tokens by which clients log in to brokers (OAUTHBEARER), and the one trait for where they come from.

use std::fmt;
use std::time::{Duration, Instant};

/// A token as its source gives it. It is shown without its value.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub value: String,
    /// The name that librdkafka has in its log.
    pub principal: String,
    pub lifetime: Duration,
}

/// A place that tokens come from. It blocks for a bounded time. No error has a secret in it.
pub(super) trait TokenSource: Send + Sync {
    fn fetch(&self) -> Result<Token, String>;
}

/// A token with the moment of its end.
#[derive(Debug)]
pub(super) struct HeldToken {
    pub token: Token,
    /// Names and values that go to the broker with the token.
    pub extensions: Vec<(String, String)>,
    /// The moment from which brokers refuse it.
    pub end: Instant,
}

/// Gives a client its token, whenever it asks.
pub(super) type Refresh = Box<dyn Fn() -> Result<std::sync::Arc<HeldToken>, String> + Send + Sync>;

// === impl Token ===

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("principal", &self.principal).field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

// === impl HeldToken ===

impl HeldToken {
    pub fn remaining(&self, now: Instant) -> Duration {
        self.end.saturating_duration_since(now)
    }

    /// Returns true while nobody needs another one: librdkafka asks for the next after 80 % of the time, and gets a newer one.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.remaining(now) > self.token.lifetime / 4
    }

    /// Returns true if even a call renews the token, and waits for it: no client of librdkafka has done so.
    pub fn is_near_end(&self, now: Instant) -> bool {
        self.remaining(now) <= self.token.lifetime / 10
    }

    pub fn has_ended(&self, now: Instant) -> bool {
        self.remaining(now).is_zero()
    }
}
