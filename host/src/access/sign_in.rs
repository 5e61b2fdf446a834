//! Finds out who sends a request.

use std::sync::Arc;

use tokio::time::Instant;

use super::admin_token::AdminTokens;
use super::client_certificate::ClientCertificate;
use super::client_roles::{CertificateError, ClientRoles};
use super::oidc::{OidcError, Provider};
use super::secret::{PREFIX, TokenSecret};
use super::tokens::Tokens;
use crate::model::access::{ADMIN_TOKEN, Grant, Principal, PrincipalKind, Role, Scope};
use crate::model::codes::Code;
use crate::model::names::TokenId;
use crate::model::units::Timestamp;
use crate::oidc::JwtError;

/// The reason why a caller is not recognised. None of them says anything about tokens that the caller does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    #[error("the request has no Authorization header")]
    Missing,
    #[error("the Authorization header is not `Bearer` with a token")]
    Form,
    #[error("the token is not one of Sandbar's: {0}")]
    Malformed(&'static str),
    #[error("the token is not known, or was revoked")]
    Unknown,
    #[error("the token has expired")]
    Expired,
    #[error(transparent)]
    Oidc(OidcError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// The callers that a host recognises.
pub struct Access {
    /// False if the host asks nobody to sign in.
    pub is_required: bool,
    pub admin_tokens: AdminTokens,
    pub tokens: Arc<Tokens>,
    /// The identity provider, if the host has one.
    pub oidc: Option<Provider>,
    pub client_roles: ClientRoles,
}

// === impl SignInError ===

impl SignInError {
    /// The label of the metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Form | Self::Malformed(_) => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Oidc(error) => error.reason(),
            Self::Certificate(CertificateError::Unknown) => "certificate_unknown",
            Self::Certificate(CertificateError::Expired) => "certificate_expired",
        }
    }

    /// The code of the answer.
    pub fn code(self) -> Code {
        match self {
            Self::Oidc(OidcError::NoKeys) => Code::OidcKeys,
            _ => Code::NotSignedIn,
        }
    }
}

// === impl Access ===

impl Access {
    /// Recognises the caller by the values of its Authorization headers, or without any by its certificate. A token goes
    /// before the certificate: the request names it, while the certificate may be that of a machine or a proxy. One that is
    /// refused is refused, so that a revoked token does not go on as somebody else.
    ///
    /// A caller waits only for a key that the identity provider may have by now.
    pub async fn sign_in(
        &self,
        authorization: &[&[u8]],
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Principal, SignInError> {
        let found = self.recognise(authorization, certificate, now);
        let Err(SignInError::Oidc(OidcError::Refused(JwtError::UnknownKey))) = found else { return found };
        match &self.oidc {
            Some(oidc) if oidc.refetched(Instant::now()).await => self.recognise(authorization, certificate, now),
            _ => found,
        }
    }

    /// Recognises the caller by that which the host knows now. It never waits.
    pub fn recognise(
        &self,
        authorization: &[&[u8]],
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> Result<Principal, SignInError> {
        if !self.is_required {
            return Ok(Principal::anyone());
        }
        match (authorization, certificate) {
            ([], Some(certificate)) if self.client_roles.has_file() => Ok(self.client_roles.principal(certificate, now)?),
            ([], _) => Err(SignInError::Missing),
            ([only], _) => self.bearer(only, now),
            _ => Err(SignInError::Form),
        }
    }

    fn bearer(&self, value: &[u8], now: Timestamp) -> Result<Principal, SignInError> {
        let value = std::str::from_utf8(value).map_err(|_| SignInError::Form)?;
        let (scheme, credentials) = value.split_once(' ').ok_or(SignInError::Form)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(SignInError::Form);
        }
        let credentials = credentials.trim();
        if let Some(oidc) = self.oidc.as_ref().filter(|_| !credentials.starts_with(PREFIX)) {
            return oidc.sign_in(credentials, now, Instant::now()).map_err(SignInError::Oidc);
        }
        if !credentials.starts_with(PREFIX) {
            return Err(SignInError::Malformed("it does not begin with sbr_"));
        }
        let token: TokenSecret = credentials.parse().map_err(SignInError::Malformed)?;
        let hash = token.hash();
        if self.admin_tokens.has(&hash) {
            return Ok(admin(hash.short()));
        }
        match self.tokens.current().by_hash(&hash) {
            None => Err(SignInError::Unknown),
            Some(token) if token.is_expired(now) => Err(SignInError::Expired),
            Some(token) => Ok(token.principal()),
        }
    }

    /// Returns false as soon as the caller would not be recognised any more, or not with the same roles: its token was
    /// revoked, it has expired, or the rules for its certificate have changed.
    pub fn is_valid(&self, principal: &Principal, certificate: Option<&ClientCertificate>, now: Timestamp) -> bool {
        match principal.kind {
            PrincipalKind::Token => {
                let id = principal.id.parse::<TokenId>();
                let all = self.tokens.current();
                id.ok().and_then(|id| all.by_id.get(&id)).is_some_and(|token| !token.is_expired(now))
            }
            PrincipalKind::AdminToken => self.admin_tokens.has_short(&principal.id),
            PrincipalKind::Oidc => self.oidc.as_ref().is_some_and(|oidc| oidc.is_valid(principal, now, Instant::now())),
            PrincipalKind::Unknown => false,
            PrincipalKind::Certificate => certificate
                .is_some_and(|own| self.client_roles.principal(own, now).is_ok_and(|current| current == *principal)),
            PrincipalKind::Anyone => true,
        }
    }
}

/// Whoever holds the token of the host's configuration.
fn admin(id: String) -> Principal {
    let grants = vec![Grant { scope: Scope::Cluster, role: Role::Admin }];
    Principal { kind: PrincipalKind::AdminToken, id, name: ADMIN_TOKEN.to_owned(), grants, login: None }
}
