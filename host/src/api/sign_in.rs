//! The sign-in of a request's caller, which may end before the request's work begins: while a body arrives slowly, or while
//! the request waits for its permit, a token is revoked or expires.
//!
//! The check before the routes makes the sign-in known to all that a handler awaits. The work of a request asks for it where
//! it begins, in [`blocking`](super::shared::blocking), so no handler has to remember that.

use std::sync::Arc;

use crate::access::{Access, ClientCertificate, Principal};
use crate::model::codes::Code;
use crate::model::units::Timestamp;

use super::problem::Refusal;

tokio::task_local! {
    static CURRENT: SignIn;
}

/// The sign-in of a request's caller.
#[derive(Clone)]
pub struct SignIn {
    pub access: Arc<Access>,
    pub principal: Arc<Principal>,
    pub certificate: Option<ClientCertificate>,
}

/// The sign-in of the request whose handler this is; none where nobody has to sign in, and in the body of an answer.
pub fn current() -> Option<SignIn> {
    CURRENT.try_with(SignIn::clone).ok()
}

impl SignIn {
    /// Runs the handler of the caller's request.
    pub async fn handle<T>(self, handler: impl Future<Output = T>) -> T {
        CURRENT.scope(self, handler).await
    }

    /// Returns false as soon as the caller would not be recognised any more, or not with the same roles.
    pub fn is_valid(&self) -> bool {
        self.access.is_valid(&self.principal, self.certificate.as_ref(), Timestamp::now())
    }

    /// Refuses a caller whose sign-in has ended.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.is_valid() {
            return Ok(());
        }
        let detail = "the caller's token was revoked, has expired or has other roles since the request began";
        Err(Refusal::new(Code::NotSignedIn, detail))
    }
}
