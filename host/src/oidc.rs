//! The client's side of an OpenID provider: its document and keys over HTTP, and the checks of a JWT.
//!
//! The host verifies tokens with it (`access`), the command line asks for them (`cli`). A provider's answers are bounded in
//! size and time, no redirect is followed, and no URL of a token is ever asked: keys come from the provider's own document
//! alone. This module holds no state.

mod algorithm;
mod claims;
mod device;
mod discovery;
mod http;
mod jws;
mod keys;
mod url;

pub use self::algorithm::Algorithm;
pub use self::claims::{ClaimRules, Subject};
pub use self::device::{DeviceCode, Poll, TokenSet, device_code, poll, refresh, revoke};
pub use self::discovery::Discovery;
pub use self::http::{FetchError, Http};
pub use self::jws::{JwtError, SignedToken, TOKEN_BYTES_MAX};
pub use self::keys::KeySet;
pub use self::url::{Issuer, ProviderUrl};
