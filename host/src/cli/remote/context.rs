//! Contexts: names for the clusters that a user works with, in `$XDG_CONFIG_HOME/sandbar/config.toml` (or `~/.config`).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::error::{Error, Kind, Result};
use super::super::text::{self, Output, Table};
use super::access::Access;
use super::client::Client;
use super::keyring;
use super::provider_login::ProviderLogin;
use crate::bounded_input;
use crate::config::line_of;
use crate::model::by_name::ByName;
use crate::model::text::OneLine;

/// Largest file of contexts: a thousand fit, each with a token of an identity provider.
const FILE_BYTES_MAX: u64 = 16 << 20;

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
        #[command(flatten)]
        certificates: Certificates,
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

/// A cluster, and the way to reach it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    pub url: String,
    #[serde(flatten)]
    pub certificates: Certificates,
    /// The token of `sandbar login`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The id of the token in the system's keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// The identity provider that the token is of, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderLogin>,
}

/// The place of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// The system's keyring
    Keyring,
    /// The file of contexts, which only its owner can read
    File,
}

/// The files of TLS of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Certificates {
    /// Authorities of hosts' certificates, as PEM, in place of the system's [env: SANDBAR_CA]
    #[arg(long, value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// This client's certificate, as PEM [env: SANDBAR_CLIENT_CERT]
    #[arg(long, value_name = "FILE", requires = "client_key")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// The private key of --client-cert, as PEM [env: SANDBAR_CLIENT_KEY]
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
}

// === impl ContextArgs ===

impl ContextArgs {
    pub fn run(self) -> Result<ExitCode> {
        self.apply().map(|()| ExitCode::SUCCESS)
    }

