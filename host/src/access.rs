//! Recognises callers: by a token of the cluster, by the token of the host's own configuration, by a JWT of the operator's
//! identity provider ([`oidc`]), or by a client's certificate.
//!
//! | topic | partitions | key | value |
//! |---|---|---|---|
//! | `_sandbar.<cluster>.tokens` | 1, compacted | the token's id | [`TokenRecord`] as JSON, with its version |
//!
//! A token is kept as its SHA-256 only. Every host follows the topic, so that a token that was revoked is refused
//! everywhere within a second. A record that a host does not understand admits nobody. This module decides who a caller is;
//! the API decides what it may do.

mod admin_token;
mod client_certificate;
mod client_roles;
mod oidc;
mod request_rate;
mod secret;
mod sign_in;
mod token_record;
mod tokens;

pub use self::admin_token::{AdminTokens, FileError};
pub use self::client_certificate::ClientCertificate;
pub use self::client_roles::{CertificateError, ClientRoles, RulesError};
pub use self::oidc::{OidcError, OidcOptions, Provider};
pub use self::request_rate::RequestRate;
pub use self::secret::{PREFIX, TokenHash, TokenSecret};
pub use self::sign_in::{Access, SignInError};
pub use self::token_record::TokenRecord;
pub use self::tokens::{Tokens, TokensError, control_topic};
pub use crate::model::access::{Grant, Principal, PrincipalKind, Role, Scope};
