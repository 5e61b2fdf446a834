//! The transforms of a cluster that a folder has to do with, as a host shows them.

use std::collections::{BTreeMap, BTreeSet};

use crate::api_types::{Cause, Line, RevisionList, RevisionSummary, TransformList, TransformSummary, TransformView, Word};
use crate::model::codes::Code;
use crate::model::names::{FolderName, TeamName, TransformId};
use crate::model::spec::RawSpec;
use crate::model::spec::labels::FOLDER;

use super::super::super::error::{Error, Kind, Result};
use super::super::client::Response;
use super::super::rate::at_rate;
use super::super::session::{Session, route};
use super::content::Desired;

/// A deployed transform of the folder's specs.
#[derive(Debug, Clone)]
pub struct Deployed {
    pub id: TransformId,
    pub revision: u64,
    pub spec: RawSpec,
    /// The kept revisions, newest first. Empty if the deployed content is the desired one: then nobody asks.
    pub history: Vec<PastRevision>,
}

/// A revision as far as a plan needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRevision {
    pub revision: u64,
    /// The folder that it was applied from.
    pub folder: Option<String>,
    pub changed_at: String,
    pub changed_by: Option<String>,
    pub is_rollback: bool,
}

/// A transform that carries the folder's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    pub id: TransformId,
    pub revision: u64,
}

/// The deployed transforms that a folder has to do with.
#[derive(Debug, Default)]
pub struct Cluster {
    /// The transforms that the folder has specs for.
    pub deployed: BTreeMap<TransformId, Deployed>,
    /// The transforms that carry the folder's label, in the order of their names.
    pub labelled: Vec<Labelled>,
}

// === impl Cluster ===

impl Cluster {
    /// Asks a host for each transform that is deployed, and for none that is not.
    pub fn look(session: &Session, folder: &FolderName, desired: &[Desired]) -> Result<Self> {
        let list: TransformList = get(session, "/v1/transforms")?.parse()?;
        let names: BTreeSet<TransformId> = list.transforms.iter().filter_map(id).collect();
        check_sight(session, desired.iter().filter(|want| !names.contains(&want.id)))?;
        let mut deployed = BTreeMap::new();
        for want in desired.iter().filter(|want| names.contains(&want.id)) {
            if let Some(found) = Deployed::look(session, want)? {
                deployed.insert(found.id.clone(), found);
            }
        }
        Ok(Self { deployed, labelled: labelled(folder, &list) })
    }
}

/// Lists the transforms that carry the folder's label, among those that the caller may see.
pub fn look_labelled(session: &Session, folder: &FolderName) -> Result<Vec<Labelled>> {
    let list: TransformList = get(session, "/v1/transforms")?.parse()?;
    Ok(labelled(folder, &list))
}

/// Refuses to plan for a team that the caller does not see: no list has its transforms, and they would be taken for new ones.
fn check_sight<'a>(session: &Session, unlisted: impl Iterator<Item = &'a Desired>) -> Result<()> {
    let teams: BTreeSet<&TeamName> = unlisted.map(|want| &want.id.team).collect();
    for team in teams {
        let seen = get(session, &format!("/v1/teams/{team}/transforms"));
        seen.map_err(|error| error.in_place(format_args!("transforms of team {team}")))?;
    }
    Ok(())
}

fn get(session: &Session, path: &str) -> Result<Response> {
    at_rate(|| session.client.get(path))
}

fn labelled(folder: &FolderName, list: &TransformList) -> Vec<Labelled> {
    let carries = |it: &&TransformSummary| it.labels.get(FOLDER).is_some_and(|label| **label == *folder.as_str());
    let all = list.transforms.iter().filter(carries);
    let mut all: Vec<Labelled> = all.filter_map(|it| Some(Labelled { id: id(it)?, revision: it.revision })).collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all
}

fn id(summary: &TransformSummary) -> Option<TransformId> {
    Some(TransformId { team: summary.team.parse().ok()?, name: summary.name.parse().ok()? })
}

// === impl Deployed ===

impl Deployed {
    fn look(session: &Session, want: &Desired) -> Result<Option<Self>> {
        let id = &want.id;
        let view: TransformView = match get(session, &route(id, "")) {
            Ok(answer) => answer.parse()?,
            // Deleted since it was listed.
            Err(error) if error.has_code(Code::NoTransform) => return Ok(None),
            Err(error) => return Err(error.in_place(id)),
        };
        let spec = view.spec.to_spec().map_err(|reason| newer(id, &reason))?;
        let history = if spec.is_same(&want.spec) { Vec::new() } else { revisions(session, id)? };
        Ok(Some(Self { id: id.clone(), revision: view.revision, spec, history }))
    }

    /// The folder that its label names.
    pub fn folder(&self) -> Option<&str> {
        self.spec.labels.get(FOLDER).map(String::as_str)
    }
}

/// Asks for the kept revisions of a transform, newest first.
pub fn revisions(session: &Session, id: &TransformId) -> Result<Vec<PastRevision>> {
    let list: RevisionList = get(session, &route(id, "/revisions"))?.parse()?;
    Ok(list.revisions.into_iter().map(PastRevision::from).collect())
}

fn newer(id: &TransformId, reason: &str) -> Error {
    let message = format!("{id}: the host has a spec that this version of sandbar does not understand: {reason}");
    let error = Error::new(Kind::Failed, message).with_code(Code::NewerFormat.as_str());
    error.with_hint("use the sandbar of the host's version: `sandbar hosts` shows it")
}

impl From<RevisionSummary> for PastRevision {
    fn from(it: RevisionSummary) -> Self {
        Self {
            revision: it.revision,
            folder: it.labels.get(FOLDER).map(Line::to_string),
            changed_at: it.changed_at.into(),
            changed_by: it.changed_by.map(String::from),
            is_rollback: it.cause == Word::Known(Cause::Rollback),
        }
    }
}
