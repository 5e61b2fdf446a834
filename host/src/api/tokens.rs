//! Tokens: make, list and revoke them; and the caller itself.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::access::{OidcOptions, TokenRecord, TokenSecret, TokensError};
use crate::api_types::{self, CallerView, Line, NewToken, ProviderView, SignInView, TokenList, TokenRequest, TokenView};
use crate::audit::{Action, AuditEntry};
use crate::model::access::{ADMIN_TOKEN, Principal, PrincipalKind, Role, Scope};
use crate::model::codes::Code;
use crate::model::names::TokenId;
use crate::model::random::random_u64;
use crate::model::spec::Problem;
use crate::model::units::{Rfc3339, Span, Timestamp};

use super::access::Caller;
use super::body::{self, Media, RequestBody};
use super::problem::Refusal;
use super::request::Name;
use super::shared::{AppState, blocking};

/// Largest request for a token.
const BYTES_MAX: usize = 4096;
const EXPIRES_IN: Duration = Duration::from_secs(90 * 24 * 3600);
const EXPIRES_IN_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Show how to sign in.
///
/// This route needs no token: the command line asks it before it has one.
#[utoipa::path(get, path = "/v1/sign-in", tag = "access",
    responses((status = 200, description = "The ways to sign in", body = SignInView)))]
pub async fn sign_in(State(shared): AppState) -> Json<SignInView> {
    let access = &shared.state.access;
    let provider = |options: &OidcOptions| ProviderView {
        issuer: Line::of(&options.rules.issuer),
        audience: Line::of(&options.rules.audience),
        client_id: options.rules.client_id.as_ref().map(Line::of),
        scopes: Line::of(&options.scopes),
        resource: options.resource.as_ref().map(Line::of),
    };
    let oidc = access.oidc.as_ref().filter(|_| access.is_required).map(|oidc| provider(oidc.options()));
    Json(SignInView { required: access.is_required, oidc })
}

/// Show who the caller is, and its roles.
#[utoipa::path(get, path = "/v1/whoami", tag = "access",
    responses((status = 200, description = "The caller, as the host recognises it", body = CallerView)))]
pub async fn whoami(caller: Caller) -> Json<CallerView> {
    Json(CallerView::from(&*caller.principal))
}

/// List the tokens of the teams that the caller administers.
#[utoipa::path(get, path = "/v1/tokens", tag = "access",
    responses((status = 200, description = "Without their secrets, by name", body = TokenList),
        (status = 403, description = "The caller is no admin (E076)")))]
pub async fn list(State(shared): AppState, caller: Caller) -> Result<Json<TokenList>, Refusal> {
    if !caller.principal.may_somewhere(Role::Admin) {
        return Err(caller.refusal("the role admin in any team"));
    }
    let now = Timestamp::now();
    let all = shared.state.access.tokens.current();
    let mut seen: Vec<_> = all.by_id.values().filter(|token| caller.principal.may(&token.scope, Role::Admin)).collect();
    seen.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(Json(TokenList { tokens: seen.into_iter().map(|token| view(token, now)).collect() }))
}

/// Make a token.
///
/// The answer is the only one that shows its secret. The caller must be an admin of the team, or of the cluster for a token
/// of the whole cluster.
#[utoipa::path(post, path = "/v1/tokens", tag = "access",
    request_body(content((TokenRequest = "application/json"))),
    responses((status = 201, description = "The token with its secret", body = NewToken),
        (status = 403, description = "The caller is no admin there (E076)"),
        (status = 422, description = "A field is not valid, or there are too many tokens (E078)")))]
pub async fn create(State(shared): AppState, caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let media = Media::of(&headers);
    if !matches!(media, Media::Json) {
        return Err(media.refuse("application/json"));
    }
    let RequestBody { bytes, share } = shared.receive(&caller.principal, body, BYTES_MAX).await?;
    let request: TokenRequest = body::json_of(&bytes, Code::Malformed)?;
    let now = Timestamp::now();
    let secret = TokenSecret::generate().map_err(|error| Refusal::new(Code::HostResources, error.to_string()))?;
    let token = token(request, &secret, &caller, now)?;
    caller.require(&token.scope, Role::Admin)?;
    let permit = shared.changes.take(caller.principal.sharer_for(token.scope.team())).await?;
    blocking(move || {
        let _held = (permit, share);
        let entry = entry(&caller, Action::CreateToken, &token, now);
        shared.state.access.tokens.create(&token, shared.state.limits.tokens_per_team_max, &entry)?;
        let view = NewToken { secret: Line::of(secret.expose()), token: view(&token, now) };
        Ok((StatusCode::CREATED, Json(view)).into_response())
    })
    .await
}

/// Revoke a token.
///
/// Every host refuses it within a second, and ends the streams that were opened with it.
#[utoipa::path(delete, path = "/v1/tokens/{token}", tag = "access", params(("token" = String, Path, description = "Its id")),
    responses((status = 204, description = "Revoked"),
        (status = 404, description = "No such token among those that the caller administers (E079)")))]
