//! Callers with a JWT of the operator's OpenID provider.
//!
//! The provider's keys are in memory, fetched in the background: a request waits for the provider only if its token names
//! an unknown key, and then only as often as `--oidc-refetch-interval` permits, for all callers together. Nobody with
//! tokens of their own making can have the host ask more often. The identity of a caller is its issuer with its subject.

mod follower;
mod roles;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use crate::model::access::{Login, Principal, PrincipalKind};
use crate::model::units::Timestamp;
use crate::oidc::{Algorithm, ClaimRules, JwtError, KeySet, SignedToken};
use crate::telemetry::metrics::AccessMetrics;
use crate::trust::Trust;

use self::roles::RoleMap;

/// Time that a request waits for a fetch: longer than a fetch may take.
const FETCH_WAIT: Duration = Duration::from_secs(25);
/// Most requests that wait for a fetch. Whoever makes up tokens must not fill the host's connections with them.
const WAITING_MAX: usize = 64;

/// The options of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcOptions {
    pub rules: ClaimRules,
    pub algorithms: Vec<Algorithm>,
    pub roles_file: Option<PathBuf>,
    /// The provider's authorities in place of the system's.
    pub ca: Option<PathBuf>,
    /// The scopes that the command line asks for.
    pub scopes: String,
    /// The resource that the command line asks a token for (RFC 8707).
    pub resource: Option<String>,
    /// Time between two fetches of the keys: a key that the provider took back counts for as long.
    pub refresh_interval: Duration,
    /// Time between two fetches for keys that are not known.
    pub refetch_interval: Duration,
    /// Time without any fetch that succeeded, after which the keys do not count.
    pub keys_age_max: Duration,
}

/// The reason why a JWT admits nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    #[error(transparent)]
    Refused(JwtError),
    #[error("the keys of the identity provider are not known, or too old (--oidc-keys-age-max)")]
    NoKeys,
}

/// The provider of a host. Cloning shares it.
#[derive(Clone)]
pub struct Provider {
    shared: Arc<Shared>,
}

struct Shared {
    options: OidcOptions,
    roles: RwLock<Arc<RoleMap>>,
    keys: RwLock<Known>,
    refetch: Mutex<Refetch>,
    asked: Notify,
    /// Counts the fetches for unknown keys that have ended.
    fetched: watch::Sender<u64>,
    waiting: Semaphore,
    metrics: AccessMetrics,
}

/// The keys of the last fetch that succeeded.
#[derive(Clone, Default)]
struct Known {
    keys: Arc<KeySet>,
    /// None: no fetch has succeeded.
    at: Option<Instant>,
}

/// The fetch that an unknown key leads to.
#[derive(Default)]
struct Refetch {
    stage: Stage,
    /// The time at which it was asked for last.
    at: Option<Instant>,
}

/// `Idle -> Asked -> Fetching -> Idle`. A fetch that was under way when it was asked for may have come too early, so another
/// follows it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Asked,
    Fetching,
}

// === impl Provider ===

impl Provider {
    /// Reads the file of roles. Blocks. An error names the file.
    pub fn open(options: OidcOptions, metrics: AccessMetrics) -> Result<Self, String> {
        let path = options.roles_file.as_deref();
        let read = |path| RoleMap::read(path).map_err(|why| format!("--oidc-roles {}: {why}", path.display()));
        let roles = path.map(read).transpose()?.unwrap_or_default();
        let shared = Shared {
            options,
            roles: RwLock::new(Arc::new(roles)),
            keys: RwLock::default(),
            refetch: Mutex::default(),
            asked: Notify::new(),
            fetched: watch::Sender::new(0),
            waiting: Semaphore::new(WAITING_MAX),
            metrics,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn options(&self) -> &OidcOptions {
        &self.shared.options
    }

    /// Recognises the holder of a JWT.
    pub fn sign_in(&self, jwt: &str, now: Timestamp, at: Instant) -> Result<Principal, OidcError> {
        let options = &self.shared.options;
        let token = SignedToken::parse(jwt)?;
        if !options.algorithms.contains(&token.algorithm) {
            return Err(JwtError::Algorithm.into());
        }
        let keys = self.shared.keys_at(at).ok_or(OidcError::NoKeys)?;
        let key = keys.verify(&token)?;
        let subject = options.rules.check(&token.claims, now)?;
        let grants = self.shared.roles.read().grants(&subject.id, &subject.groups);
        let id = format!("{}#{}", options.rules.issuer, subject.id);
        let login = Login { subject: subject.id, groups: subject.groups, key, ends_at: subject.ends_at };
        let login = Some(Arc::new(login));
        Ok(Principal { kind: PrincipalKind::Oidc, id, name: subject.name, grants, login })
    }

    /// Returns false as soon as the caller would be another or nobody: its token has expired, the key that signed it was
    /// taken back, or the file gives it other roles.
    pub fn is_valid(&self, principal: &Principal, now: Timestamp, at: Instant) -> bool {
        let Some(login) = &principal.login else { return false };
        let knows_key = self.shared.keys_at(at).is_some_and(|keys| keys.has(&login.key));
        let grants = self.shared.roles.read().grants(&login.subject, &login.groups);
        now < login.ends_at && knows_key && grants == principal.grants
    }

    /// Has the keys fetched, if that is permitted again, and waits for the end of a fetch that has begun for this reason.
    /// Returns false if there is none, or if too many requests wait for it already.
    pub async fn refetched(&self, at: Instant) -> bool {
        let Ok(_place) = self.shared.waiting.try_acquire() else { return false };
        let mut fetched = self.shared.fetched.subscribe();
        if !self.shared.ask(at) {
            return false;
        }
        tokio::time::timeout(FETCH_WAIT, fetched.changed()).await.is_ok()
    }

    /// Sets the metrics of the keys.
    pub fn measure(&self, at: Instant) {
        let known = self.shared.keys.read().clone();
        let age = known.at.map(|then| at.saturating_duration_since(then));
        self.shared.metrics.oidc_keys(known.keys.len(), age);
    }
}

// === impl Shared ===

impl Shared {
    fn trust(&self) -> Trust {
        self.options.ca.clone().map_or(Trust::SystemAnd(None), Trust::Only)
    }

    /// The keys, unless they are too old.
    fn keys_at(&self, at: Instant) -> Option<Arc<KeySet>> {
        let known = self.keys.read();
        let age = at.saturating_duration_since(known.at?);
        (age < self.options.keys_age_max).then(|| known.keys.clone())
    }

    /// Returns true if a fetch for an unknown key is under way, or begins now.
    fn ask(&self, at: Instant) -> bool {
        let mut refetch = self.refetch.lock();
        if refetch.stage != Stage::Idle {
            return true;
        }
        if refetch.at.is_some_and(|then| at.saturating_duration_since(then) < self.options.refetch_interval) {
            return false;
        }
        *refetch = Refetch { stage: Stage::Asked, at: Some(at) };
        self.asked.notify_one();
        true
    }

    /// Takes the begin of a fetch.
    fn begin(&self) {
        let mut refetch = self.refetch.lock();
        if refetch.stage == Stage::Asked {
            refetch.stage = Stage::Fetching;
        }
    }

    /// Takes the end of a fetch.
    fn take(&self, keys: Option<KeySet>, at: Instant) {
        if let Some(keys) = keys {
            *self.keys.write() = Known { keys: Arc::new(keys), at: Some(at) };
        }
        let mut refetch = self.refetch.lock();
        if refetch.stage == Stage::Fetching {
            refetch.stage = Stage::Idle;
            self.fetched.send_modify(|count| *count += 1);
        }
    }
}

// === impl OidcError ===

impl OidcError {
    /// The label of the metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Refused(error) => error.reason(),
            Self::NoKeys => "no-keys",
        }
    }
}

