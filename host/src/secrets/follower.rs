//! Looks for secrets that have changed, for as long as the host runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{SecretValues, Secrets};
use crate::model::secret::SecretError;

/// Time between two looks. A change counts once two looks have found it: a file may be read while it is being written.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// The content that the last look found, by the address of the values it was compared with.
pub(super) type Seen = BTreeMap<usize, Arc<SecretValues>>;

/// Notes changes of secrets that instances have, until `shutdown` becomes true.
pub async fn follow_for_ever(secrets: Secrets, mut shutdown: watch::Receiver<bool>) {
    let mut seen = Seen::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = shutdown.wait_for(|&down| down) => return,
        }
        let secrets = secrets.clone();
        let before = std::mem::take(&mut seen);
        // A panic in there was reported where it happened.
        seen = tokio::task::spawn_blocking(move || secrets.look(&before)).await.unwrap_or_default();
    }
}

impl Secrets {
    /// Reads the secrets in use again. One that is gone, or unusable, changes nothing: instances go on with the value that
    /// they have. Returns the changes that are to be confirmed by the next look.
    pub(super) fn look(&self, before: &Seen) -> Seen {
        let in_use: Vec<Arc<SecretValues>> = self.shared.in_use.lock().iter().filter_map(std::sync::Weak::upgrade).collect();
        let mut seen = Seen::new();
        for values in in_use.iter().filter(|values| !values.have_changed()) {
            let address = Arc::as_ptr(values) as usize;
            let Some(team) = values.team() else { continue };
            match self.read(team, &values.secrets()) {
                Ok(read) if read.is_same(values) => {}
                Ok(read) if before.get(&address).is_some_and(|last| last.is_same(&read)) => {
                    tracing::info!(%team, "secrets have changed: their transforms get new instances");
                    values.note_change();
                }
                Ok(read) => drop(seen.insert(address, read)),
                Err(error @ (SecretError::Missing(_) | SecretError::Unusable(_))) => {
                    tracing::debug!(%team, %error, "a secret cannot be read again");
                }
            }
        }
        seen
    }
}
