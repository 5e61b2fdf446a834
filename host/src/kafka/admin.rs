//! The administration client of the rdkafka crate, made when it is first needed, and anew when its properties change.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;

use super::credentials::Connection;
use super::error::{of_new_client, unavailable};
use super::raw::{CLIENT_THREADS, RawError, set_token, take_error_lines};
use super::token::HeldToken;
use crate::ports::LogError;
use crate::threads;

/// A part of the line that librdkafka logs when it has no connection left.
const ALL_DOWN: &str = "brokers are down";

pub(super) type Client = AdminClient<DefaultClientContext>;

/// The administration client of one connection.
pub(super) struct Admin {
    connection: Connection,
    made: Mutex<Option<Made>>,
    /// The newest reason for which brokers do not let the client in. librdkafka tries on, and a call only times out. It is
    /// logged once for many attempts, so it stays until a call has an answer, or another reason is logged.
    refusal: Mutex<Option<Refusal>>,
}

struct Made {
    /// The generation of its properties.
    generation: u64,
    client: Arc<Client>,
    /// The token that it has. Nobody polls the client, so it asks for none.
    token: Option<Arc<HeldToken>>,
}

/// The reason for which no connection comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// The brokers refuse the credentials.
    LogIn(String),
    /// Anything else, such as a certificate that is not trusted.
    Other(String),
}

impl Admin {
    pub fn new(connection: Connection) -> Self {
        Self { connection, made: Mutex::default(), refusal: Mutex::default() }
    }

    pub fn client(&self) -> Result<Arc<Client>, LogError> {
        let generation = self.connection.generation();
        let token = self.connection.token_for_call().map_err(unavailable)?;
        let mut made = self.made.lock();
        if let Some(made) = made.as_mut().filter(|made| made.is_usable(generation)) {
            made.renew(token).map_err(unavailable)?;
            return Ok(made.client.clone());
        }
        let config = self.connection.admin().map_err(unavailable)?;
        let client = threads::with_room(CLIENT_THREADS, || config.create());
        let client = client.map_err(|error| LogError::Unavailable(error.to_string()))?;
        let client: Arc<Client> = Arc::new(client.map_err(|error| of_new_client(&error))?);
        if let Some(token) = &token {
            set_token(client.inner(), token).map_err(unavailable)?;
        }
        let before = made.replace(Made { generation, client: client.clone(), token });
        *self.refusal.lock() = None;
        drop(made);
        drop(before);
        Ok(client)
    }

    /// Passes an answer on; in the place of a time-out, the reason for which there was none.
    pub fn answered<T>(&self, client: &Client, answer: Result<T, KafkaError>) -> Result<T, LogError> {
        let mut refusal = self.refusal.lock();
        // That all brokers are away follows each reason, and is none.
        for (_, line) in take_error_lines(client.inner()).into_iter().filter(|(_, line)| !line.contains(ALL_DOWN)) {
            *refusal = Some(Refusal::of(line));
        }
        let error = match answer {
            Ok(answer) => {
                *refusal = None;
                return Ok(answer);
            }
            Err(error) => error,
        };
        let brokers = &self.connection.brokers;
        Err(match refusal.clone() {
            Some(Refusal::LogIn(reason)) => LogError::Unauthorized(format!("{brokers} refuses the log-in: {reason}")),
            Some(Refusal::Other(reason)) => LogError::Unavailable(format!("no answer from {brokers}: {error} ({reason})")),
            None => LogError::Unavailable(format!("no answer from {brokers}: {error}")),
        })
    }
}

impl Made {
    /// Returns false if another client has to take its place. One whose token has ended has been refused meanwhile, and would
    /// tell of that first.
    fn is_usable(&self, generation: u64) -> bool {
        let has_ended = self.token.as_ref().is_some_and(|token| token.has_ended(Instant::now()));
        self.generation == generation && !has_ended
    }

    fn renew(&mut self, token: Option<Arc<HeldToken>>) -> Result<(), RawError> {
        let is_same = match (&self.token, &token) {
            (Some(before), Some(token)) => Arc::ptr_eq(before, token),
            (_, None) => true,
            (None, Some(_)) => false,
        };
        if let Some(token) = token.filter(|_| !is_same) {
            set_token(self.client.inner(), &token)?;
            self.token = Some(token);
        }
        Ok(())
    }
}

impl Refusal {
    /// Classes a refusal by the text of librdkafka's log line, which is all that there is.
    fn of(line: String) -> Self {
        let is_log_in = line.contains("SASL") && line.to_ascii_lowercase().contains("authentication");
        if is_log_in { Self::LogIn(line) } else { Self::Other(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, is_log_in: bool) {
        assert_eq!(matches!(Refusal::of(line.to_owned()), Refusal::LogIn(_)), is_log_in, "{line}");
    }

    /// Lines of librdkafka 2.12.
    #[test]
    fn a_refused_log_in_is_told_from_a_broken_connection() {
        check(
            "[thrd:sasl_ssl://k:9093/bootstrap]: sasl_ssl://k:9093/bootstrap: SASL authentication error: Authentication failed \
             during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 311ms in state AUTH_REQ)",
            true,
        );
        check("[thrd:k]: k: SASL PLAIN authentication failed", true);
        check("[thrd:k]: k: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)", false);
        check("[thrd:k]: k: SSL handshake failed: certificate verify failed: self-signed certificate", false);
    }
}
