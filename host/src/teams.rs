//! The teams: their limits, as the operator's file says them, and the modules that were uploaded for them.
//!
//! Each host reads a file of its own, at its start and again as it changes. A file that is not valid never replaces one
//! that is: the host does not start with one, and goes on with the last valid content if one comes later. Limits over the
//! cluster are checked by the host that a deployment is sent to, within the catalog's writer; see `catalog::ceilings`.
//!
//! [`Teams`] is the handle that the rest of the host asks. This module knows neither the catalog nor the API.

mod file;
mod follower;
mod grants;
mod redaction;
mod signing;
mod table;
mod uploads;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

pub use self::follower::follow_for_ever;
pub use self::table::{FileError, TeamTable};
pub use self::uploads::{Reservation, UploadAmount, UploadExcess};
pub use crate::model::team::{Ceiling, Scope, TeamLimits, Unit};

use self::uploads::Uploads;
use crate::model::names::TeamName;
use crate::model::signing_rules::SigningRule;
use crate::model::topic_rights::TopicRights;

/// The file of teams, and the limits of a team for which it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeamsOptions {
    pub file: Option<PathBuf>,
    pub base: TeamLimits,
}

/// The limits that hold now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeamsState {
    pub table: TeamTable,
    /// The reason why the newest content of the file is not used, if it is not.
    pub trouble: Option<String>,
}

/// The teams of a host. Cloning shares them.
#[derive(Clone)]
pub struct Teams {
    state: Arc<watch::Sender<Arc<TeamsState>>>,
    uploads: Arc<Uploads>,
}

// === impl Teams ===

impl Teams {
    /// Makes teams that have these limits, all of them.
    pub fn fixed(base: TeamLimits) -> Self {
        Self::of(TeamTable { defaults: base, ..TeamTable::default() })
    }

    fn of(table: TeamTable) -> Self {
        let state = TeamsState { table, trouble: None };
        Self { state: Arc::new(watch::Sender::new(Arc::new(state))), uploads: Arc::default() }
    }

    /// Reads the file, if there is one. Blocks.
    pub fn open(options: &TeamsOptions) -> Result<Self, FileError> {
        let Some(path) = &options.file else { return Ok(Self::fixed(options.base)) };
        Ok(Self::of(TeamTable::parse(&file::read(path)?, &options.base)?))
    }

    /// The limits of a team.
    pub fn limits(&self, team: &TeamName) -> TeamLimits {
        *self.state.borrow().table.limits(team)
    }

    /// The topics that each team may use, as the file says it now.
    pub fn topic_rights(&self) -> TopicRights {
        self.state.borrow().table.topics.clone()
    }

    /// The signatures that the modules of a team need, as the file says it now.
    pub fn signing_rule(&self, team: &TeamName) -> SigningRule {
        self.state.borrow().table.signing.of(team).clone()
    }

    /// The team's share of a host's CPU, relative to the weights of the other teams.
    pub fn cpu_weight(&self, team: &TeamName) -> u32 {
        self.limits(team).cpu_weight
    }

    /// All limits, as they are now.
    pub fn current(&self) -> Arc<TeamsState> {
        self.state.borrow().clone()
    }

    /// All limits, as they change.
    pub fn watch(&self) -> watch::Receiver<Arc<TeamsState>> {
        self.state.subscribe()
    }

    /// Takes the newest content of the file, or the reason why it is not used.
    fn take(&self, newest: Result<TeamTable, FileError>) {
        let (table, trouble) = match newest {
            Ok(table) => (table, None),
            Err(error) => (self.current().table.clone(), Some(error.to_string())),
        };
        self.state.send_replace(Arc::new(TeamsState { table, trouble }));
    }

    /// Counts an upload against the team's ceilings, until the reservation is dropped; for good if it is kept. An upload
    /// without a team counts against the default ceilings, together with all others without one.
    pub fn reserve_upload(&self, team: Option<&TeamName>, bytes: u64, now: Instant) -> Result<Reservation, UploadExcess> {
        let limits = match team {
            Some(team) => self.limits(team),
            None => self.current().table.defaults,
        };
        Uploads::reserve(&self.uploads, team, bytes, &limits, now)
    }

    /// Counts partitions of topics that a deployment is about to create, until the reservation is dropped; for good if it is
    /// kept.
    pub fn reserve_partitions(&self, team: &TeamName, partitions: u64, now: Instant) -> Result<Reservation, UploadExcess> {
        let amount = UploadAmount { partitions, ..UploadAmount::default() };
        Uploads::reserve_amount(&self.uploads, Some(team), amount, &self.limits(team), now)
    }

    /// The modules that the team uploaded to this host within the last 24 hours.
    pub fn uploaded(&self, team: Option<&TeamName>, now: Instant) -> UploadAmount {
        self.uploads.used(team, now)
    }
}
