//! The tokens of one owner: had from their source, shared by all clients, and renewed before they end.
//!
//! librdkafka asks for a token when a client is made, and again after 80 % of the token's time. The first client that asks
//! fetches it; the others take the token that there is, and wait only if there is none. A failed attempt is repeated after a
//! while, and the token that there is stays in use until it ends.

mod aws_keys;
mod https;
mod jwt;
mod msk;
mod oidc;
mod settings;
mod sigv4;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::properties::Properties;
use super::token::{HeldToken, TokenSource};
use crate::model::codes::Code;
use crate::model::text::OneLine;
use crate::model::units::{Backoff, Timestamp};
use crate::telemetry::metrics::KafkaMetrics;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(10) };

/// The tokens of one owner.
pub(super) struct Tokens {
    /// The properties that the source was made from.
    given: BTreeMap<String, String>,
    source: Box<dyn TokenSource>,
    extensions: Vec<(String, String)>,
    /// Held by the one that fetches a token.
    fetching: Mutex<()>,
    state: RwLock<State>,
    report: Report,
}

#[derive(Default)]
struct State {
    held: Option<Arc<HeldToken>>,
    /// The failures since the newest token.
    failure: Option<Failure>,
}

struct Failure {
    reason: String,
    count: u32,
    at: Instant,
}

/// Tells the operator of tokens and failures.
pub(super) struct Report {
    /// The team; `-` for the host.
    pub owner: String,
    pub metrics: Option<KafkaMetrics>,
}

// === impl Tokens ===

impl Tokens {
    /// Makes the source that the properties ask for; `None` if the owner logs in without tokens. `before` goes on if it is the
    /// same, and its token does if nothing but a secret has changed.
    pub fn open(properties: &Properties, before: Option<&Arc<Self>>, report: Report) -> Result<Option<Arc<Self>>, String> {
        if !properties.uses_tokens() {
            return Ok(None);
        }
        let given = properties.of_tokens();
        if let Some(before) = before.filter(|before| before.given == given) {
            return Ok(Some(before.clone()));
        }
        let (source, extensions) = settings::source(&given, Box::new(|name| std::env::var(name).ok()))?;
        let tokens = Self::new(given, source, extensions, report);
        if let Some(before) = before.filter(|before| settings::has_same_owner(&before.given, &tokens.given)) {
            tokens.state.write().held = before.state.read().held.clone();
        }
        Ok(Some(Arc::new(tokens)))
    }

    fn new(
        given: BTreeMap<String, String>,
        source: Box<dyn TokenSource>,
        extensions: Vec<(String, String)>,
        report: Report,
    ) -> Self {
        Self { given, source, extensions, fetching: Mutex::default(), state: RwLock::default(), report }
    }

    /// Gets a token: the present one while it is fresh, else another. Blocks.
    pub fn token(&self) -> Result<Arc<HeldToken>, String> {
        self.token_at(Instant::now)
    }

    /// Gets a token for a call that is not to wait for the source: the present one until shortly before its end, and another
    /// one then.
    pub fn token_for_call(&self) -> Result<Arc<HeldToken>, String> {
        self.token_for_call_at(Instant::now)
    }

    fn token_for_call_at(&self, now: impl Fn() -> Instant) -> Result<Arc<HeldToken>, String> {
        match self.held(|held| !held.is_near_end(now())) {
            Some(held) => Ok(held),
            None => self.token_at(now),
        }
    }

    fn token_at(&self, now: impl Fn() -> Instant) -> Result<Arc<HeldToken>, String> {
        if let Some(held) = self.held(|held| held.is_fresh(now())) {
            return Ok(held);
        }
        let _fetching = match self.usable(now()) {
            Ok(held) => match self.fetching.try_lock() {
                Some(fetching) => fetching,
                // Somebody fetches another one.
                None => return Ok(held),
            },
            Err(_) => self.fetching.lock(),
        };
        if let Some(held) = self.held(|held| held.is_fresh(now())) {
            return Ok(held);
        }
        let asked = now();
        if !self.is_waiting(asked) {
            match self.source.fetch() {
                Ok(token) => {
                    // Time that the answer took has passed already.
                    let end = asked + token.lifetime;
                    self.report.token(token.lifetime);
                    let held = HeldToken { token, extensions: self.extensions.clone(), end };
                    *self.state.write() = State { held: Some(Arc::new(held)), failure: None };
                }
                Err(reason) => self.fail(reason, now()),
            }
        }
        self.usable(now())
    }

    fn held(&self, is_wanted: impl Fn(&HeldToken) -> bool) -> Option<Arc<HeldToken>> {
        self.state.read().held.clone().filter(|held| is_wanted(held))
    }

    /// Returns true if the last attempt failed a moment ago.
    fn is_waiting(&self, now: Instant) -> bool {
        let state = self.state.read();
        state
            .failure
            .as_ref()
            .is_some_and(|failure| now.saturating_duration_since(failure.at) < BACKOFF.after(failure.count))
    }

    fn fail(&self, reason: String, now: Instant) {
        self.report.failure(&reason);
        let mut state = self.state.write();
        let count = state.failure.as_ref().map_or(0, |failure| failure.count.saturating_add(1));
        state.failure = Some(Failure { reason, count, at: now });
    }

    /// Returns the token if it has not ended, else the reason why there is none. It does not block.
    fn usable(&self, now: Instant) -> Result<Arc<HeldToken>, String> {
        let state = self.state.read();
        match (&state.held, &state.failure) {
            (Some(held), _) if !held.has_ended(now) => Ok(held.clone()),
            (_, Some(failure)) => Err(failure.reason.clone()),
            (_, None) => Err("the token has ended".to_owned()),
        }
    }

    /// Returns the reason why clients that run have no token any more. One that nobody has asked for yet is not missing.
    pub fn is_missing(&self) -> Option<String> {
        self.is_missing_at(Instant::now())
    }

    fn is_missing_at(&self, now: Instant) -> Option<String> {
        let state = self.state.read();
        let failure = state.failure.as_ref()?;
        let is_held = state.held.as_ref().is_some_and(|held| !held.has_ended(now));
        (!is_held).then(|| failure.reason.clone())
    }
}

// === impl Report ===

impl Report {
    fn token(&self, lifetime: Duration) {
        if let Some(metrics) = &self.metrics {
            metrics.token_ends(&self.owner, Timestamp::now().after(lifetime));
        }
    }

    fn failure(&self, reason: &str) {
        let code = Code::KafkaToken;
        tracing::warn!(owner = self.owner, %code, error = %OneLine(reason), "no token for Kafka could be had");
        if let Some(metrics) = &self.metrics {
            metrics.token_failed(&self.owner);
        }
    }
}

#[cfg(test)]
mod tests;
