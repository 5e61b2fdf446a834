//! The properties of a host and of its teams, followed as their files change.
//!
//! One [`Credentials`] for a host; each log has a [`Connection`] with the owner whose properties it takes. A thread reads the
//! files every second, and takes content that it has read twice. Clients that are made from then on have the new properties;
//! a session takes them up between two transactions.
//!
//! Invariants: a team that has had a file never connects as the host while this process lives; a file that is not valid
//! changes nothing; no secret is in a message.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::options::KafkaConfig;
use super::properties::Properties;
use super::raw::{CodeName, ErrorCode, RawError, check_properties};
use super::sources::{self, Content, EXTENSION, TeamFiles};
use super::token::{HeldToken, Refresh};
use super::tokens::{Report, Tokens};
use crate::followed_file::Looks;
use crate::model::codes::Code;
use crate::model::names::TeamName;
use crate::model::text::OneLine;
use crate::ports::LogError;
use crate::telemetry::metrics::KafkaMetrics;

/// Time between two looks at the files. A link to a file may come to point elsewhere, as Kubernetes' do, so they are read.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The properties of a host and of its teams.
pub(super) struct Credentials {
    config: KafkaConfig,
    known: RwLock<Known>,
    /// Counts the changes.
    generation: AtomicU64,
    looks: Mutex<Looks<Content>>,
}

struct Known {
    host: Owned,
    /// The properties of teams that have, or had, a file: complete, or the reason why there are none.
    teams: BTreeMap<TeamName, Result<Owned, String>>,
    metrics: Option<KafkaMetrics>,
}

/// The properties of one owner, and its tokens if it logs in with some.
#[derive(Clone)]
struct Owned {
    properties: Arc<Properties>,
    tokens: Option<Arc<Tokens>>,
}

/// The brokers with the properties of one owner. Cloning shares them.
#[derive(Clone)]
pub(super) struct Connection {
    pub brokers: String,
    credentials: Arc<Credentials>,
    /// None: the host.
    owner: Option<TeamName>,
}

/// The properties that a session's clients have.
pub(super) struct Lease {
    generation: u64,
    owned: Owned,
}

/// The way in which a session takes up its owner's new properties.
#[derive(PartialEq, Eq)]
pub(super) enum Renewal {
    Unneeded,
    /// Clients take this name and password for their next connections; the present ones stay.
    Password(String, String),
    /// Nothing else can be changed in a client.
    NewClients,
}

// === impl Credentials ===

impl Credentials {
    /// Reads all sources. The host's own must be valid: see E240 and E241. A team whose file is not valid has no credentials.
    pub fn open(config: &KafkaConfig) -> Result<Arc<Self>, LogError> {
        let refused = |code: Code, why: &str| LogError::Properties { code, message: OneLine(why).to_string() };
        sources::check(config).map_err(|why| refused(Code::KafkaProperty, &why))?;
        let content = sources::look(config);
        let metrics = config.metrics.clone();
        let host = content.host.clone().and_then(|host| Owned::open(host, None, Owned::HOST, metrics.clone()));
        let host = host.map_err(|why| refused(Code::KafkaCredentials, &why))?;
        let files = content.teams.clone().map_err(|why| refused(Code::KafkaCredentials, &why))?;
        let mut known = Known { host, teams: BTreeMap::new(), metrics };
        known.take_teams(files);
        let looks = Looks::after(content);
        let known = RwLock::new(known);
        let this = Self { config: config.clone(), known, generation: AtomicU64::new(0), looks: Mutex::new(looks) };
        Ok(Arc::new(this))
    }

    /// Follows the sources in a thread that ends with the last user of these credentials.
    pub fn follow(this: &Arc<Self>) -> std::io::Result<()> {
        let weak = Arc::downgrade(this);
        let thread = std::thread::Builder::new().name("kafka-credentials".into());
        thread.spawn(move || follow_while_used(&weak)).map(drop)
    }

