//! The user and password at a registry: from the command line and the environment, or where docker keeps them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::super::super::error::{Error, Result};
use super::reference::Reference;
use crate::bounded_input;
use crate::model::codes::Code;
use crate::model::json;

/// No option takes the password: others on the machine see the words of a command line.
const PASSWORD_VARIABLE: &str = "SANDBAR_REGISTRY_PASSWORD";
/// Largest config.json, and largest answer of a helper.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A user and a password. The password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

/// Docker's config.json.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, DockerAuth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    auth: Option<String>,
}

/// The answer of a helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

// === impl Credentials ===

impl Credentials {
    /// Finds the credentials for a registry; None: it is asked without any. `user` is one of this registry.
    pub fn find(reference: &Reference, user: Option<&str>) -> Result<Option<Self>> {
        if let Some(user) = user {
            let password = std::env::var(PASSWORD_VARIABLE);
            let password = password.map_err(|_| Error::usage(format_args!("--registry-user needs {PASSWORD_VARIABLE}")))?;
            return Ok(Some(Self { user: user.to_owned(), password }));
        }
        let Some(path) = docker_config() else { return Ok(None) };
        let registry = reference.registry.to_string();
        let Some(text) = read(&path)? else { return Ok(None) };
        of_docker(&text, &registry, run_helper).map_err(|reason| unusable(&path, reason))
    }

    /// The value of the header `Authorization`, without its scheme.
    pub fn basic(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.user, self.password))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

fn docker_config() -> Option<PathBuf> {
    let own = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = own.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".docker")))?;
    Some(folder.join("config.json"))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match bounded_input::read_file(path, TEXT_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, error)),
    }
}

fn unusable(path: &Path, reason: impl fmt::Display) -> Error {
    let error = Error::file(path, reason);
    let hint = "correct it, or give --registry-user, --registry-host and SANDBAR_REGISTRY_PASSWORD";
    error.with_code(Code::Registry.as_str()).with_hint(hint)
}

/// Looks up a registry in docker's configuration. `helper` asks a program of this name. No message quotes a secret.
fn of_docker(
    text: &[u8],
    registry: &str,
    helper: impl FnOnce(&str, &str) -> Result<Option<Credentials>, String>,
) -> Result<Option<Credentials>, String> {
    let config: DockerConfig =
        json::read(text).map_err(|error| format!("it is not JSON of docker's at line {}", error.line()))?;
    let of_registry = config.cred_helpers.iter().find(|(key, _)| host_of(key) == registry).map(|(_, name)| name.as_str());
    let has_entry = config.auths.keys().any(|key| host_of(key) == registry);
    let named = of_registry.or(config.creds_store.as_deref().filter(|_| has_entry));
    if let Some(name) = named {
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_name {
            return Err("the name of its helper is none".to_owned());
        }
        return helper(name, registry);
    }
    let entry = config.auths.iter().find(|(key, _)| host_of(key) == registry).and_then(|(_, entry)| entry.auth.as_deref());
    let Some(encoded) = entry.filter(|auth| !auth.is_empty()) else { return Ok(None) };
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (user, password) = pair.ok_or_else(|| format!("its entry for {registry} has no user and password"))?;
    Ok(Some(Credentials { user: user.to_owned(), password: password.to_owned() }))
}

/// The registry that a key of docker's is for: old ones are URLs.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Asks a helper of docker's, by its protocol.
fn run_helper(name: &str, registry: &str) -> Result<Option<Credentials>, String> {
    let program = format!("docker-credential-{name}");
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut command = Command::new(&program);
    let started = command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = started.map_err(failed)?;
    let mut question = child.stdin.take().expect("it is piped");
    question.write_all(registry.as_bytes()).map_err(failed)?;
    drop(question);
    let answer = bounded_input::read(child.stdout.take().expect("it is piped"), TEXT_BYTES_MAX).map_err(failed)?;
    if !child.wait().map_err(failed)?.success() {
        // It knows no user there.
        return Ok(None);
    }
    let HelperAnswer { username, secret } = json::read(&answer).map_err(|_| format!("{program} gave no credentials"))?;
    if username == "<token>" {
        return Err(format!("{program} gave a token of docker's own sign-in, which is not supported"));
    }
    Ok(Some(Credentials { user: username, password: secret }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.to_owned(), password: password.to_owned() }
    }

    /// Looks up `r.example:5000`; helpers are called `user` and have the password of their name.
    #[track_caller]
    fn check(text: &str, expected: Result<Option<Credentials>, &str>) {
        let helper = |name: &str, registry: &str| {
            assert_eq!(registry, "r.example:5000");
            Ok(Some(credentials("user", name)))
        };
        let found = of_docker(text.as_bytes(), "r.example:5000", helper);
        match (found, expected) {
            (Err(found), Err(part)) => assert!(found.contains(part) && !found.contains("hunter2"), "{text}: {found}"),
            (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{text}"),
        }
    }

    #[test]
    fn credentials_are_those_of_the_registry_alone() {
        let auth = STANDARD.encode("me:hunter2:x");
        let own = Ok(Some(credentials("me", "hunter2:x")));
        check(&format!(r#"{{"auths":{{"r.example:5000":{{"auth":"{auth}"}}}}}}"#), own.clone());
        check(&format!(r#"{{"auths":{{"https://r.example:5000/v1/":{{"auth":"{auth}","more":1}}}},"more":[]}}"#), own);
        for other in ["r.example", "evil.r.example:5000", "r.example:5000.evil", "x/r.example:5000"] {
            check(&format!(r#"{{"auths":{{"{other}":{{"auth":"{auth}"}}}}}}"#), Ok(None));
        }
        check("{}", Ok(None));
        check(r#"{"auths":{"r.example:5000":{}}}"#, Ok(None));
        check(r#"{"credHelpers":{"r.example:5000":"pass"},"credsStore":"all"}"#, Ok(Some(credentials("user", "pass"))));
        check(r#"{"auths":{"r.example:5000":{}},"credsStore":"all"}"#, Ok(Some(credentials("user", "all"))));
        check(r#"{"credsStore":"all"}"#, Ok(None));
        check(r#"{"credHelpers":{"r.example:5000":"../../hunter2"}}"#, Err("helper"));
        check(r#"{"auths":{"r.example:5000":{"auth":"hunter2"}}}"#, Err("no user and password"));
        check(r#"{"auths":"hunter2"}"#, Err("not JSON of docker's"));
        assert_eq!(format!("{:?}", credentials("me", "hunter2")), "Credentials(..)");
    }
}
