//! The options that every remote verb has: the host, the form of the output, and the transform.

use std::path::Path;

use clap::Args;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::model::names::TransformId;

use super::super::error::{Error, Result};
use super::super::text::{self, Output};
use super::client::{Client, Response};
use super::context::Contexts;
use super::manifest::{self, Manifest};

const URL_DEFAULT: &str = "http://localhost:8080";
const URL_VARIABLE: &str = "SANDBAR_URL";

/// A verb with the options that all of them have.
#[derive(Debug, Args)]
pub struct Remote<T: Args> {
    #[command(flatten)]
    verb: T,
    #[command(flatten)]
    options: SessionOptions,
}

#[derive(Debug, Args)]
struct SessionOptions {
    /// The host's API [env: SANDBAR_URL] [default: the current context's, or http://localhost:8080]
    #[arg(long, short, value_name = "URL", conflicts_with = "context")]
    url: Option<String>,
    /// The cluster to talk to, by the name of its context; goes before SANDBAR_URL
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
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
    /// Runs the verb against the host that its options name.
    pub fn run<R>(self, run: impl FnOnce(T, &Session) -> Result<R>) -> Result<R> {
        let session = Session { client: Client::new(&self.options.url()?)?, output: self.options.output };
        run(self.verb, &session)
    }
}

// === impl SessionOptions ===

impl SessionOptions {
    fn url(&self) -> Result<String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        if let Some(name) = &self.context {
            return Contexts::load()?.url(name);
        }
        if let Some(url) = std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty()) {
            return Ok(url);
        }
        Ok(Contexts::load()?.current_url()?.unwrap_or_else(|| URL_DEFAULT.to_owned()))
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
