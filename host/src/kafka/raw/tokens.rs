//! Tokens on their way to a client. librdkafka asks for one when a client is made and whenever one is to be renewed.

use std::ffi::{CString, c_char, c_void};
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::client::Client as CrateClient;

use super::convert::{c_string, text};
use super::error::{ErrorCode, RawError};
use super::sys::*;
use crate::kafka::token::HeldToken;
use crate::model::units::Timestamp;

const REASON_BYTES: usize = 512;

/// A function that librdkafka calls for a token.
pub(super) type Ask = unsafe extern "C" fn(*mut rd_kafka_t, *const c_char, *mut c_void);

/// Has a thread of its own call for tokens, so that a client gets them that nobody polls.
///
/// # Safety
/// `conf` is live.
pub(super) unsafe fn ask_in_background(conf: *mut rd_kafka_conf_t, ask: Ask) {
    // SAFETY: the caller's promise.
    unsafe {
        rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, Some(ask));
        rd_kafka_conf_enable_sasl_queue(conf, 1);
    }
}

/// Starts the thread.
///
/// # Safety
/// `rk` is live, and was made from a configuration of [`ask_in_background`].
pub(super) unsafe fn start(rk: *mut rd_kafka_t) -> Result<(), RawError> {
    // SAFETY: the caller's promise; the error is owned.
    unsafe { RawError::check("token thread", rd_kafka_sasl_background_callbacks_enable(rk)) }
}

/// Gives a client its token, or the reason why there is none.
///
/// # Safety
/// `rk` is live.
pub(super) unsafe fn answer<T: AsRef<HeldToken>>(rk: *mut rd_kafka_t, token: &Result<T, String>) {
    // SAFETY: the caller's promise; the text is NUL-terminated, and copied.
    let failed = |why: &str| unsafe { rd_kafka_oauthbearer_set_token_failure(rk, c_string(why).as_ptr()) };
    // SAFETY: the caller's promise.
    let set = token.as_ref().map(|token| unsafe { set(rk, token.as_ref()) });
    match set {
        Ok(Ok(())) => {}
        Ok(Err(error)) => drop(failed(&error.to_string())),
        Err(why) => drop(failed(why)),
    }
}

/// Sets the token of a client of the rdkafka crate, which asks for none.
pub fn set_token<C: ClientContext>(client: &CrateClient<C>, token: &HeldToken) -> Result<(), RawError> {
    // SAFETY: the client is live.
    unsafe { set(client.native_ptr(), token) }
}

/// # Safety
/// `rk` is live.
unsafe fn set(rk: *mut rd_kafka_t, held: &HeldToken) -> Result<(), RawError> {
    let mut reason = [0 as c_char; REASON_BYTES];
    let end = Timestamp::now().after(held.remaining(Instant::now()));
    let value = c_string(&held.token.value);
    let principal = c_string(&held.token.principal);
    let extensions: Vec<CString> =
        held.extensions.iter().flat_map(|(name, value)| [name, value]).map(|part| c_string(part)).collect();
    let mut pointers: Vec<*const c_char> = extensions.iter().map(|part| part.as_ptr()).collect();
    // SAFETY: the caller's promise; all texts are NUL-terminated, and copied.
    let code = unsafe {
        rd_kafka_oauthbearer_set_token(
            rk,
            value.as_ptr(),
            end.0,
            principal.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            reason.as_mut_ptr(),
            reason.len(),
        )
    };
    if code == 0 {
        return Ok(());
    }
    // SAFETY: librdkafka has ended the text with a NUL. It quotes a token with characters that none may have, so it is not
    // passed on with a value in it.
    let said = unsafe { text(reason.as_ptr()) }.replace(&held.token.value, "***");
    Err(RawError { message: said, ..RawError::of("set_token", ErrorCode::NO_TOKEN) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::super::{Client, ClientUse};
    use super::*;
    use crate::kafka::token::Token;

    /// The refresh comes by a thread of its own: no call is made on this client.
    #[test]
    fn a_client_that_nobody_polls_asks_for_tokens_again_and_again() {
        let (asked, questions) = channel();
        let lifetime = Duration::from_secs(2);
        let refresh = move || {
            asked.send(()).map_err(|_| "the test has ended")?;
            let token = Token { value: "a.b.c".into(), principal: "p".into(), lifetime };
            let extensions = vec![("traceId".to_owned(), "x".to_owned())];
            Ok(Arc::new(HeldToken { token, extensions, end: Instant::now() + lifetime }))
        };
        let properties = [
            ("bootstrap.servers", "127.0.0.1:1"),
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "OAUTHBEARER"),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let client = Client::producer(&properties, ClientUse { refresh: Some(Box::new(refresh)), ..ClientUse::default() })
            .expect("made");
        for question in 1..=3 {
            let asked = questions.recv_timeout(Duration::from_secs(60));
            assert!(asked.is_ok(), "question {question} has not come");
        }
        drop(client);
    }
}
