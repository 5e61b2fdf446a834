//! Keeps the keys of a provider and the file of roles up to date, for as long as the host runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::roles::RoleMap;
use super::{OidcOptions, Provider, Shared};
use crate::followed_file;
use crate::model::codes::Code;
use crate::model::text::OneLine;
use crate::model::units::Backoff;
use crate::oidc::{Discovery, FetchError, Http, KeySet};

/// Times between attempts after a failure, if they are shorter than the interval of a refresh.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };

// === impl Provider ===

impl Provider {
    /// Fetches the keys from time to time and whenever they are asked for, until `shutdown` becomes true. Keys stay if a
    /// fetch fails.
    pub async fn follow_keys_for_ever(self, mut shutdown: watch::Receiver<bool>) {
        let shared = self.shared;
        let mut failures = 0;
        let mut reported = None;
        loop {
            shared.begin();
            let own = shared.clone();
            let fetched = tokio::task::spawn_blocking(move || fetch(&own)).await;
            // A panic in there was reported where it happened.
            let fetched = fetched.unwrap_or_else(|_| Err(FetchError::new("the fetch", "it ended with a panic")));
            let wait = match &fetched {
                Ok(_) => shared.options.refresh_interval,
                Err(_) => BACKOFF.after(failures).min(shared.options.refresh_interval),
            };
            failures = if fetched.is_ok() { 0 } else { failures + 1 };
            shared.report(&fetched, &mut reported);
            shared.take(fetched.ok(), Instant::now());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shared.asked.notified() => {}
                _ = shutdown.wait_for(|&down| down) => return,
            }
        }
    }

    /// Takes each change of the file of roles, until `shutdown` becomes true. A file that is not valid changes nothing.
    pub async fn follow_roles_for_ever(self, shutdown: watch::Receiver<bool>) {
        let shared = self.shared;
        let Some(path) = shared.options.roles_file.clone() else { return };
        let own = path.clone();
        let take = |read: Result<RoleMap, String>| shared.take_roles(&path, read);
        followed_file::follow(shutdown, move || RoleMap::read(&own), take).await;
    }
}

/// Asks for the provider's document first: its keys may have moved.
fn fetch(shared: &Shared) -> Result<KeySet, FetchError> {
    let OidcOptions { rules, .. } = &shared.options;
    let http = Http::new(&shared.trust())?;
    Discovery::fetch(&http, &rules.issuer)?.fetch_keys(&http)
}

// === impl Shared ===

impl Shared {
    fn take_roles(&self, path: &Path, read: Result<RoleMap, String>) {
        let file = OneLine(path.display());
        self.metrics.oidc_roles_refused(read.is_err());
        match read {
            Ok(roles) if **self.roles.read() == roles => {}
            Ok(roles) => {
                *self.roles.write() = Arc::new(roles);
                info!(%file, "the file of roles is in use");
            }
            Err(error) => {
                warn!(%file, code = %Code::OidcOptions, %error, "the file of roles is not used; the roles stay");
            }
        }
    }

    /// Writes each new failure to the log, and the end of the last.
    fn report(&self, fetched: &Result<KeySet, FetchError>, reported: &mut Option<FetchError>) {
        match fetched {
            Ok(keys) => {
                let changed = *self.keys.read().keys != *keys;
                if reported.take().is_some() || changed {
                    info!(issuer = %self.options.rules.issuer, keys = keys.len(), "the identity provider's keys are in use");
                }
            }
            Err(error) => {
                self.metrics.oidc_fetch_failed();
                if reported.as_ref() != Some(error) {
                    let code = Code::OidcKeys;
                    warn!(%error, %code, "the identity provider's keys could not be fetched; the known ones stay");
                    *reported = Some(error.clone());
                }
            }
        }
    }
}
