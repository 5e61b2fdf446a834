//! The exchanges by which the command line signs a person in: the device grant (RFC 8628), refresh (RFC 6749), and
//! revocation (RFC 7009).

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::http::{Answer, FetchError, Http};
use super::url::ProviderUrl;
use crate::model::json;

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The time between two polls of a provider that names none.
const INTERVAL: u64 = 5;
const INTERVAL_MAX: u64 = 60;
/// Longest wait for the person.
const EXPIRES_IN_MAX: u64 = 1800;

/// A sign-in that has begun: a person enters the code at the URL.
#[derive(Debug, Clone)]
pub struct DeviceCode {
    secret: String,
    pub user_code: String,
    pub url: String,
    /// The URL that has the code in it already.
    pub url_with_code: Option<String>,
    pub interval: Duration,
    pub expires_in: Duration,
}

/// The tokens of a person. Neither is shown.
#[derive(Clone, Deserialize)]
pub struct TokenSet {
    #[serde(default)]
    pub access_token: Option<String>,
    #[serde(default)]
    pub id_token: Option<String>,
    #[serde(default)]
    pub refresh_token: Option<String>,
}

/// The state of a sign-in.
pub enum Poll {
    Done(Box<TokenSet>),
    Pending,
    /// The provider asks to wait longer between polls.
    SlowDown,
}

#[derive(Deserialize)]
struct DeviceForm {
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    #[serde(default)]
    interval: Option<u64>,
    expires_in: u64,
}

#[derive(Deserialize)]
struct ErrorForm {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// Begins a sign-in. Blocks.
pub fn device_code(http: &Http, url: &ProviderUrl, fields: &[(&str, &str)]) -> Result<DeviceCode, FetchError> {
    let form: DeviceForm = success(url, &http.post(url, fields)?)?;
    Ok(DeviceCode {
        secret: form.device_code,
        user_code: form.user_code,
        url: form.verification_uri,
        url_with_code: form.verification_uri_complete,
        interval: Duration::from_secs(form.interval.unwrap_or(INTERVAL).clamp(1, INTERVAL_MAX)),
        expires_in: Duration::from_secs(form.expires_in.min(EXPIRES_IN_MAX)),
    })
}

/// Asks if the person has signed in. Blocks.
pub fn poll(http: &Http, url: &ProviderUrl, code: &DeviceCode, fields: &[(&str, &str)]) -> Result<Poll, FetchError> {
    let own = [("grant_type", DEVICE_GRANT), ("device_code", code.secret.as_str())];
    // A provider that is away for a moment is asked again, less often (RFC 8628, section 3.5).
    let Ok(answer) = http.post(url, &[&own, fields].concat()) else { return Ok(Poll::SlowDown) };
    match error_of(&answer).as_deref() {
        Some("authorization_pending") => Ok(Poll::Pending),
        Some("slow_down") => Ok(Poll::SlowDown),
        _ if answer.status >= 500 => Ok(Poll::SlowDown),
        _ => success(url, &answer).map(|tokens| Poll::Done(Box::new(tokens))),
    }
}

/// Asks for new tokens. None: the refresh token counts no more, and the person must sign in again. Blocks.
pub fn refresh(
    http: &Http,
    url: &ProviderUrl,
    token: &str,
    fields: &[(&str, &str)],
) -> Result<Option<TokenSet>, FetchError> {
    let own = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let answer = http.post(url, &[&own, fields].concat())?;
    match error_of(&answer).as_deref() {
        Some("invalid_grant") => Ok(None),
        _ => success(url, &answer).map(Some),
    }
}

/// Ends a refresh token. Blocks.
pub fn revoke(http: &Http, url: &ProviderUrl, token: &str, client_id: &str) -> Result<(), FetchError> {
    let answer = http.post(url, &[("token", token), ("token_type_hint", "refresh_token"), ("client_id", client_id)])?;
    if answer.status == 200 { Ok(()) } else { Err(refused(url, &answer)) }
}

fn success<T: DeserializeOwned>(url: &ProviderUrl, answer: &Answer) -> Result<T, FetchError> {
    if answer.status != 200 {
        return Err(refused(url, answer));
    }
    // The message does not quote the answer: it has secrets.
    json::read(&answer.body).map_err(|_| FetchError::new(url, "the answer has other fields than it should"))
}

fn error_of(answer: &Answer) -> Option<String> {
    let form: ErrorForm = json::read(&answer.body).ok()?;
    (answer.status != 200).then_some(form.error)
}

fn refused(url: &ProviderUrl, answer: &Answer) -> FetchError {
    match json::read::<ErrorForm>(&answer.body) {
        Ok(ErrorForm { error, error_description: Some(why) }) => FetchError::new(url, format_args!("{error}: {why}")),
        Ok(ErrorForm { error, .. }) => FetchError::new(url, error),
        Err(_) => FetchError::new(url, format_args!("the answer has the status {}", answer.status)),
    }
}