    fn apply(self) -> Result<()> {
        if let ContextVerb::List = self.verb {
            return Contexts::load()?.show(self.output, Contexts::table);
        }
        let _lock = Contexts::lock()?;
        let mut contexts = Contexts::load()?;
        match self.verb {
            ContextVerb::List => {}
            ContextVerb::Use { name } => {
                contexts.get(&name)?;
                contexts.current = Some(name);
            }
            ContextVerb::Set { name, url, certificates } => {
                let certificates = certificates.absolute()?;
                Client::new(&url, certificates.access())?;
                // A token goes to the host that it was kept for, and to no other.
                let kept = match contexts.contexts.get(&name) {
                    Some(before) if before.url == url => before.clone(),
                    Some(before) => {
                        before.forget()?;
                        Context::default()
                    }
                    None => Context::default(),
                };
                contexts.put(name, Context { url, certificates, ..kept });
            }
            ContextVerb::Delete { name } => {
                contexts.get(&name)?.forget()?;
                contexts.contexts.remove(&name);
                contexts.current.take_if(|current| *current == name);
            }
        }
        contexts.save()?;
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

    /// Waits for the turn to change the contexts, which ends with the file.
    pub fn lock() -> Result<std::fs::File> {
        let path = path().ok_or_else(no_place)?.with_extension("lock");
        let failed = |error: io::Error| Error::file(&path, error);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    pub fn get(&self, name: &str) -> Result<&Context> {
        self.contexts.get(name).ok_or_else(|| {
            let known = self.contexts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let hint =
                if known.is_empty() { "add it with `sandbar context set`".into() } else { format!("there are {known}") };
            Error::usage(format_args!("there is no context {name:?}")).with_hint(hint)
        })
    }

    pub fn current(&self) -> Result<Option<&Context>> {
        self.current.as_deref().map(|name| self.get(name)).transpose()
    }

    pub fn current_name(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// Adds or changes a context; the first becomes the current one.
    pub fn put(&mut self, name: String, context: Context) {
        self.current.get_or_insert_with(|| name.clone());
        self.contexts.insert(name, context);
    }

    /// Writes the contexts to their file.
    pub fn save(&self) -> Result<()> {
        let path = path().ok_or_else(no_place)?;
        self.write(&path).map_err(|error| Error::new(Kind::Failed, format_args!("{}: {error}", path.display())))
    }

    fn read(path: &Path) -> Result<Self> {
        match std::fs::File::open(path).and_then(|file| bounded_input::read_text(file, FILE_BYTES_MAX)) {
            Ok(text) => {
                let parsed = toml::from_str(&text).map(|ByName(contexts)| contexts);
                parsed.map_err(|error| Error::file(path, reason(&error, &text)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::file(path, error)),
        }
    }

    /// Replaces the whole file, so that no reader sees a part. Only the owner may read the file (mode 0600): credentials
    /// would be in it.
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
            let mut shown = json!({ "name": name, "url": context.url, "current": current });
            if context.token.is_some() || context.keyring.is_some() {
                shown["token"] = true.into();
            }
            let Certificates { ca, client_cert, client_key } = &context.certificates;
            for (key, file) in [("ca", ca), ("client_cert", client_cert), ("client_key", client_key)] {
                if let Some(file) = file {
                    shown[key] = json!(file);
                }
            }
            shown
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

// === impl Context ===

impl Context {
    /// The token, from wherever it is.
    pub fn token(&self) -> Result<Option<String>> {
        match &self.keyring {
            Some(id) => keyring::get(id, &self.url).map(Some),
            None => Ok(self.token.clone()),
        }
    }

    /// Keeps a token: in the keyring if `store` says so, or if nothing says otherwise and there is one. Returns the context
    /// with it, and the words for its place.
    pub fn keep_token(self, token: &str, store: Option<Store>) -> Result<(Self, String)> {
        let url = self.url.clone();
        let in_file = || Self { token: Some(token.to_owned()), keyring: None, ..self.clone() };
        let place = "in a file that only you can read";
        if store == Some(Store::File) {
            return Ok((in_file(), place.to_owned()));
        }
        match keyring::put(&url, token) {
            Ok(id) => Ok((Self { token: None, keyring: Some(id), ..self }, "in the keyring of this system".to_owned())),
            Err(reason) if store.is_none() => Ok((in_file(), format!("{place}, since there is no keyring ({reason})"))),
            Err(reason) => Err(keyring::unusable(&reason)),
        }
    }

    /// Takes the token out of the keyring, if it is there.
    pub fn forget(&self) -> Result<()> {
        self.keyring.as_ref().map_or(Ok(()), |id| keyring::clear(id, &self.url))
    }
}

// === impl Certificates ===

impl Certificates {
    /// Completes what was not given from `rest`. Certificate and key belong together.
    pub fn or(self, rest: Self) -> Self {
        let ca = self.ca.or(rest.ca);
        match self.client_cert.is_some() {
            true => Self { ca, ..self },
            false => Self { ca, ..rest },
        }
    }

    pub fn access(&self) -> Access {
        let Self { ca, client_cert, client_key } = self.clone();
        Access { ca, client_cert, client_key, ..Access::default() }
    }

    /// Paths that hold in every folder, since a context is used in any.
    pub fn absolute(self) -> Result<Self> {
        let absolute = |file: Option<PathBuf>| {
            let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| Error::file(&path, error));
            file.map(absolute).transpose()
        };
        let Self { ca, client_cert, client_key } = self;
        Ok(Self { ca: absolute(ca)?, client_cert: absolute(client_cert)?, client_key: absolute(client_key)? })
    }
}

/// The reason why the file is not used. Most messages of TOML quote the line or the value, which may be a token: only the place
/// is told, and a wrong name of a key.
fn reason(error: &toml::de::Error, text: &str) -> String {
    let line = line_of(error, text);
    let message = error.message();
    let names_a_key = ["unknown field `", "missing field `"].iter().any(|start| message.starts_with(start));
    if names_a_key {
        format!("line {line}: {message}")
    } else {
        format!("line {line} is not of the form that sandbar writes")
    }
}

fn no_place() -> Error {
    Error::usage("there is no place for contexts").with_hint("set HOME or XDG_CONFIG_HOME, or use --url")
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
        let certificates = Certificates { ca: Some("/ca.pem".into()), ..Certificates::default() };
        let context = Context { url: "http://a:1".into(), certificates, ..Context::default() };
        let contexts = Contexts { current: Some("a".into()), contexts: [("a".into(), context)].into() };
        contexts.write(&path).expect("written");
        assert_eq!(Contexts::read(&path).expect("readable"), contexts);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "curent = 1").expect("writable");
        assert!(Contexts::read(&path).expect_err("refused").to_string().contains("curent"));
    }

    #[test]
    fn an_error_of_the_file_quotes_no_token() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config.toml");
        for text in [
            "[contexts.a]\nurl = \"http://a\"\ntoken = 12345678\n",
            "[contexts.a]\nurl = \"http://a\"\ntoken = \"sbt_hunter2\n",
            "[contexts.a]\nurl = \"http://a\"\ntoken = sbt_hunter2\n",
            "contexts = \"sbt_hunter2\"\n",
        ] {
            std::fs::write(&path, text).expect("writable");
            let error = Contexts::read(&path).expect_err("refused").to_string();
            assert!(error.contains("config.toml: line "), "{error}");
            assert!(["hunter2", "12345678", "sbt_"].iter().all(|secret| !error.contains(secret)), "{error}");
        }
    }

    #[test]
    fn a_file_of_contexts_is_read_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(FILE_BYTES_MAX + 1).expect("a file with a hole");
        let error = Contexts::read(file.path()).expect_err("too long").to_string();
        assert!(error.contains("has more than 16777216 bytes"), "{error}");
    }

    #[test]
    fn a_context_that_is_not_there_is_named_with_those_that_are() {
        let contexts = Contexts { current: Some("b".into()), ..Contexts::default() };
        assert!(contexts.current().expect_err("no such").to_string().contains("sandbar context set"));
    }
}
