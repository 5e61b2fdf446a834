//! Modules from an OCI registry: `sandbar pull`, and `oci://` in the place of a module's file.
//!
//! A registry is trusted with nothing: whatever it sends is bounded in size and time, and counts only if it has the digest
//! that was asked for. It names the server that hands out tokens, and the one that has the bytes, so `transport` decides to
//! whom a password goes.

mod challenge;
mod credentials;
mod image;
mod reference;
mod transport;

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::author::{MODULE_BYTES_MAX, signature_path};
use super::super::error::{Error, Kind, Result};
use super::super::text;
use crate::model::authority::Authority;
use crate::model::codes::Code;
use crate::model::names::Digest;
use crate::model::text::OneLine;

use self::credentials::Credentials;
use self::image::{IMAGE_BYTES_MAX, Image};
use self::transport::{Limit, Transport};

pub use self::reference::Reference;

/// The way to a registry.
#[derive(Debug, Clone, Default, Args)]
pub struct RegistryArgs {
    /// Authorities of the registry's certificate, as PEM, in place of the system's
    #[arg(long, value_name = "FILE", env = "SANDBAR_REGISTRY_CA")]
    registry_ca: Option<PathBuf>,
    /// The user at the registry, with the password in SANDBAR_REGISTRY_PASSWORD [default: as docker's config.json has it]
    #[arg(long, value_name = "NAME", env = "SANDBAR_REGISTRY_USER")]
    registry_user: Option<String>,
    /// The registry of --registry-user, which no other one gets [default: the one that the command line names; for
    /// references in specs it must be given]
    #[arg(long, value_name = "HOST[:PORT]", env = "SANDBAR_REGISTRY_HOST")]
    registry_host: Option<Authority>,
}

/// The place that a reference is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// Whoever runs the command wrote it.
    CommandLine,
    /// A spec, which may come from anybody who may propose a change of it: it does not decide who gets a password.
    Spec,
}

// === impl RegistryArgs ===

impl RegistryArgs {
    /// The given user, if it is one of this reference's registry.
    fn user_at(&self, reference: &Reference, provenance: Provenance) -> Result<Option<&str>> {
        let Some(user) = self.registry_user.as_deref() else { return Ok(None) };
        match (&self.registry_host, provenance) {
            (Some(host), _) => Ok((*host == reference.registry).then_some(user)),
            (None, Provenance::CommandLine) => Ok(Some(user)),
            (None, Provenance::Spec) => {
                let message = format!("{reference} is named by a spec: --registry-user needs --registry-host for it");
                let hint = "--registry-host (SANDBAR_REGISTRY_HOST) names the only registry that gets user and password";
                Err(Error::usage(message).with_code(Code::Registry.as_str()).with_hint(hint))
            }
        }
    }
}

#[derive(Debug, Args)]
pub struct PullArgs {
    /// The module: oci://REGISTRY/REPOSITORY@sha256:.., or with :TAG, which is resolved to a digest
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// The file of the module; its signature goes to FILE.sig [default: module.wasm]
    #[arg(long, value_name = "FILE", default_value = "module.wasm")]
    out: PathBuf,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// A module as a registry has it.
#[derive(Debug)]
pub struct PulledModule {
    /// The reference by digest.
    pub pinned: Reference,
    pub bytes: Vec<u8>,
    /// The signature, if the image has one in an annotation.
    pub signature: Option<Vec<u8>>,
}

/// The error of a registry.
fn refused(reference: &Reference, reason: impl std::fmt::Display) -> Error {
    Error::new(Kind::Failed, format_args!("{reference} cannot be pulled: {}", OneLine(reason))).with(Code::Registry)
}

/// Pulls a module into a file.
pub fn pull(args: PullArgs) -> Result<()> {
    let PulledModule { pinned, bytes, signature } = fetch(&args.reference, Provenance::CommandLine, &args.registry)?;
    let out = &args.out;
    write(out, &bytes)?;
    let mut shown = format!("{}: {pinned}, module {}\n", out.display(), Digest::of(&bytes));
    let beside = signature_path(out);
    match signature {
        Some(signature) => {
            write(&beside, &signature)?;
            shown.push_str(&format!("{}: its signature\n", beside.display()));
        }
        // It would be taken for this module's.
        None => remove(&beside)?,
    }
    text::emit(&shown)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Error::file(path, error))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, error)),
        _ => Ok(()),
    }
}

/// Fetches a module, and verifies each digest on the way.
pub fn fetch(reference: &Reference, provenance: Provenance, args: &RegistryArgs) -> Result<PulledModule> {
    let credentials = Credentials::find(reference, args.user_at(reference, provenance)?)?;
    let mut transport = Transport::new(reference, args.registry_ca.as_deref(), credentials)?;
    let path = format!("/manifests/{}", reference.name());
    let manifest = transport.get(&path, &Limit::of_manifest(IMAGE_BYTES_MAX))?;
    let digest = Digest::of(&manifest);
    if reference.digest.is_some_and(|asked| asked != digest) {
        return Err(refused(reference, format_args!("the registry sent a manifest with digest {digest}")));
    }
    let pinned = reference.pinned(digest);
    let image = Image::read(&manifest).map_err(|reason| refused(&pinned, reason))?;
    if image.module_bytes > MODULE_BYTES_MAX {
        let reason = format!("its module has {} bytes, the limit is {MODULE_BYTES_MAX}", image.module_bytes);
        return Err(refused(&pinned, reason));
    }
    let bytes = transport.get(&format!("/blobs/{}", image.module), &Limit::of_blob(image.module_bytes))?;
    let found = Digest::of(&bytes);
    if found != image.module {
        let reason = format!("the registry sent a module with digest {found}, the manifest has {}", image.module);
        return Err(refused(&pinned, reason));
    }
    Ok(PulledModule { pinned, bytes, signature: image.signature })
}
