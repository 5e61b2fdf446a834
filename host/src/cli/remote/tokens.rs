//! `sandbar token`: tokens of the cluster, and the two steps that need no host.

use std::io;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::access::TokenSecret;
use crate::api_types::{CallerView, NewToken, TokenList, TokenView};
use crate::bounded_input;
use crate::model::codes::Code;
use crate::model::names::{TeamName, TokenId, TokenName};
use crate::model::units::Span;

use super::super::error::{Error, Kind, Result};
use super::super::text::{self, Table, fields};
use super::body::Body;
use super::session::{Remote, Session};

/// Longest text that is read for a token: a file that is none is not read to its end.
const TEXT_BYTES_MAX: u64 = 4096;

#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token with roles in one team, or in the whole cluster. It is shown once
    Create(Remote<CreateArgs>),
    /// List the tokens that you administer
    List(Remote<ListArgs>),
    /// Revoke a token: every host refuses it within a second
    Revoke(Remote<RevokeArgs>),
    /// Print a new token for --admin-token-file. Asks no host
    Generate,
    /// Read a token from standard input, and print its hash for --admin-token-file. Asks no host
    Hash,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The team in which the roles hold
    #[arg(long, required_unless_present = "cluster", conflicts_with = "cluster")]
    team: Option<TeamName>,
    /// The roles hold in the whole cluster, with all its teams
    #[arg(long)]
    cluster: bool,
    /// A role: view, data, deploy, operate or admin. May be given several times
    #[arg(long = "role", required = true, value_name = "ROLE")]
    roles: Vec<String>,
    /// A name for people
    #[arg(long)]
    name: TokenName,
    /// Time until it expires [default: 90d]
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<Span>,
}

#[derive(Debug, Args)]
pub struct ListArgs {}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Its id, which `sandbar token list` shows
    id: TokenId,
}

#[derive(Debug, Args)]
pub struct WhoamiArgs {}

// === impl TokenVerb ===

impl TokenVerb {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Create(verb) => verb.run(create),
            Self::List(verb) => verb.run(list),
            Self::Revoke(verb) => verb.run(revoke),
            Self::Generate => generate(),
            Self::Hash => hash(),
        }
    }
}

fn create(args: CreateArgs, session: &Session) -> Result<()> {
    let CreateArgs { team, cluster: _, roles, name, expires_in } = args;
    let expires_in = expires_in.map(|span| span.to_string());
    let body = json!({"name": name.as_str(), "team": team.as_ref().map(TeamName::as_str), "roles": roles, "expires_in": expires_in});
    let answer = session.client.send_once("POST", "/v1/tokens", &Body::json(&body)).map_err(|error| match error.kind {
        Kind::Broken => error.with_hint(
            "look with `sandbar token list` before you create another: this one may have been made, and nobody has seen it; \
             then revoke it",
        ),
        _ => error,
    })?;
    session.show(&answer, |NewToken { secret, token }| {
        let TokenView { id, name, expires_at, .. } = token;
        text::tell(format_args!("token {id} ({name}) expires at {expires_at}; it is not shown again:"));
        format!("{secret}\n")
    })
}

fn list(_: ListArgs, session: &Session) -> Result<()> {
    session.show(&session.client.get("/v1/tokens")?, |list: TokenList| {
        let mut table = Table::new(["ID", "NAME", "TEAM", "ROLES", "CREATED BY", "EXPIRES"]);
        for token in list.tokens {
            let TokenView { id, name, team, roles, created_by, expires_at, expired, .. } = token;
            let team = team.map_or("*".to_owned(), String::from);
            let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
            let expires = if expired { "expired".to_owned() } else { expires_at.into() };
            table.row([id.into(), name.into(), team, roles.join(" "), created_by.into(), expires]);
        }
        table.to_string()
    })
}

fn revoke(args: RevokeArgs, session: &Session) -> Result<()> {
    let RevokeArgs { id } = args;
    let is_told = session.client.remove(&format!("/v1/tokens/{id}"), Code::NoToken)?;
    session.text(&if is_told {
        format!("token {id} is revoked\n")
    } else {
        format!("there is no token {id}: a request whose connection broke has revoked it, unless the id is wrong\n")
    })
}

pub fn whoami(_: WhoamiArgs, session: &Session) -> Result<()> {
    session.show(&session.client.get("/v1/whoami")?, |caller: CallerView| {
        let grants: Vec<&str> = caller.grants.iter().map(|grant| &**grant).collect();
        fields(&[
            ("name", caller.name.to_string()),
            ("kind", caller.kind.to_string()),
            ("id", caller.id.to_string()),
            ("roles", grants.join(" ")),
        ])
    })
}

fn generate() -> Result<()> {
    let secret = TokenSecret::generate().map_err(|error| Error::new(Kind::Failed, error))?;
    text::emit(&format!("{}\n", secret.expose()))
}

fn hash() -> Result<()> {
    let given = bounded_input::read_text(io::stdin(), TEXT_BYTES_MAX);
    let given = given.map_err(|error| Error::usage(format_args!("no token: {error}")))?;
    let secret: TokenSecret = given.trim().parse().map_err(|why| Error::usage(format_args!("that is no token: {why}")))?;
    text::emit(&format!("{}\n", secret.hash()))
}