impl From<JwtError> for OidcError {
    fn from(error: JwtError) -> Self {
        Self::Refused(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn provider() -> Provider {
        let rules = ClaimRules {
            issuer: "https://login.example".parse().expect("an issuer"),
            audience: "sandbar".to_owned(),
            client_id: None,
            groups: "groups".to_owned(),
            name: None,
            clock_skew: Duration::ZERO,
            lifetime_max: Duration::from_secs(3600),
        };
        let options = OidcOptions {
            rules,
            algorithms: vec![Algorithm::EdDsa],
            roles_file: None,
            ca: None,
            scopes: String::new(),
            resource: None,
            refresh_interval: Duration::from_secs(300),
            refetch_interval: Duration::from_secs(30),
            keys_age_max: Duration::from_secs(100),
        };
        Provider::open(options, Metrics::new().access).expect("without a file")
    }

    fn keys() -> KeySet {
        KeySet::parse(br#"{"keys":[]}"#).expect("a set")
    }

    #[test]
    fn unknown_keys_lead_to_few_fetches() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let shared = provider().shared;
        let fetched = shared.fetched.subscribe();
        let count = || *fetched.borrow();
        // The fetch of the start is under way, and ends after a caller asked: it may have come too early.
        shared.begin();
        assert!(shared.ask(at(0)) && shared.ask(at(1)));
        shared.take(Some(keys()), at(2));
        assert_eq!(count(), 0);
        assert!(shared.ask(at(3)));
        shared.begin();
        assert!(shared.ask(at(4)));
        shared.take(None, at(5));
        assert_eq!(count(), 1);
        // All callers together have another one later.
        assert!(!shared.ask(at(6)) && !shared.ask(at(29)));
        // A fetch by the interval wakes nobody, and nobody waits for it.
        shared.begin();
        assert!(!shared.ask(at(29)));
        shared.take(Some(keys()), at(29));
        assert_eq!(count(), 1);
        assert!(shared.ask(at(30)) && shared.ask(at(59)));
    }

    #[tokio::test(start_paused = true)]
    async fn few_requests_wait_for_a_provider_that_hangs() {
        let provider = provider();
        let at = Instant::now();
        let waits: Vec<_> = (0..WAITING_MAX).map(|_| provider.shared.waiting.try_acquire().expect("a place")).collect();
        assert!(!provider.refetched(at).await && Instant::now() == at, "it does not wait");
        drop(waits);
        assert!(!provider.refetched(at).await && Instant::now() == at + FETCH_WAIT, "nobody fetches");
    }

    #[test]
    fn keys_count_until_no_fetch_has_succeeded_for_too_long() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let shared = provider().shared;
        assert!(shared.keys_at(at(0)).is_none());
        shared.take(None, at(1));
        assert!(shared.keys_at(at(1)).is_none());
        shared.take(Some(keys()), at(2));
        assert!(shared.keys_at(at(2)).is_some() && shared.keys_at(at(101)).is_some());
        // A failure does not make them younger.
        shared.take(None, at(90));
        assert!(shared.keys_at(at(102)).is_none());
        shared.take(Some(keys()), at(103));
        assert!(shared.keys_at(at(103)).is_some());
    }
}
