//! The sign-in of a context at an identity provider, as the file of contexts keeps it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::units::{Rfc3339, Timestamp};

/// Time before its expiry at which a token is renewed.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);

/// The provider that gave the token of a context, and the way to the next token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderLogin {
    pub issuer: String,
    pub client_id: String,
    /// True if the ID token is the one for the host, instead of the access token.
    pub id_token: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    pub expires_at: String,
}

// === impl ProviderLogin ===

impl ProviderLogin {
    /// Returns true if the token expires soon.
    pub fn is_due(&self) -> bool {
        Timestamp::now().after(RENEWED_BEFORE) >= self.ends_at()
    }

    pub fn has_expired(&self) -> bool {
        Timestamp::now() >= self.ends_at()
    }

    /// A time that cannot be read is past.
    fn ends_at(&self) -> Timestamp {
        self.expires_at.parse::<Rfc3339>().map_or(Timestamp(0), |Rfc3339(at)| at)
    }

    /// The fields of each request for tokens.
    pub fn fields(&self) -> Vec<(&str, &str)> {
        let resource = self.resource.as_deref().map(|resource| ("resource", resource));
        [("client_id", self.client_id.as_str())].into_iter().chain(resource).collect()
    }
}
