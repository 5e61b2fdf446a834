//! Clients that are kept for the next call, a few of them: calls that come at once wait for no other.

use parking_lot::Mutex;

use super::raw::{Client, RawError};

/// Most clients that are kept. Each has threads and connections of its own.
const KEPT_MAX: usize = 3;

/// The clients that wait for a call. Each is kept with the generation of its properties.
#[derive(Default)]
pub(super) struct ClientPool {
    kept: Mutex<Vec<(u64, Client)>>,
}

impl ClientPool {
    /// Calls a client that no other call has. It is kept for the next call, unless this one fails.
    pub fn with<T>(
        &self,
        generation: u64,
        open: impl FnOnce() -> Result<Client, RawError>,
        call: impl FnOnce(&Client) -> Result<T, RawError>,
    ) -> Result<T, RawError> {
        let client = match self.take(generation) {
            Some(client) => client,
            None => open()?,
        };
        let answer = call(&client)?;
        let mut kept = self.kept.lock();
        if kept.len() < KEPT_MAX {
            kept.push((generation, client));
        }
        Ok(answer)
    }

    /// Takes a client of this generation. Those of earlier ones are dropped.
    fn take(&self, generation: u64) -> Option<Client> {
        let mut kept = self.kept.lock();
        kept.retain(|(of, _)| *of == generation);
        kept.pop().map(|(_, client)| client)
    }
}