    pub fn has_teams(&self) -> bool {
        self.config.teams_dir.is_some()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the sources once more, and takes what was read alike before.
    fn look(&self) {
        let content = sources::look(&self.config);
        let settled = self.looks.lock().look(content);
        if let Some(content) = settled {
            self.take(content);
        }
    }

    fn take(&self, content: Content) {
        let mut known = self.known.write();
        let before = known.host.clone();
        let host = content.host.and_then(|host| Owned::open(host, Some(&before), Owned::HOST, known.metrics.clone()));
        match host {
            Ok(host) => known.host = host,
            Err(why) => warn("the host", &why),
        }
        match content.teams {
            Ok(files) => known.take_teams(files),
            Err(why) => warn("teams", &why),
        }
        drop(known);
        self.generation.fetch_add(1, Ordering::Release);
        tracing::info!("the properties of Kafka clients were read again");
    }

    fn owned(&self, owner: Option<&TeamName>) -> Result<Owned, String> {
        let known = self.known.read();
        let Some(team) = owner else { return Ok(known.host.clone()) };
        match known.teams.get(team) {
            Some(own) => own.clone(),
            None if self.config.team_credentials_required => {
                Err(format!("team {team} has no credentials: there is no {team}.{EXTENSION} in --kafka-teams-dir"))
            }
            None => Ok(known.host.clone()),
        }
    }
}

// === impl Renewal ===

/// Without the password.
impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unneeded => "Unneeded",
            Self::Password(..) => "Password",
            Self::NewClients => "NewClients",
        })
    }
}

// === impl Owned ===

impl Owned {
    /// Stands for the host where a name of a team is asked for. No team has it.
    const HOST: &str = "-";

    /// Refuses properties that librdkafka does not take: a running host then keeps the present ones.
    fn open(
        properties: Properties,
        before: Option<&Self>,
        owner: &str,
        metrics: Option<KafkaMetrics>,
    ) -> Result<Self, String> {
        let of_librdkafka = properties.of_librdkafka().map(|(name, value)| (name.clone(), value.clone()));
        check_properties(&of_librdkafka.collect::<Vec<_>>()).map_err(|error| {
            let team = format!("team {owner}");
            let whose = if owner == Self::HOST { "--kafka-config or --kafka-property" } else { team.as_str() };
            format!("{whose}: {}", error.message)
        })?;
        let report = Report { owner: owner.to_owned(), metrics };
        let tokens = Tokens::open(&properties, before.and_then(|before| before.tokens.as_ref()), report)?;
        Ok(Self { properties: Arc::new(properties), tokens })
    }
}

// === impl Known ===

impl Known {
    fn owned(&self, team: &TeamName, own: &Properties) -> Result<Owned, String> {
        let before = self.teams.get(team).and_then(|known| known.as_ref().ok());
        Owned::open(own.of_team(&self.host.properties)?, before, team.as_str(), self.metrics.clone())
    }

    fn take_teams(&mut self, mut files: TeamFiles) {
        let before: Vec<TeamName> = self.teams.keys().cloned().collect();
        for team in before.into_iter().filter(|team| !files.contains_key(team)) {
            let why = format!("team {team}: its file is gone");
            warn(team.as_str(), &why);
            self.teams.insert(team, Err(why));
        }
        while let Some((team, file)) = files.pop_first() {
            match file.and_then(|own| self.owned(&team, &own)) {
                Ok(owned) => drop(self.teams.insert(team, Ok(owned))),
                Err(why) => {
                    warn(team.as_str(), &why);
                    // Those that were valid stay.
                    let known = self.teams.entry(team).or_insert_with(|| Err(why.clone()));
                    if let Err(trouble) = known {
                        *trouble = why;
                    }
                }
            }
        }
    }
}

// === impl Connection ===

impl Connection {
    pub fn new(brokers: &str, credentials: &Arc<Credentials>, owner: Option<TeamName>) -> Self {
        Self { brokers: brokers.to_owned(), credentials: credentials.clone(), owner }
    }

