//! The check before every route: who the caller is, and if its roles permit the request.
//!
//! The check stands between the routes and everything that they do: no body was read, and nothing was looked up. So a
//! refusal is the same for a transform that is there and for one that is not. A handler asks the [`Caller`] for the rest:
//! lists show the parts that it may see. The sign-in is looked at again when the work of the request begins, and while its
//! answer is a stream.

mod needs;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::time::Instant;

use crate::access::{ClientCertificate, SignInError};
use crate::audit::{Action, Actor, AuditEntry, RefusedRequest};
use crate::model::access::{Principal, Role, Scope};
use crate::model::codes::Code;
use crate::model::names::{TeamName, TransformId};
use crate::model::units::{Rfc3339, Timestamp};

use super::problem::Refusal;
use super::request_id::RequestId;
use super::shared::Shared;
use super::sign_in::SignIn;

pub use self::needs::{Need, need};

/// Time between two looks at the right of a client that reads a stream.
const STREAM_CHECK: Duration = Duration::from_secs(1);

/// Time after which the keys of an identity provider may be known.
const KEYS_WAIT: Duration = Duration::from_secs(4);

/// The address that a request's connection came from.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub IpAddr);

/// The recognised sender of a request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Arc<Principal>,
    address: Option<IpAddr>,
    request: String,
}

/// The check. It puts the [`Caller`] into the request's extensions.
pub async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let checked = checked(&shared, &mut parts).await;
    let (caller, need, team) = match checked {
        Ok(checked) => checked,
        Err(refused) => return refused.answer(&shared).await,
    };
    let sign_in = SignIn {
        access: shared.state.access.clone(),
        principal: caller.principal.clone(),
        certificate: parts.extensions.get::<ClientCertificate>().cloned(),
    };
    let request = refused_request(&caller, team, &parts);
    parts.extensions.insert(caller);
    let handler = next.run(Request::from_parts(parts, body));
    if need == Need::Nobody {
        return handler.await;
    }
    let response = recorded(&shared, sign_in.clone().handle(handler).await, request).await;
    if is_stream(&response) { while_valid(response, sign_in) } else { response }
}

/// Records the refusal of a handler that has checked rights as well: by the content of the request, by the topics that the
/// transform reads, or because the sign-in has ended.
async fn recorded(shared: &Arc<Shared>, mut response: Response, request: RefusedRequest) -> Response {
    let Some(code) = response.extensions().get::<Refusal>().map(Refusal::code) else { return response };
    if code == Code::NotSignedIn {
        shared.state.access_metrics.sign_in_failed(SignInError::Unknown.reason());
        name_scheme(&mut response);
    }
    if matches!(code, Code::Forbidden | Code::Redacted | Code::NotSignedIn) {
        record(shared, RefusedRequest { code, ..request }).await;
    }
    response
}

/// Tells the sender how callers sign in.
fn name_scheme(response: &mut Response) {
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sandbar\""));
}

/// The request as the audit topic names it if it is refused.
fn refused_request(caller: &Caller, team: Option<TeamName>, parts: &Parts) -> RefusedRequest {
    let route = parts.extensions.get::<MatchedPath>().map_or("", |path| path.as_str());
    let target = format!("{} {route}", parts.method);
    RefusedRequest { actor: caller.actor(), team, target, code: Code::Forbidden }
}

/// Puts a refusal into the audit topic, or counts it where there are many.
async fn record(shared: &Arc<Shared>, request: RefusedRequest) {
    if let Some(entry) = shared.state.refusals.take(request) {
        let refusals = shared.state.refusals.clone();
        // A panic in there was reported where it happened.
        let _ = tokio::task::spawn_blocking(move || refusals.append(&entry)).await;
    }
}

/// A refused request with its answer.
struct Refused {
    request: RefusedRequest,
    refusal: Refusal,
    retry_after: Option<Duration>,
}

/// Recognises the caller and checks its right. Returns both, with the team of the path if it has one.
async fn checked(shared: &Arc<Shared>, parts: &mut Parts) -> Result<(Caller, Need, Option<TeamName>), Refused> {
    let route = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(route) = route else {
        // It is answered that there is none, whoever asks.
        return Ok((Caller::unknown(parts), Need::Nobody, None));
    };
    let Some(need) = need(&parts.method, &route) else {
        let detail = format!("{route} does not take {}", parts.method);
        return Err(Refused::new(&Caller::unknown(parts), parts, Refusal::new(Code::Method, detail)));
    };
    let authorization: Vec<_> =
        parts.headers.get_all(header::AUTHORIZATION).into_iter().map(HeaderValue::as_bytes).collect();
    let certificate = parts.extensions.get::<ClientCertificate>();
    let access = &shared.state.access;
    // A probe waits for no identity provider.
    let found = match need {
        Need::Nobody => access.recognise(&authorization, certificate, Timestamp::now()),
        _ => access.sign_in(&authorization, certificate, Timestamp::now()).await,
    };
    let caller = match found {
        Ok(principal) => Caller::new(principal, parts),
        // A probe with an old token learns as much as one without.
        Err(_) if need == Need::Nobody => Caller::unknown(parts),
        Err(error) => {
            shared.state.access_metrics.sign_in_failed(error.reason());
            let refusal = Refusal::new(error.code(), error.to_string());
            return Err(Refused::new(&Caller::unknown(parts), parts, refusal));
        }
    };
    if let Some(wait) = shared.rate_excess(&caller.principal, Instant::now()) {
        let refusal = Refusal::new(Code::RequestRate, "too many requests (requests_per_principal_max)");
        return Err(Refused { retry_after: Some(wait), ..Refused::new(&caller, parts, refusal) });
    }
    let team = team_of(parts).await;
    let permitted = match (need, &team) {
        (Need::Nobody | Need::Identity, _) => Ok(()),
        (Need::SignIn, _) => caller.require_any(),
        (Need::Cluster(role), _) => caller.require(&Scope::Cluster, role),
        (Need::Team(roles), Ok(team)) => caller.require_one(team, roles),
        (Need::Records, Ok(team)) => caller.require_one(team, shared.state.roles_of_records()),
        (Need::Team(_) | Need::Records, Err(refusal)) => Err(refusal.clone()),
    };
    match permitted {
        Ok(()) => Ok((caller, need, team.ok())),
        Err(refusal) => Err(Refused::new(&caller, parts, refusal).of_team(team.ok())),
    }
}

