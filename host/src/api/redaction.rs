//! The sight of a caller on records and on all that comes from them, as the owners of topics permit it.
//!
//! A rule of an owner holds for every caller without the role `data` in the owner's team, or in a team that the rule names.
//! Records of the topic are masked then. Content that came from them, and whose structure nobody knows, is not shown:
//! outputs, entries of stores, messages of failures, log lines. A sight holds for the file of teams and the catalog at one
//! moment; a [`Viewer`] follows both.

mod masks;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use crate::api_types::{Form, RecordContent};
use crate::catalog::{DeadLetterSources, Deployments, Sources};
use crate::model::access::{Principal, Role, Scope};
use crate::model::codes::Code;
use crate::model::names::{TeamName, TopicName, TransformId};
use crate::model::redaction::{Mask, RedactionRule};
use crate::model::spec::Spec;
use crate::model::topic_rights::TopicRights;
use crate::ports::LogRecord;
use crate::teams::TeamsState;
use crate::telemetry::metrics::RedactionMetrics;

use self::masks::origins;
use super::access::Caller;
use super::problem::Refusal;
use super::shared::{ApiState, Shared, blocking};

/// Each of these roles may see the texts of guests: log lines, and messages of failures.
const GUEST_TEXT: [Role; 3] = [Role::Data, Role::Deploy, Role::Operate];

/// The sight of one caller, by the file of teams and the catalog of one moment.
pub struct Sight {
    principal: Arc<Principal>,
    teams: Arc<TeamsState>,
    /// The catalog that the sight was made from; none where no rule asks for it.
    catalog: Weak<Deployments>,
    dead_letters: Arc<DeadLetterSources>,
    /// True if the caller has the role `data` in the team of the transform.
    has_data: bool,
    /// True if the caller has one of [`GUEST_TEXT`]'s roles in the team of the transform.
    hears_guests: bool,
    /// True if no rule for a source keeps anything from the caller.
    is_clear: bool,
    /// True if every source has rules, and all of them let callers without `data` see masked records.
    is_for_viewers: bool,
    /// The owners in whose teams the caller lacks `data`.
    owners: BTreeSet<TeamName>,
    metrics: RedactionMetrics,
}

/// A caller that reads a stream of a transform's records or lines.
pub struct Viewer {
    state: ApiState,
    caller: Caller,
    id: TransformId,
    sight: RefCell<Arc<Sight>>,
}

// === impl Sight ===

impl Sight {
    /// The caller's sight on a transform, made on a thread that may work for a while.
    pub async fn find(shared: &Shared, caller: &Caller, id: &TransformId) -> Result<Self, Refusal> {
        if !has_rules(&shared.state.teams.current().table.topics) {
            return Ok(Self::of_transform(&shared.state, caller, id));
        }
        let state = shared.state.clone();
        let caller = caller.clone();
        let id = id.clone();
        blocking(move || Ok(Self::of_transform(&state, &caller, &id))).await
    }

    /// The caller's sight on a transform.
    fn of_transform(state: &ApiState, caller: &Caller, id: &TransformId) -> Self {
        Self::new(state, caller, &id.team, |all| all.sources(id))
    }

    /// The caller's sight on a dry run: over tables, and over records of the inputs as well. `origins` are the topics that
    /// those records name, as dead letters do.
    pub fn of_dry_run(
        state: &ApiState,
        caller: &Caller,
        spec: &Spec,
        reads_inputs: bool,
        origins: &BTreeSet<TopicName>,
    ) -> Self {
        let inputs = if reads_inputs { spec.inputs.as_slice() } else { &[] };
        let topics: BTreeSet<TopicName> = inputs.iter().chain(spec.tables.values()).chain(origins).cloned().collect();
        Self::new(state, caller, &spec.id.team, |_| topics.into())
    }

    fn new(state: &ApiState, caller: &Caller, team: &TeamName, sources: impl FnOnce(&Deployments) -> Sources) -> Self {
        let mut sight = Self {
            principal: caller.principal.clone(),
            teams: state.teams.current(),
            catalog: Weak::new(),
            dead_letters: Arc::default(),
            has_data: caller.principal.may_in(team, Role::Data),
            hears_guests: GUEST_TEXT.iter().any(|role| caller.principal.may_in(team, *role)),
            is_clear: true,
            is_for_viewers: false,
            owners: BTreeSet::new(),
            metrics: state.redaction_metrics.clone(),
        };
        if !has_rules(sight.rights()) {
            return sight;
        }
        let (all, dead_letters) = state.catalog.current_with_dead_letters();
        sight.catalog = Arc::downgrade(&all);
        sight.dead_letters = dead_letters;
        let sources = sight.dead_letters.complete(sources(&all));
        let are_for_viewers = sources.topics.iter().all(|topic| sight.lets_viewers(topic) == Some(true));
        sight.is_for_viewers = are_for_viewers && !sources.topics.is_empty() && !sources.is_partial;
        let owners: BTreeSet<TeamName> = sight.kept_back(&sources).map(|(team, _)| team.clone()).collect();
        sight.is_clear = owners.is_empty() && (!sources.is_partial || sight.sees_all_data());
        sight.owners = owners;
        sight
    }

