//! The callers of a host at its start.

use anyhow::Context;
use tokio::sync::watch;

use crate::access::{AdminTokens, ClientRoles, Provider};
use crate::config::AccessOptions;
use crate::model::codes::{Code, Coded};
use crate::model::text::OneLine;
use crate::telemetry::metrics::Metrics;

/// The callers that the configuration of a host names.
#[derive(Clone)]
pub(super) struct Callers {
    pub admin_tokens: AdminTokens,
    pub client_roles: ClientRoles,
    /// The identity provider, if there is one.
    pub oidc: Option<Provider>,
}

/// Reads the files of callers. A host whose file is not valid does not start: nobody could sign in.
pub(super) fn open(options: &AccessOptions, metrics: &Metrics) -> anyhow::Result<Callers> {
    Ok(Callers {
        admin_tokens: admin_tokens(options)?,
        client_roles: client_roles(options)?,
        oidc: open_oidc(options, metrics)?,
    })
}

impl Callers {
    /// Takes each change of the files and of the provider's keys, until `shutdown` becomes true.
    pub fn follow_for_ever(&self, shutdown: &watch::Receiver<bool>) {
        tokio::spawn(self.admin_tokens.clone().follow_for_ever(shutdown.clone()));
        tokio::spawn(self.client_roles.clone().follow_for_ever(shutdown.clone()));
        if let Some(oidc) = &self.oidc {
            tokio::spawn(oidc.clone().follow_keys_for_ever(shutdown.clone()));
            tokio::spawn(oidc.clone().follow_roles_for_ever(shutdown.clone()));
        }
    }
}

fn client_roles(options: &AccessOptions) -> anyhow::Result<ClientRoles> {
    let path = options.client_roles.as_deref();
    let file: String = path.iter().map(|path| OneLine(path.display()).to_string()).collect();
    let opened = ClientRoles::open(path).with_context(|| file.clone());
    let roles = opened.map_err(|error| Coded { code: Code::ClientRoles, message: format!("{error:#}") })?;
    if !options.is_required && path.is_some() {
        tracing::warn!(file, "the roles of clients are not looked at, since --auth is off");
    }
    Ok(roles)
}

fn admin_tokens(options: &AccessOptions) -> anyhow::Result<AdminTokens> {
    let path = options.admin_token_file.as_deref();
    let file: String = path.iter().map(|path| OneLine(path.display()).to_string()).collect();
    let opened = AdminTokens::open(path).with_context(|| file.clone());
    let tokens = opened.map_err(|error| Coded { code: Code::AccessOptions, message: format!("{error:#}") })?;
    if !options.is_required && path.is_some() {
        tracing::warn!(file, "the admin tokens are not asked for, since --auth is off");
    }
    if options.is_required && path.is_none() && options.oidc.is_none() && options.client_roles.is_none() {
        tracing::info!("sign-in is required, and there is no --admin-token-file: only the cluster's own tokens are taken");
    }
    Ok(tokens)
}

/// Reads the roles of the identity provider's groups. The provider itself is not asked: a host starts without it.
fn open_oidc(options: &AccessOptions, metrics: &Metrics) -> anyhow::Result<Option<Provider>> {
    let Some(oidc) = options.oidc.clone() else { return Ok(None) };
    if !options.is_required {
        tracing::warn!(issuer = %oidc.rules.issuer, "the identity provider is not asked, since --auth is off");
    }
    let code = Code::OidcOptions;
    let opened = Provider::open(oidc, metrics.access.clone());
    opened.map(Some).map_err(|why| Coded { code, message: OneLine(why).to_string() }.into())
}