/// The team of the path, as the handler will read it.
async fn team_of(parts: &mut Parts) -> Result<TeamName, Refusal> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|rejection| Refusal::new(Code::BadName, rejection.body_text()))?;
    let raw = params.iter().find(|(name, _)| *name == "team").map(|(_, value)| value.to_owned()).unwrap_or_default();
    raw.parse().map_err(|error| Refusal::of_field(Code::BadName, "team", format!("{error}")))
}

/// Returns true if nobody knows how long the answer will be: its end may be far away.
fn is_stream(response: &Response) -> bool {
    response.body().size_hint().exact().is_none()
}

/// Ends the stream soon after the caller's token was revoked or has expired, or its certificate has other roles.
fn while_valid(response: Response, sign_in: SignIn) -> Response {
    let (parts, body) = response.into_parts();
    let no_longer_valid = async move {
        while sign_in.is_valid() {
            tokio::time::sleep(STREAM_CHECK).await;
        }
    };
    let stream = body.into_data_stream().take_until(Box::pin(no_longer_valid));
    Response::from_parts(parts, Body::from_stream(stream))
}

// === impl Refused ===

impl Refused {
    fn new(caller: &Caller, parts: &Parts, refusal: Refusal) -> Self {
        let request = RefusedRequest { code: refusal.code(), ..refused_request(caller, None, parts) };
        Self { request, refusal, retry_after: None }
    }

    fn of_team(mut self, team: Option<TeamName>) -> Self {
        self.request.team = team;
        self
    }

    /// Answers when the refusal is in the audit topic, if it is that of a caller who is known.
    async fn answer(self, shared: &Arc<Shared>) -> Response {
        let Self { request, refusal, retry_after } = self;
        shared.state.metrics.request_refused(refusal.code());
        record(shared, request).await;
        let is_unknown = refusal.code() == Code::NotSignedIn;
        let retry_after = retry_after.or((refusal.code() == Code::OidcKeys).then_some(KEYS_WAIT));
        let mut response = refusal.into_response();
        if is_unknown {
            name_scheme(&mut response);
        }
        if let Some(wait) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}

// === impl Caller ===

impl Caller {
    fn new(principal: Principal, parts: &Parts) -> Self {
        let address = parts.extensions.get::<PeerAddress>().map(|PeerAddress(address)| *address);
        let request = parts.extensions.get::<RequestId>().map(RequestId::to_string).unwrap_or_default();
        Self { principal: Arc::new(principal), address, request }
    }

    fn unknown(parts: &Parts) -> Self {
        Self::new(Principal::unknown(), parts)
    }

    /// The author of a change, as the audit topic names it.
    pub fn actor(&self) -> Actor {
        Actor::new(&self.principal, self.address, &self.request)
    }

    /// An entry of the audit topic for a change that the caller makes now.
    pub fn entry(&self, action: Action) -> AuditEntry {
        AuditEntry::new(self.actor(), action, Rfc3339(Timestamp::now()))
    }

    /// An entry for a change of a transform.
    pub fn entry_of(&self, action: Action, id: &TransformId) -> AuditEntry {
        let TransformId { team, name } = id.clone();
        AuditEntry { team: Some(team), transform: Some(name), ..self.entry(action) }
    }

    /// Refuses a caller without the role in the scope.
    pub fn require(&self, scope: &Scope, role: Role) -> Result<(), Refusal> {
        if self.principal.may(scope, role) {
            return Ok(());
        }
        Err(match scope.team() {
            Some(team) => self.refusal(&format!("the role {role} in team {team}")),
            None => self.refusal(&format!("the role {role} in the whole cluster (*:{role})")),
        })
    }

    /// Refuses a caller without any role. A provider vouches for everybody whom it knows.
    fn require_any(&self) -> Result<(), Refusal> {
        match self.principal.grants.as_slice() {
            [] => Err(self.refusal("any role: none of its groups has one")),
            _ => Ok(()),
        }
    }

    /// Refuses a caller without any of the roles in the team.
    pub fn require_one(&self, team: &TeamName, roles: &[Role]) -> Result<(), Refusal> {
        if roles.iter().any(|role| self.principal.may_in(team, *role)) {
            return Ok(());
        }
        let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        Err(self.refusal(&format!("the role {} in team {team}", roles.join(" or "))))
    }

    pub fn refusal(&self, needed: &str) -> Refusal {
        Refusal::new(Code::Forbidden, format!("{} does not have {needed}", self.principal.name))
    }

    /// Returns true if the caller may know that the transform is there.
    pub fn sees(&self, id: &TransformId) -> bool {
        self.sees_team(&id.team)
    }

    pub fn sees_team(&self, team: &TeamName) -> bool {
        self.principal.may_in(team, Role::View)
    }

    /// Returns true if the caller may see all teams.
    pub fn sees_all(&self) -> bool {
        self.principal.may(&Scope::Cluster, Role::View)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = parts.extensions.get::<Self>().cloned();
        // The check comes before every route. Without it nobody is let in.
        caller.ok_or_else(|| Refusal::new(Code::NotSignedIn, "the caller was not checked"))
    }
}
