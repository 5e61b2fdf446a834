//! Contexts: names for the clusters that a user works with, in `$XDG_CONFIG_HOME/sandbar/config.toml` (or `~/.config`).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::error::{Error, Kind, Result};
use super::super::text::{self, Output, Table};
use super::client::Client;
use crate::model::text::OneLine;

#[derive(Debug, Args)]
pub struct ContextArgs {
    #[command(subcommand)]
    verb: ContextVerb,
    /// Text for people, or all contexts as JSON
    #[arg(long, short, value_name = "FORMAT", default_value = "text", global = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum ContextVerb {
    /// List the contexts; `*` marks the current one
    List,
    /// Make a context the current one
    Use { name: String },
    /// Add or change a context; the first becomes the current one
    Set {
        name: String,
        /// The API of one of the cluster's hosts
        #[arg(long, short)]
        url: String,
    },
    /// Remove a context
    Delete { name: String },
}

/// The content of the file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    url: String,
}

// === impl ContextArgs ===

impl ContextArgs {
    pub fn run(self) -> Result<ExitCode> {
        self.apply().map(|()| ExitCode::SUCCESS)
    }

    fn apply(self) -> Result<()> {
        let path = path().ok_or_else(|| {
            Error::usage("there is no place for contexts").with_hint("set HOME or XDG_CONFIG_HOME, or use --url")
        })?;
        let mut contexts = Contexts::read(&path)?;
        match self.verb {
            ContextVerb::List => return contexts.show(self.output, Contexts::table),
            ContextVerb::Use { name } => {
                contexts.url(&name)?;
                contexts.current = Some(name);
            }
            ContextVerb::Set { name, url } => {
                Client::new(&url)?;
                contexts.current.get_or_insert_with(|| name.clone());
                contexts.contexts.insert(name, Context { url });
            }
            ContextVerb::Delete { name } => {
                contexts.url(&name)?;
                contexts.contexts.remove(&name);
                contexts.current.take_if(|current| *current == name);
            }
        }
        contexts.write(&path).map_err(|error| Error::new(Kind::Failed, format_args!("{}: {error}", path.display())))?;
        contexts.show(self.output, |contexts| {
            format!("the current context is {}\n", OneLine(contexts.current.as_deref().unwrap_or("none")))
        })
    }
}

// === impl Contexts ===

impl Contexts {
    /// Reads the contexts. Without a home folder there are none.
    pub fn load() -> Result<Self> {
        path().map_or_else(|| Ok(Self::default()), |path| Self::read(&path))
    }

    pub fn url(&self, name: &str) -> Result<String> {
        self.contexts.get(name).map(|context| context.url.clone()).ok_or_else(|| {
            let known = self.contexts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let hint =
                if known.is_empty() { "add it with `sandbar context set`".into() } else { format!("there are {known}") };
            Error::usage(format_args!("there is no context {name:?}")).with_hint(hint)
        })
    }

    pub fn current_url(&self) -> Result<Option<String>> {
        self.current.as_deref().map(|name| self.url(name)).transpose()
    }

    fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error| Error::file(path, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::file(path, error)),
        }
    }

    /// Replaces the file as a whole, so that no reader sees half of it. Only its owner may read it (mode 0600): it is
    /// where credentials would go.
    fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(toml::to_string(self).expect("names and URLs").as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    fn show(&self, output: Output, shown: impl FnOnce(&Self) -> String) -> Result<()> {
        text::emit(&match output {
            Output::Text => shown(self),
            Output::Json => text::json_line(&self.json().to_string()),
        })
    }

    /// A list as the API has lists: a name is a value, not a key.
    fn json(&self) -> serde_json::Value {
        let one = |(name, context): (&String, &Context)| {
            let current = self.current.as_ref() == Some(name);
            json!({ "name": name, "url": context.url, "current": current })
        };
        json!({ "contexts": self.contexts.iter().map(one).collect::<Vec<_>>() })
    }

    fn table(&self) -> String {
        let mut table = Table::new(["CURRENT", "NAME", "URL"]);
        for (name, context) in &self.contexts {
            let mark = if self.current.as_ref() == Some(name) { "*" } else { " " };
            table.row([mark.into(), name.clone(), context.url.clone()]);
        }
        table.to_string()
    }
}

fn path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("sandbar/config.toml"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn contexts_are_kept_in_a_file_that_only_its_owner_reads() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sandbar/config.toml");
        assert_eq!(Contexts::read(&path).expect("none yet"), Contexts::default());
        let context = Context { url: "http://a:1".into() };
        let contexts = Contexts { current: Some("a".into()), contexts: [("a".into(), context)].into() };
        contexts.write(&path).expect("written");
        assert_eq!(Contexts::read(&path).expect("readable"), contexts);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "curent = 1").expect("writable");
        assert!(Contexts::read(&path).expect_err("refused").to_string().contains("curent"));
    }

    #[test]
    fn a_context_that_is_not_there_is_named_with_those_that_are() {
        let contexts = Contexts { current: Some("b".into()), ..Contexts::default() };
        assert!(contexts.current_url().expect_err("no such").to_string().contains("sandbar context set"));
    }
}