pub async fn revoke(State(shared): AppState, caller: Caller, Name(id): Name<TokenId>) -> Result<StatusCode, Refusal> {
    let missing = || Refusal::new(Code::NoToken, format!("there is no token {id} that you may revoke"));
    let all = shared.state.access.tokens.current();
    // The token of another team is as good as none. One of a newer host is of an unknown team.
    let token = all.by_id.get(&id).filter(|token| caller.principal.may(&token.scope, Role::Admin));
    let is_unread = all.unread.contains(&id) && caller.principal.may(&Scope::Cluster, Role::Admin);
    if token.is_none() && !is_unread {
        return Err(missing());
    }
    let now = Timestamp::now();
    let entry = match token {
        Some(token) => entry(&caller, Action::RevokeToken, token, now),
        None => {
            let target = Some(id.to_string());
            AuditEntry { target, ..AuditEntry::new(caller.actor(), Action::RevokeToken, Rfc3339(now)) }
        }
    };
    let permit = shared.changes.take(caller.principal.sharer()).await?;
    blocking(move || {
        let _held = permit;
        Ok(shared.state.access.tokens.revoke(&id, &entry)?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn view(token: &TokenRecord, now: Timestamp) -> TokenView {
    TokenView {
        id: Line::of(&token.id),
        name: Line::of(&token.name),
        team: token.scope.team().map(Line::of),
        roles: token.roles.iter().map(|role| api_types::Role::from(*role).into()).collect(),
        created_at: Line::of(Rfc3339(token.created_at)),
        created_by: Line::of(&token.created_by),
        expires_at: Line::of(Rfc3339(token.expires_at)),
        expired: token.is_expired(now),
    }
}

fn entry(caller: &Caller, action: Action, token: &TokenRecord, now: Timestamp) -> AuditEntry {
    let team = token.scope.team().cloned();
    let target = Some(token.id.to_string());
    AuditEntry { team, target, ..AuditEntry::new(caller.actor(), action, Rfc3339(now)) }
}

/// Parses a request. Every field that is not valid is named.
fn token(request: TokenRequest, secret: &TokenSecret, caller: &Caller, now: Timestamp) -> Result<TokenRecord, Refusal> {
    let TokenRequest { name, team, roles, expires_in } = request;
    let mut problems = Vec::new();
    let mut problem = |field: &str, message: String| problems.push(Problem { field: field.to_owned(), message });
    // Revisions name their authors: nobody writes in the name of the host's own token.
    if name == ADMIN_TOKEN {
        problem("name", format!("{ADMIN_TOKEN:?} is the name of the host's admin token"));
    }
    let name = name.parse().map_err(|error| problem("name", format!("{error}"))).ok();
    let team = team.map(|team| team.parse()).transpose().map_err(|error| problem("team", format!("{error}"))).ok();
    let roles: Result<BTreeSet<Role>, String> = roles.iter().map(|role| role.parse()).collect();
    let roles = roles.map_err(|why| problem("roles", why)).unwrap_or_default();
    if roles.is_empty() {
        problem("roles", "must have at least one role".to_owned());
    }
    let expires_in = expires_in.map_or(Ok(Span(EXPIRES_IN)), |raw| raw.parse());
    let expires_in = expires_in.map_err(|why| problem("expires_in", why)).unwrap_or(Span(EXPIRES_IN)).0;
    if expires_in.is_zero() || expires_in > EXPIRES_IN_MAX {
        problem("expires_in", "must be more than 0 and at most 3650d".to_owned());
    }
    match (name, team) {
        (Some(name), Some(team)) if problems.is_empty() => Ok(TokenRecord {
            id: format!("{:016x}", random_u64()).parse().expect("16 digits"),
            name,
            scope: team.into(),
            roles,
            hash: secret.hash(),
            created_at: now,
            created_by: author(&caller.principal),
            expires_at: now.after(expires_in),
        }),
        _ => Err(Refusal::of_fields(Code::TokenRequest, problems)),
    }
}

/// The name of a token's author. At a provider people choose names for themselves, so their identity stands beside it.
fn author(principal: &Principal) -> String {
    match principal.kind {
        PrincipalKind::Oidc if principal.name != principal.id => format!("{} ({})", principal.name, principal.id),
        _ => principal.name.clone(),
    }
}

impl From<TokensError> for Refusal {
    fn from(error: TokensError) -> Self {
        let code = match error {
            TokensError::Log(error) => return error.into(),
            TokensError::Contended(_) => Code::Contended,
            TokensError::Missing(_) => Code::NoToken,
            TokensError::TooMany { .. } => Code::TokenRequest,
            TokensError::AuthorEnded(_) => Code::NotSignedIn,
        };
        Self::new(code, error.to_string())
    }
}
