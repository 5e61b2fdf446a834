//! The secrets of teams on this host: files in a folder that the operator gives, and variables of the environment.
//!
//! A team reaches `FOLDER/TEAM/NAME` and its own variables, and nothing else. A value is read when an instance is made, goes
//! into the config of its `init`, and is kept for two purposes: to take it out of text that leaves the sandbox
//! ([`SecretValues::redact`]), and to see that it has changed ([`follow_for_ever`]). Nothing here writes a value anywhere,
//! and no message has one.

mod file;
mod follower;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub use self::follower::{INTERVAL, follow_for_ever};
pub use self::values::SecretValues;

use crate::model::names::TeamName;
use crate::model::secret::{SecretError, SecretRef, SecretSource};

/// Largest secret by default.
const BYTES_MAX: u64 = 64 << 10;

/// The options of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretOptions {
    /// The folder with a folder for each team (`--secrets-dir`); without it, no team has files.
    pub folder: Option<PathBuf>,
    /// Largest secret, in bytes. Default 64 KiB (`--secret-bytes-max`).
    pub bytes_max: u64,
}

impl Default for SecretOptions {
    fn default() -> Self {
        Self { folder: None, bytes_max: BYTES_MAX }
    }
}

/// Reads the secrets of teams. Cloning shares it.
#[derive(Clone)]
pub struct Secrets {
    shared: Arc<Shared>,
}

struct Shared {
    options: SecretOptions,
    /// Reads a variable of the environment.
    variable: fn(&str) -> Option<OsString>,
    /// The values of instances, as long as there are any.
    in_use: Mutex<Vec<Weak<SecretValues>>>,
}

// === impl Secrets ===

impl Default for Secrets {
    fn default() -> Self {
        Self::new(SecretOptions::default())
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Secrets {
    pub fn new(options: SecretOptions) -> Self {
        Self::with_variables(options, |name| std::env::var_os(name))
    }

    /// Refuses a folder that is not there: every deployment that needs it would be refused later.
    pub fn open(options: SecretOptions) -> Result<Self, String> {
        match options.folder.as_deref().map(|folder| (folder, std::fs::metadata(folder))) {
            Some((folder, Err(error))) => Err(format!("--secrets-dir {}: {error}", folder.display())),
            Some((folder, Ok(found))) if !found.is_dir() => {
                Err(format!("--secrets-dir {}: it is not a folder", folder.display()))
            }
            Some((_, Ok(_))) | None => Ok(Self::new(options)),
        }
    }

    /// Reads variables by `variable`.
    pub fn with_variables(options: SecretOptions, variable: fn(&str) -> Option<OsString>) -> Self {
        Self { shared: Arc::new(Shared { options, variable, in_use: Mutex::default() }) }
    }

    /// Reads secrets of a team, all of them. Blocks.
    pub fn read(&self, team: &TeamName, secrets: &[SecretRef]) -> Result<Arc<SecretValues>, SecretError> {
        if secrets.is_empty() {
            return Ok(Arc::default());
        }
        let read = |secret: &SecretRef| Ok((secret.clone(), self.read_one(team, secret)?));
        let read = secrets.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(SecretValues::new(team.clone(), read)))
    }

    /// Keeps an eye on values that an instance has: it is told when they change.
    pub fn follow(&self, values: &Arc<SecretValues>) {
        let mut in_use = self.shared.in_use.lock();
        in_use.retain(|values| values.strong_count() > 0);
        in_use.push(Arc::downgrade(values));
    }

    fn read_one(&self, team: &TeamName, secret: &SecretRef) -> Result<String, SecretError> {
        let Shared { options, variable, .. } = &*self.shared;
        let bytes = match secret.source {
            SecretSource::File => match &options.folder {
                Some(folder) => file::read(folder, team, &secret.name, options.bytes_max)?,
                None => {
                    let message = format!("{secret}: this host has no folder of secrets (--secrets-dir)");
                    return Err(SecretError::Missing(message));
                }
            },
            SecretSource::Env => {
                let name = secret.variable(team);
                let value = variable(&name).ok_or_else(|| {
                    SecretError::Missing(format!("{secret}: the host's environment has no variable {name}"))
                })?;
                value.into_encoded_bytes()
            }
        };
        file::text(bytes, options.bytes_max)
            .map_err(|reason| SecretError::Unusable(format!("{secret} of team {team} {reason}")))
    }
}

#[cfg(test)]
mod tests;
