//! The places that properties come from: the options of the host, its file, and the folder with the files of teams.

use std::collections::BTreeMap;
use std::path::Path;

use super::options::KafkaConfig;
use super::properties::{self, Given, Properties};
use crate::model::names::TeamName;

/// The ending of a team's file.
pub(super) const EXTENSION: &str = "properties";

/// The files of teams, as one look found them.
pub(super) type TeamFiles = BTreeMap<TeamName, Result<Properties, String>>;

/// The content of all sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub host: Result<Properties, String>,
    pub teams: Result<TeamFiles, String>,
}

/// Refuses properties of the host that are Sandbar's own. A file that cannot be read is refused by [`look`].
pub(super) fn check(config: &KafkaConfig) -> Result<(), String> {
    properties::check_host(&config.properties)?;
    let file = config.file.as_deref().and_then(|path| properties::read(path).ok());
    file.map_or(Ok(()), |given| properties::check_host(&given))
}

/// Reads all sources.
pub(super) fn look(config: &KafkaConfig) -> Content {
    Content { host: look_at_host(config), teams: config.teams_dir.as_deref().map_or(Ok(TeamFiles::new()), look_at_teams) }
}

/// The options come over the file: a flag is the nearer word.
fn look_at_host(config: &KafkaConfig) -> Result<Properties, String> {
    let own = Properties::resolve(&config.properties, Path::new(""))?;
    match &config.file {
        None => Ok(own),
        Some(path) => Ok(own.over(&read(path, properties::check_host)?)),
    }
}

fn look_at_teams(folder: &Path) -> Result<TeamFiles, String> {
    let here = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = TeamFiles::new();
    for entry in std::fs::read_dir(folder).map_err(here)? {
        let path = entry.map_err(here)?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let team: TeamName = name.parse().map_err(|_| format!("{}: is not named after a team", path.display()))?;
        files.insert(team, read(&path, properties::check_team));
    }
    Ok(files)
}

fn read(path: &Path, check: fn(&Given) -> Result<(), String>) -> Result<Properties, String> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let checked = properties::read(path).and_then(|given| check(&given).map(|()| given));
    checked.and_then(|given| Properties::resolve(&given, folder)).map_err(|why| {
        let file = path.display().to_string();
        if why.starts_with(&file) { why } else { format!("{file}: {why}") }
    })
}
