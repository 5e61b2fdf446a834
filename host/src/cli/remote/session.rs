//! The options that every remote verb has: the host, the form of the output, and the transform.

use std::env::VarError;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::model::names::TransformId;

use super::super::error::{Error, Result};
use super::super::text::{self, Output};
use super::access::{Access, Token};
use super::client::{Client, Response};
use super::context::{Certificates, Context, Contexts};
use super::manifest::{self, Manifest};
use super::provider;

const URL_DEFAULT: &str = "http://localhost:8080";
const URL_VARIABLE: &str = "SANDBAR_URL";
/// The token, which no option names: others on the machine see the words of a command line.
const TOKEN_VARIABLE: &str = "SANDBAR_TOKEN";

/// A verb with the options that all of them have.
#[derive(Debug, Args)]
pub struct Remote<T: Args> {
    #[command(flatten)]
    verb: T,
    #[command(flatten)]
    options: SessionOptions,
}

#[derive(Debug, Args)]
pub struct SessionOptions {
    /// The host's API [env: SANDBAR_URL] [default: the current context's, or http://localhost:8080]
    #[arg(long, short, value_name = "URL", conflicts_with = "context")]
    url: Option<String>,
    /// The cluster to talk to, by the name of its context; goes before SANDBAR_URL
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    certificates: Certificates,
    /// Send SANDBAR_TOKEN over plain HTTP to another machine too, where everybody on the way can read it
    #[arg(long)]
    insecure_token_over_http: bool,
    /// Text for people, or JSON exactly as the API answers
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// The transform of a verb.
#[derive(Debug, Args)]
pub struct Target {
    /// The transform [default: the one of the transform.yaml in this folder]
    #[arg(value_name = "TEAM/NAME")]
    pub transform: Option<TransformId>,
}

/// A host, and the form of the output.
pub struct Session {
    pub client: Client,
    pub output: Output,
}

// === impl Remote ===

impl<T: Args> Remote<T> {
    pub fn into_parts(self) -> (T, SessionOptions) {
        (self.verb, self.options)
    }

    /// Runs the verb against the host that its options name.
    pub fn run<R>(self, run: impl FnOnce(T, &Session) -> Result<R>) -> Result<R> {
        let output = self.options.output;
        let session = Session { client: self.options.client()?, output };
        run(self.verb, &session)
    }
}

// === impl SessionOptions ===

impl SessionOptions {
    pub fn output(&self) -> Output {
        self.output
    }

    fn client(self) -> Result<Client> {
        let context = self.renewed(self.context()?)?;
        let token = match variable(TOKEN_VARIABLE)? {
            Some(token) => Some(token),
            None => context.token()?,
        };
        let token = token.map(|token| Token::new(&token)).transpose()?;
        Client::new(&context.url, self.access(&context, token))
    }

    /// The context with a token that is good for a while. A token of the environment goes before it.
    fn renewed(&self, context: Context) -> Result<Context> {
        if context.provider.is_none() || variable(TOKEN_VARIABLE)?.is_some() {
            return Ok(context);
        }
        match (self.context_name(), Contexts::load()?.current_name()) {
            (Some(name), _) | (None, Some(name)) => {
                let renewed = provider::renewed(name, context.clone())?;
                Ok(Context { certificates: context.certificates, ..renewed })
            }
            (None, None) => Ok(context),
        }
    }

    /// The way to the host of a context.
    pub fn access(&self, context: &Context, token: Option<Token>) -> Access {
        let certificates = self.certificates.clone().or(context.certificates.clone());
        Access { token, token_over_http: self.insecure_token_over_http, ..certificates.access() }
    }

    /// The context, with the files of the options in the place of its own.
    pub fn context_with_certificates(&self) -> Result<Context> {
        let context = self.context()?;
        let certificates = self.certificates.clone().absolute()?.or(context.certificates);
        Ok(Context { certificates, ..context })
    }

    /// The name of the context that the options name.
    pub fn context_name(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// The named context, or one that the other options and the environment make. A named context is a whole: the files of
    /// the environment are not added to it.
    pub fn context(&self) -> Result<Context> {
        if self.url.is_none()
            && let Some(name) = &self.context
        {
            return Contexts::load()?.get(name).cloned();
        }
        let file = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let certificates = Certificates {
            ca: file("SANDBAR_CA"),
            client_cert: file("SANDBAR_CLIENT_CERT"),
            client_key: file("SANDBAR_CLIENT_KEY"),
        };
        let url = match &self.url {
            Some(url) => Some(url.clone()),
            None => variable(URL_VARIABLE)?,
        };
        if let Some(url) = url {
            return Ok(Context { url, certificates, ..Context::default() });
        }
        let contexts = Contexts::load()?;
        Ok(match contexts.current()? {
            Some(context) => Context { certificates: context.certificates.clone().or(certificates), ..context.clone() },
            None => Context { url: URL_DEFAULT.to_owned(), certificates, ..Context::default() },
        })
    }
}

/// A variable of the environment. An empty one is none, and one that cannot be read is not taken for none.
fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        // The value may be a secret.
        Err(VarError::NotUnicode(_)) => {
            Err(Error::usage(format_args!("{name} is not UTF-8")).with_hint("set the variable again, or unset it"))
        }
    }
}

// === impl Target ===

impl Target {
    pub fn id(self) -> Result<TransformId> {
        self.transform.map_or_else(id_of_folder, Ok)
    }
}

/// The transform of this folder's spec, if the spec describes only one.
pub fn id_of_folder() -> Result<TransformId> {
    let path = Path::new(manifest::FILE);
    if !path.exists() {
        let hint = "give TEAM/NAME, or go to the folder of a transform.yaml";
        return Err(Error::usage("which transform?").with_hint(hint));
    }
    let mut manifests = Manifest::read(path)?;
    match (manifests.pop(), manifests.is_empty()) {
        (Some(manifest), true) => Ok(manifest.id),
        _ => Err(Error::usage("transform.yaml describes several transforms").with_hint("give TEAM/NAME")),
    }
}

/// The path of a transform's route; `below` is the rest of the path.
pub fn route(id: &TransformId, below: &str) -> String {
    format!("/v1/teams/{}/transforms/{}{below}", id.team, id.name)
}

// === impl Session ===

impl Session {
    /// Shows an answer as the host sent it, or the text that `text` makes of it.
    pub fn show<T: DeserializeOwned>(&self, answer: &Response, text: impl FnOnce(T) -> String) -> Result<()> {
        match self.output {
            Output::Json => self.json(answer),
            Output::Text => text::emit(&text(answer.parse()?)),
        }
    }

    /// Shows an answer as the host sent it, on one line, if the output is JSON.
    pub fn json(&self, answer: &Response) -> Result<()> {
        match self.output {
            Output::Json => {
                answer.parse::<IgnoredAny>()?;
                text::emit_json(&answer.text)
            }
            Output::Text => Ok(()),
        }
    }

    /// Shows a text, if the output is text.
    pub fn text(&self, text: &str) -> Result<()> {
        match self.output {
            Output::Json => Ok(()),
            Output::Text => text::emit(text),
        }
    }
}