    fn rights(&self) -> &TopicRights {
        &self.teams.table.topics
    }

    fn sees_all_data(&self) -> bool {
        self.principal.may(&Scope::Cluster, Role::Data)
    }

    /// The rules for these topics that hold for the caller.
    fn kept_back<'a>(&'a self, sources: &'a Sources) -> impl Iterator<Item = (&'a TeamName, &'a RedactionRule)> {
        let rules = sources.topics.iter().flat_map(|topic| self.rights().redactions(topic));
        rules.filter(|(owner, rule)| !rule.is_open_to(&self.principal, owner))
    }

    /// Returns true if every rule for the topic lets callers without `data` see masked records. `None`: it has no rule.
    fn lets_viewers(&self, topic: &TopicName) -> Option<bool> {
        self.rights().redactions(topic).map(|(_, rule)| rule.viewers).reduce(|a, b| a && b)
    }

    /// Refuses a caller who may see no records of the transform at all, not even masked.
    pub fn require_records(&self, caller: &Caller, team: &TeamName) -> Result<(), Refusal> {
        if self.has_data || self.is_for_viewers { Ok(()) } else { caller.require_one(team, &[Role::Data]) }
    }

    /// Refuses a candidate of a caller who may not deploy one, where its outputs are not shown: a module of one's own can
    /// tell a record by the number of its outputs.
    pub fn require_candidate(&self, caller: &Caller, team: &TeamName, is_own: bool) -> Result<(), Refusal> {
        if is_own && !self.shows_derived() { caller.require_one(team, &[Role::Deploy]) } else { Ok(()) }
    }

    /// Refuses a caller to whom content that came from the sources is not shown.
    pub fn require_derived(&self, id: &TransformId) -> Result<(), Refusal> {
        if self.shows_derived() {
            return Ok(());
        }
        self.metrics.redacted("state");
        let owners: Vec<&str> = self.owners.iter().map(TeamName::as_str).collect();
        let owners = if owners.is_empty() { "the whole cluster".to_owned() } else { format!("team {}", owners.join(", ")) };
        let message = format!("{id} reads redacted topics: this needs the role data in {owners}");
        Err(Refusal::new(Code::Redacted, message))
    }

    /// Returns true if outputs and entries of stores are shown.
    fn shows_derived(&self) -> bool {
        self.has_data && self.is_clear
    }

    /// Returns true if the caller sees everything as it is.
    fn is_whole(&self) -> bool {
        self.shows_derived() && (self.sees_all_data() || !has_rules(self.rights()))
    }

    /// The mask of a record of this topic; `None`: it is shown as it is. `origins` are the topics that the record itself
    /// names, as a dead letter does.
    fn mask(&self, topic: &str, origins: &[&str]) -> Option<Mask> {
        let named = [topic].into_iter().chain(origins.iter().copied());
        let topics: BTreeSet<TopicName> = named.filter_map(|topic| topic.parse().ok()).collect();
        let sources = self.dead_letters.complete(topics.into());
        let mut rules = self.kept_back(&sources).map(|(_, rule)| rule).peekable();
        let is_unknown = sources.is_partial && !self.sees_all_data();
        match rules.peek().is_some() || is_unknown {
            false => None,
            true if is_unknown => Some(Mask::whole()),
            true => Some(Mask::of(rules)),
        }
    }
}

/// The topics that records name as their origin.
pub fn origins_of<'a>(records: impl Iterator<Item = &'a LogRecord>) -> BTreeSet<TopicName> {
    let mut topics = BTreeSet::new();
    for record in records.filter(|record| !record.headers.is_empty()) {
        let headers = record.headers.clone();
        let bare = LogRecord { offset: record.offset, timestamp: record.timestamp, key: None, value: None, headers };
        let content = RecordContent::of(bare, Form::Text);
        topics.extend(origins(&content).into_iter().filter_map(|topic| topic.parse::<TopicName>().ok()));
    }
    topics
}

fn has_rules(rights: &TopicRights) -> bool {
    rights.all_redactions().next().is_some()
}

// === impl Viewer ===

impl Viewer {
    /// Makes a viewer with its first sight.
    pub async fn open(shared: &Shared, caller: Caller, id: &TransformId) -> Result<Self, Refusal> {
        let first = Sight::find(shared, &caller, id).await?;
        Ok(Self { state: shared.state.clone(), caller, id: id.clone(), sight: RefCell::new(Arc::new(first)) })
    }

    /// The sight that the caller has now.
    pub fn sight(&self) -> Arc<Sight> {
        let mut last = self.sight.borrow_mut();
        let is_current = |sight: &Sight| {
            let is_of_file = Arc::ptr_eq(&sight.teams, &self.state.teams.current());
            is_of_file
                && (!has_rules(sight.rights()) || sight.catalog.ptr_eq(&Arc::downgrade(&self.state.catalog.current())))
        };
        if !is_current(&last) {
            *last = Arc::new(Sight::of_transform(&self.state, &self.caller, &self.id));
        }
        last.clone()
    }

    /// Refuses a caller who may see no records of the transform at all.
    pub fn require_records(&self) -> Result<(), Refusal> {
        self.sight().require_records(&self.caller, &self.id.team)
    }
}
