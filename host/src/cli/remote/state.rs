//! `sandbar state`: look up an entry of a transform's store, or empty the stores.

use clap::{Args, Subcommand};

use super::super::error::{Error, Result};
use super::body::Body;
use super::control::confirm;
use super::session::{Remote, Session, Target, route};
use super::url_part::encoded;
use crate::api_types::EntryView;
use crate::model::names::TransformId;
use crate::model::text;

#[derive(Debug, Subcommand)]
pub enum StateVerb {
    /// Look up an entry of a store that has `queryable: true`; the host that owns it answers
    Get(Remote<GetArgs>),
    /// Empty the stores of a paused transform; its offsets stay
    Reset(Remote<ResetArgs>),
}

#[derive(Debug, Args)]
pub struct GetArgs {
    /// The transform
    #[arg(value_name = "TEAM/NAME")]
    transform: TransformId,
    store: String,
    /// The entry's key, as text
    key: String,
    /// The partition that has the entry
    #[arg(long, value_name = "NUMBER", conflicts_with = "record_key")]
    partition: Option<i32>,
    /// Look in the partition that Kafka's partitioner gives a record of this key [default: the entry's own key]
    #[arg(long, value_name = "KEY")]
    record_key: Option<String>,
}

#[derive(Debug, Args)]
pub struct ResetArgs {
    #[command(flatten)]
    target: Target,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

// === impl StateVerb ===

impl StateVerb {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Get(verb) => verb.run(get),
            Self::Reset(verb) => verb.run(reset),
        }
    }
}

fn get(args: GetArgs, session: &Session) -> Result<()> {
    let place = match (args.partition, &args.record_key) {
        (Some(partition), _) => format!("?partition={partition}"),
        (None, Some(key)) => format!("?record_key={}", encoded(key)),
        (None, None) => String::new(),
    };
    let below = format!("/state/{}/{}{place}", encoded(&args.store), encoded(&args.key));
    let answer = session.client.get(&route(&args.transform, &below))?;
    session.show(&answer, |entry: EntryView| match (entry.value, entry.value_base64) {
        (Some(value), _) => format!("{}\n", text::json(value.get())),
        (None, bytes) => format!("{} (base64)\n", bytes.unwrap_or_default()),
    })
}

fn reset(args: ResetArgs, session: &Session) -> Result<()> {
    let id = args.target.id()?;
    if !args.yes && !confirm(&format!("Begin with empty stores in {id}? What they hold is not used any more. [y/N] "))? {
        return Err(Error::usage("nothing was reset"));
    }
    let answer = session.client.send("DELETE", &route(&id, "/state"), &Body::default())?;
    session.show(&answer, |_: serde_json::Value| {
        format!(
            "{id} begins with empty stores; its offsets stay (`sandbar offsets set {id} --to earliest` builds them again)\n"
        )
    })
}