    /// The connection of a team, where teams have credentials.
    pub fn of_team(&self, team: &TeamName) -> Option<Self> {
        let has_other = self.owner.is_none() && self.credentials.has_teams();
        has_other.then(|| Self::new(&self.brokers, &self.credentials, Some(team.clone())))
    }

    /// See [`KafkaConfig::session_timeout`].
    pub fn session_timeout(&self) -> Option<Duration> {
        self.credentials.config.session_timeout
    }

    /// The newest properties. Without credentials it is an error of the kind of a refused log-in.
    pub fn properties(&self) -> Result<Arc<Properties>, RawError> {
        Ok(self.owned()?.properties)
    }

    /// The token to log in with; `None` if there is none to be had. Blocks for a bounded time.
    pub fn token(&self) -> Result<Option<Arc<HeldToken>>, RawError> {
        self.owned()?.tokens.map(|tokens| tokens.token()).transpose().map_err(|why| no_token(&why))
    }

    /// The token for a client whose calls do not wait for a source while the present token is good.
    pub fn token_for_call(&self) -> Result<Option<Arc<HeldToken>>, RawError> {
        self.owned()?.tokens.map(|tokens| tokens.token_for_call()).transpose().map_err(|why| no_token(&why))
    }

    /// The function that a new client asks for tokens; `None` if it needs none. There is a token now, or this is an error.
    pub fn refresh(&self) -> Result<Option<Refresh>, RawError> {
        let this = self.clone();
        // The owner may have other properties by then.
        let ask = move || {
            let token = this.token().map_err(|error| error.message)?;
            token.ok_or_else(|| "the owner of the client logs in without tokens now".to_owned())
        };
        Ok(self.token()?.map(|_| Box::new(ask) as Refresh))
    }

    fn owned(&self) -> Result<Owned, RawError> {
        let found = self.credentials.owned(self.owner.as_ref());
        found.map_err(|why| RawError {
            message: titled(Code::KafkaCredentials, &why),
            ..RawError::of("credentials", CodeName::RD_KAFKA_RESP_ERR__AUTHENTICATION)
        })
    }

    pub fn generation(&self) -> u64 {
        self.credentials.generation()
    }

    pub fn lease(&self) -> Result<Lease, RawError> {
        // A change between the two is met once more.
        let generation = self.generation();
        Ok(Lease { generation, owned: self.owned()? })
    }

    /// Brings a lease up to date.
    pub fn renew(&self, lease: &mut Lease) -> Result<Renewal, RawError> {
        if lease.generation == self.generation() {
            return lease.check_token().map(|()| Renewal::Unneeded);
        }
        let before = std::mem::replace(lease, self.lease()?).owned.properties;
        let properties = &lease.owned.properties;
        if properties.has_same_clients(&before) {
            return Ok(Renewal::Unneeded);
        }
        let password = properties.new_password(&before);
        Ok(password.map_or(Renewal::NewClients, |(name, word)| Renewal::Password(name.to_owned(), word.to_owned())))
    }
}

// === impl Lease ===

impl Lease {
    /// Refuses to go on without a token: brokers end the connections then, and a client that has none is silent.
    fn check_token(&self) -> Result<(), RawError> {
        let missing = self.owned.tokens.as_ref().and_then(|tokens| tokens.is_missing());
        missing.map_or(Ok(()), |why| Err(no_token(&why)))
    }
}

fn no_token(why: &str) -> RawError {
    RawError { message: titled(Code::KafkaToken, why), ..RawError::of("token", ErrorCode::NO_TOKEN) }
}

fn follow_while_used(credentials: &Weak<Credentials>) {
    loop {
        std::thread::sleep(LOOK_INTERVAL);
        let Some(credentials) = credentials.upgrade() else { return };
        credentials.look();
    }
}

fn titled(code: Code, why: &str) -> String {
    format!("{} ({code}): {}", code.title(), OneLine(why))
}

fn warn(whose: &str, why: &str) {
    let code = Code::KafkaCredentials;
    tracing::warn!(whose, %code, error = %OneLine(why), "properties of Kafka clients are not used");
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
