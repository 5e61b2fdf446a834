//! `sandbar deploy`: the specs of a folder and their modules, one request each, then the wait for their rollouts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use crate::api_types::{ChangeView, TransformView};
use crate::model::codes::Code;

use super::super::author::read_signature;
use super::super::error::{Error, Result};
use super::super::text::short;
use super::body::{Body, Expected};
use super::manifest::{self, LocalModule, Manifest, ModuleSource};
use super::registry::RegistryArgs;
use super::rollout::WaitArgs;
use super::session::{Session, route};

#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The spec: one or more YAML documents, deployed in order
    #[arg(long, short, value_name = "FILE", default_value = manifest::FILE)]
    file: PathBuf,
    /// The module, instead of the one that the spec names; oci://REGISTRY/REPOSITORY@sha256:.. is pulled
    #[arg(long, value_name = "FILE")]
    module: Option<ModuleSource>,
    /// The signature of the module [default: MODULE.sig beside the module, if it is there]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Check everything on the host, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Deploy only if the transform is at this revision
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

pub fn deploy(args: DeployArgs, session: &Session) -> Result<()> {
    let manifests = Manifest::read(&args.file)?;
    let is_for_one = args.module.is_some() || args.signature.is_some() || args.if_revision.is_some();
    if manifests.len() > 1 && is_for_one {
        let several = format!("{} has {} specs", args.file.display(), manifests.len());
        let message = format!("{several}, --module, --signature and --if-revision are for one");
        return Err(Error::usage(message));
    }
    for manifest in &manifests {
        let problems = manifest::reserved_labels(&manifest.spec);
        if !problems.is_empty() {
            return Err(Error::spec(&args.file, &problems));
        }
    }
    let mut names = BTreeSet::new();
    if let Some(Manifest { id, .. }) = manifests.iter().find(|manifest| !names.insert(&manifest.id)) {
        return Err(Error::file(&args.file, format_args!("{id} is in it twice")).with(Code::FolderTwice));
    }
    let is_one = manifests.len() == 1;
    // All files are read before the first request.
    let specs = manifests.into_iter().map(|manifest| LocalSpec::new(manifest, &args));
    for spec in specs.collect::<Result<Vec<_>>>()? {
        let id = spec.manifest.id.clone();
        spec.deploy(&args, session).map_err(|error| if is_one { error } else { error.in_place(&id) })?;
    }
    Ok(())
}

/// A spec and its module, read from files.
struct LocalSpec {
    manifest: Manifest,
    module: Option<Vec<u8>>,
    /// The signature of the module, or of the one whose digest the spec has.
    signature: Option<Vec<u8>>,
}

// === impl LocalSpec ===

impl LocalSpec {
    fn new(mut manifest: Manifest, args: &DeployArgs) -> Result<Self> {
        if args.module.is_some() {
            // A digest in the spec would contradict the given module.
            manifest.spec.module = None;
        }
        let signature = args.signature.as_deref();
        match args.module.as_ref().or(manifest.module.as_ref()) {
            Some(source) => {
                let LocalModule { bytes, signature } = source.read(signature, &manifest.id.team, &args.registry)?;
                Ok(Self { manifest, module: Some(bytes), signature })
            }
            None => Ok(Self { manifest, module: None, signature: signature.map(read_signature).transpose()? }),
        }
    }

    fn deploy(self, args: &DeployArgs, session: &Session) -> Result<()> {
        let id = &self.manifest.id;
        let query = if args.dry_run { "?dry_run=true" } else { "" };
        let expected = args.if_revision.map_or(Expected::Any, Expected::Revision);
        let body = Body { expected, ..self.form() };
        let answer = session.client.send("PUT", &route(id, query), &body)?;
        if args.dry_run {
            return session.show(&answer, |change| text(&change, true));
        }
        let change: ChangeView = answer.parse()?;
        session.text(&text(&change, false))?;
        args.wait.finish(session, id, change.transform.revision, answer)
    }

    fn form(&self) -> Body {
        Body::deployment(&self.manifest.spec, self.module.as_deref(), self.signature.as_deref())
    }
}

/// Describes the change that the host made, or would make.
pub fn text(change: &ChangeView, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    let ChangeView { transform, outcome, .. } = change;
    let TransformView { team, name, revision, module, .. } = transform;
    let signed = transform.signed_by.as_ref().map_or(String::new(), |key| format!(", signed with key {key}"));
    let mut lines = format!("{team}/{name}: {would}{outcome}, revision {revision}, module {}{signed}\n", short(module));
    for topic in &change.creates {
        lines.push_str(&format!("{team}/{name}: topic {topic} {would}created\n"));
    }
    for warning in &change.warnings {
        lines.push_str(&format!("{team}/{name}: warning: {warning}\n"));
    }
    lines
}
