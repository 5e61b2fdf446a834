//! The operator's file: the roles of a provider's groups, and of single subjects.
//!
//! ```yaml
//! groups:
//!   sandbar-admins: ["*:admin"]
//!   stock-devs: ["stock:deploy", "stock:data"]
//!   "team-{team}": ["{team}:view"]
//! subjects:
//!   build-server: ["stock:deploy"]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::followed_file;
use crate::model::access::{Grant, Role, Scope};
use crate::model::names::TeamName;
use crate::model::text::brief;
use crate::model::yaml;

const BYTES_MAX: u64 = 1024 * 1024;
/// Stands for a team's name in a group and in its roles.
const TEAM: &str = "{team}";
const MESSAGE_BYTES_MAX: usize = 500;

/// The roles of groups and subjects. Whoever is not named has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleMap {
    groups: BTreeMap<String, Vec<Grant>>,
    subjects: BTreeMap<String, Vec<Grant>>,
    templates: Vec<Template>,
}

/// Groups whose names differ in a team alone, and the roles that they give in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    before: String,
    after: String,
    roles: Vec<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    subjects: BTreeMap<String, Vec<String>>,
}

// === impl RoleMap ===

impl RoleMap {
    /// Reads the file. Blocks.
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::parse(&followed_file::read(path, BYTES_MAX)?)
    }

    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let form: FileForm = yaml::one(text).map_err(|error| match error {
            yaml::Error::Malformed(why) => brief(why, MESSAGE_BYTES_MAX),
            yaml::Error::Unfit { field, message } => brief(format_args!("{field}: {message}"), MESSAGE_BYTES_MAX),
        })?;
        let mut map = Self::default();
        for (group, roles) in form.groups {
            match group.split_once(TEAM) {
                Some((before, after)) => map.templates.push(Template::of(before, after, &roles)?),
                None => drop(map.groups.insert(group.clone(), grants(&group, &roles)?)),
            }
        }
        for (subject, roles) in form.subjects {
            map.subjects.insert(subject.clone(), grants(&subject, &roles)?);
        }
        Ok(map)
    }

    /// The roles of a subject with its groups, each once.
    pub fn grants(&self, subject: &str, groups: &BTreeSet<String>) -> Vec<Grant> {
        let own = self.subjects.get(subject).into_iter();
        let named = groups.iter().filter_map(|group| self.groups.get(group));
        let templated = groups.iter().flat_map(|group| self.templates.iter().flat_map(|template| template.grants(group)));
        let all: BTreeSet<Grant> = own.chain(named).flatten().cloned().chain(templated).collect();
        all.into_iter().collect()
    }
}

fn grants(name: &str, roles: &[String]) -> Result<Vec<Grant>, String> {
    let grant = |raw: &String| raw.parse().map_err(|why| brief(format_args!("{name}: {raw:?} {why}"), MESSAGE_BYTES_MAX));
    roles.iter().map(grant).collect()
}

// === impl Template ===

impl Template {
    fn of(before: &str, after: &str, roles: &[String]) -> Result<Self, String> {
        let wrong = |why: &str| Err(brief(format_args!("{before}{TEAM}{after}: {why}"), MESSAGE_BYTES_MAX));
        // Any group whose name is a team's would have the roles.
        if before.is_empty() && after.is_empty() || after.contains(TEAM) {
            return wrong("has {team} once, and other text beside it");
        }
        let role = |raw: &String| raw.strip_prefix(TEAM)?.strip_prefix(':')?.parse().ok();
        match roles.iter().map(role).collect() {
            Some(roles) => Ok(Self { before: before.to_owned(), after: after.to_owned(), roles }),
            None => wrong("gives roles in that team alone, as {team}:ROLE"),
        }
    }

    fn grants(&self, group: &str) -> Vec<Grant> {
        let name = group.strip_prefix(&*self.before).and_then(|rest| rest.strip_suffix(&*self.after));
        let Some(Ok(team)) = name.map(str::parse::<TeamName>) else { return Vec::new() };
        self.roles.iter().map(|role| Grant { scope: Scope::Team(team.clone()), role: *role }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
groups:
  admins: ["*:admin"]
  stock-devs: ["stock:deploy", "stock:data"]
  "team-{team}": ["{team}:view"]
  "{team}-ops@corp": ["{team}:operate", "{team}:view"]
subjects:
  build: ["stock:deploy"]
"#;

    #[track_caller]
    fn check(subject: &str, groups: &[&str], expected: &str) {
        let map = RoleMap::parse(FILE.as_bytes()).expect("a file");
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let grants: Vec<String> = map.grants(subject, &groups).iter().map(ToString::to_string).collect();
        assert_eq!(grants.join(" "), expected, "{subject} {groups:?}");
    }

    #[test]
    fn groups_and_subjects_have_the_roles_of_the_file() {
        check("anna", &[], "");
        check("anna", &["admins"], "*:admin");
        check("anna", &["Admins", "admins ", "build", ""], "");
        check("admins", &[], "");
        check("build", &[], "stock:deploy");
        check("build", &["stock-devs"], "stock:data stock:deploy");
        check("anna", &["team-shop", "team-stock"], "shop:view stock:view");
        check("anna", &["shop-ops@corp"], "shop:view shop:operate");
        for odd in ["team-", "team-*", "team-A", "team-a:admin", "team-a b", "xteam-a", "team-{team}", "-ops@corp"] {
            check("anna", &[odd], "");
        }
    }

    #[track_caller]
    fn check_refused(text: &str, part: &str) {
        let error = RoleMap::parse(text.as_bytes()).expect_err(text);
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn a_file_that_is_not_valid_is_refused_as_a_whole() {
        check_refused("groups: {a: [\"stock\"]}", "a: \"stock\" is not TEAM:ROLE");
        check_refused("groups: {a: [\"stock:root\"]}", "root");
        check_refused("subjects: {a: [\"**:view\"]}", "a: ");
        check_refused("groups: {\"{team}\": [\"{team}:view\"]}", "once");
        check_refused("groups: {\"a-{team}-{team}\": [\"{team}:view\"]}", "once");
        check_refused("groups: {\"a-{team}\": [\"*:admin\"]}", "in that team alone");
        check_refused("groups: {\"a-{team}\": [\"stock:view\"]}", "in that team alone");
        check_refused("groups: {a: [\"{team}:view\"]}", "a: ");
        check_refused("roles: {}", "roles");
        check_refused("groups: {a: [\"*:view\"], a: [\"*:admin\"]}", "");
        assert_eq!(RoleMap::parse(b"groups: {}\n").expect("a file"), RoleMap::default());
    }
}
