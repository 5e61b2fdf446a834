//! `sandbar deploy`: the specs of a folder and their modules, one request each, then the wait for their rollouts.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::api_types::{ChangeView, TransformView};

use super::super::error::{Error, Result};
use super::super::text::short;
use super::body::{Body, Part};
use super::manifest::{self, Manifest, read_module};
use super::rollout::WaitArgs;
use super::session::{Session, route};

#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The spec: one or more YAML documents, deployed in order
    #[arg(long, short, value_name = "FILE", default_value = manifest::FILE)]
    file: PathBuf,
    /// The module, instead of the one that the spec names
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Check everything on the host, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Deploy only if the transform is at this revision
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    #[command(flatten)]
    wait: WaitArgs,
}

pub fn deploy(args: DeployArgs, session: &Session) -> Result<()> {
    let manifests = Manifest::read(&args.file)?;
    if manifests.len() > 1 && (args.module.is_some() || args.if_revision.is_some()) {
        let message =
            format!("{} has {} specs, --module and --if-revision are for one", args.file.display(), manifests.len());
        return Err(Error::usage(message));
    }
    // All files are read before the first request.
    let specs = manifests.into_iter().map(|manifest| LocalSpec::new(manifest, args.module.as_deref()));
    for spec in specs.collect::<Result<Vec<_>>>()? {
        spec.deploy(&args, session)?;
    }
    Ok(())
}

/// A spec and its module, read from files.
struct LocalSpec {
    manifest: Manifest,
    module: Option<Vec<u8>>,
}

// === impl LocalSpec ===

impl LocalSpec {
    fn new(mut manifest: Manifest, module: Option<&Path>) -> Result<Self> {
        if module.is_some() {
            // A digest in the spec would contradict the given module.
            manifest.spec.module = None;
        }
        let path = module.or(manifest.module.as_deref());
        let module = path.map(read_module).transpose()?;
        Ok(Self { manifest, module })
    }

    fn deploy(self, args: &DeployArgs, session: &Session) -> Result<()> {
        let id = &self.manifest.id;
        let query = if args.dry_run { "?dry_run=true" } else { "" };
        let body = Body { if_revision: args.if_revision, ..self.form() };
        let answer = session.client.send("PUT", &route(id, query), &body)?;
        if args.dry_run {
            return session.show(&answer, |change| text(&change, true));
        }
        let change: ChangeView = answer.parse()?;
        session.text(&text(&change, false))?;
        args.wait.finish(session, id, change.transform.revision, answer)
    }

    fn form(&self) -> Body {
        let spec = serde_json::to_vec(&self.manifest.spec).expect("a spec is plain data");
        let mut parts = vec![Part { name: "spec", content_type: "application/json", content: &spec }];
        if let Some(content) = &self.module {
            parts.push(Part { name: "module", content_type: "application/wasm", content });
        }
        Body::form(&parts)
    }
}

/// Describes the change that the host made, or would make.
fn text(change: &ChangeView, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    let ChangeView { transform, outcome, .. } = change;
    let TransformView { team, name, revision, module, .. } = transform;
    let mut lines = format!("{team}/{name}: {would}{outcome}, revision {revision}, module {}\n", short(module));
    for topic in &change.creates {
        lines.push_str(&format!("{team}/{name}: topic {topic} {would}created\n"));
    }
    for warning in &change.warnings {
        lines.push_str(&format!("{team}/{name}: warning: {warning}\n"));
    }
    lines
}
