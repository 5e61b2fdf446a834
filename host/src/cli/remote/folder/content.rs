//! The content of a folder: its own file, and its specs with their modules, all read and checked before a host is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::bounded_input;
use crate::model::codes::Code;
use crate::model::names::{Digest, FolderName, TransformId};
use crate::model::signature::Envelope;
use crate::model::spec::labels::{APPLIED, FOLDER, LABELS_MAX};
use crate::model::spec::{Problem, RawSpec, Spec};
use crate::model::yaml;

use super::super::super::author::signature_path;
use super::super::super::error::{Error, Kind, Result};
use super::super::manifest::{LocalModule, Manifest, ModuleSource, reserved_labels};
use super::super::registry::RegistryArgs;
use super::fingerprint::fingerprint;
use super::walk::spec_files;

/// The folder's own file, at its root.
pub const FILE: &str = "folder.yaml";
/// Largest file of specs; a host has a limit of its own for each.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The field of a spec's labels.
const LABELS: &str = "labels";
/// The first bytes of every module.
const WASM_MAGIC: &[u8] = b"\0asm";
/// Most specs of a folder.
const SPECS_MAX: usize = 1000;
/// The labels that a folder adds to each spec.
const FOLDER_LABELS: usize = [FOLDER, APPLIED].len();
/// Most labels of a spec in a folder.
const OWN_LABELS_MAX: usize = LABELS_MAX - FOLDER_LABELS;

/// The content of the folder's own file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping, such as {folder: shop}")]
struct FolderFile {
    /// The name that the labels of its transforms have. It is written down, because the name of a checkout varies.
    folder: FolderName,
}

/// The specs of a folder, each under its own name. Modules are not read yet.
#[derive(Debug)]
pub struct FolderSpecs {
    pub folder: FolderName,
    pub specs: BTreeMap<TransformId, FolderSpec>,
}

/// One spec, with the file that has it.
#[derive(Debug)]
pub struct FolderSpec {
    pub file: PathBuf,
    manifest: Manifest,
}

/// A transform as the folder wants it.
#[derive(Debug)]
pub struct Desired {
    pub id: TransformId,
    /// The file of the spec, from the folder's root.
    pub file: PathBuf,
    /// The spec as a host stores it: with its names, the digest of its module, and the folder's labels.
    pub spec: RawSpec,
    pub module: DesiredModule,
}

/// A module by its digest, and the way to its bytes.
#[derive(Debug)]
pub struct DesiredModule {
    pub digest: Digest,
    /// `None`: the spec has the digest alone, and the host has the module.
    pub local: Option<LocalSource>,
}

/// A module that the folder has, or names in a registry.
#[derive(Debug)]
pub struct LocalSource {
    source: ModuleSource,
    bytes: u64,
    pub signature: Option<Vec<u8>>,
}

// === impl FolderSpecs ===

impl FolderSpecs {
    /// Reads all specs, or names everything that is wrong with them.
    pub fn read(root: &Path) -> Result<Self> {
        // The walk refuses links first: the name is read from a file of the folder, and no error quotes another.
        let files = spec_files(root).map_err(|errors| all(root, errors))?;
        let folder = folder_name(root)?;
        let own = root.join(FILE);
        let mut specs = BTreeMap::<TransformId, FolderSpec>::new();
        let mut errors = Vec::new();
        for path in files.into_iter().filter(|path| *path != own) {
            let manifests = match read_file(&path) {
                Ok(manifests) => manifests,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let file = path.strip_prefix(root).unwrap_or(&path).to_owned();
            for manifest in manifests {
                if let Some(first) = specs.get(&manifest.id) {
                    errors.push(twice(&manifest.id, &first.file, &file));
                    continue;
                }
                specs.insert(manifest.id.clone(), FolderSpec { file: file.clone(), manifest });
            }
        }
        if specs.len() > SPECS_MAX {
            errors.push(Error::folder(root, format_args!("has {} specs, the limit is {SPECS_MAX}", specs.len())));
        }
        if !errors.is_empty() {
            return Err(all(root, errors));
        }
        Ok(Self { folder, specs })
    }

    /// Reads the modules, and completes and checks each spec.
    pub fn desired(self, root: &Path, registry: &RegistryArgs) -> Result<Vec<Desired>> {
        let mut desired = Vec::new();
        let mut errors = Vec::new();
        for spec in self.specs.into_values() {
            match spec.complete(root, &self.folder, registry) {
                Ok(complete) => desired.push(complete),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(desired) } else { Err(all(root, errors)) }
    }

    /// Checks each spec as far as that needs no module.
    pub fn check(&self, root: &Path) -> Result<()> {
        let errors: Vec<Error> = self.specs.values().filter_map(|spec| spec.check(root, &self.folder).err()).collect();
        if errors.is_empty() { Ok(()) } else { Err(all(root, errors)) }
    }
}

fn folder_name(root: &Path) -> Result<FolderName> {
    let path = root.join(FILE);
    let hint = format!("{FILE} at the root of the folder has its name, such as `folder: shop`; -f names the folder");
    let text =
        bounded_input::read_file(&path, FILE_BYTES_MAX).map_err(|error| Error::folder(&path, error).with_hint(&hint))?;
    let FolderFile { folder } = yaml::one(&text).map_err(|error| Error::folder(&path, error).with_hint(hint))?;
    Ok(folder)
}

fn read_file(path: &Path) -> Result<Vec<Manifest>> {
    let text = bounded_input::read_file(path, FILE_BYTES_MAX).map_err(|error| Error::folder(path, error))?;
    Manifest::parse(&text, path)
}

fn twice(id: &TransformId, first: &Path, second: &Path) -> Error {
    let message = if first == second {
        format!("{id} is in {} twice", first.display())
    } else {
        format!("{id} is in {} and in {}", first.display(), second.display())
    };
    Error::usage(message).with(Code::FolderTwice)
}

/// All errors as one.
fn all(root: &Path, errors: Vec<Error>) -> Error {
    let is_one = errors.len() == 1;
    let head = format!("{} has {} errors", root.display(), errors.len());
    let error = Error::of_all(Kind::Usage, &head, errors).expect("there is an error");
    if is_one { error } else { error.with(Code::Folder) }
}

// === impl FolderSpec ===

impl FolderSpec {
    fn check(&self, root: &Path, folder: &FolderName) -> Result<()> {
        let Manifest { id, spec, module } = &self.manifest;
        let stand_in = module.as_ref().map(|_| Digest::of(&[]));
        let checked = checked(spec, id, stand_in, folder);
        checked.map(drop).map_err(|problems| Error::spec(&root.join(&self.file), &problems))
    }

    fn complete(self, root: &Path, folder: &FolderName, registry: &RegistryArgs) -> Result<Desired, Vec<Error>> {
        let Self { file, manifest: Manifest { id, spec, module } } = self;
        let place = format!("{}: module", root.join(&file).display());
        let local = module.map(|source| LocalSource::read(source, &id, registry)).transpose();
        let local = local.map_err(|error| error.in_place(place));
        // A stand-in, so that the spec is checked without its module too.
        let uploaded = match &local {
            Ok(Some((_, digest))) => Some(*digest),
            Ok(None) => None,
            Err(_) => Some(Digest::of(&[])),
        };
        let checked = checked(&spec, &id, uploaded, folder);
        let checked = checked.map_err(|problems| Error::spec(&root.join(&file), &problems));
        match (local, checked) {
            (Ok(local), Ok((spec, digest))) => {
                Ok(Desired { id, file, spec, module: DesiredModule { digest, local: local.map(|(local, _)| local) } })
            }
            (local, checked) => Err(local.err().into_iter().chain(checked.err()).collect()),
        }
    }
}

/// Checks a spec, and completes it. Returns the digest of its module, too.
fn checked(
    spec: &RawSpec,
    id: &TransformId,
    uploaded: Option<Digest>,
    folder: &FolderName,
) -> Result<(RawSpec, Digest), Vec<Problem>> {
    let mut problems = reserved_labels(spec);
    problems.extend(too_many_labels(spec));
    let digest = match Spec::parse(spec, id, uploaded) {
        Ok(valid) if problems.is_empty() => valid.module,
        Ok(_) => return Err(problems),
        Err(found) => {
            // Of the two limits for the number of labels, the folder's is told.
            problems.extend(found.into_iter().filter(|problem| problem.field != LABELS));
            return Err(problems);
        }
    };
    let spec = labelled(spec.clone(), id, &digest, folder);
    // A host checks it with the added labels.
    Spec::parse(&spec, id, Some(digest))?;
    Ok((spec, digest))
}

fn too_many_labels(spec: &RawSpec) -> Option<Problem> {
    if spec.labels.len() <= OWN_LABELS_MAX {
        return None;
    }
    let message = format!("must be at most {OWN_LABELS_MAX} in a folder, which adds {FOLDER_LABELS}");
    Some(Problem { field: LABELS.to_owned(), message })
}

/// Completes a spec as a host stores it, with the labels of the folder.
pub fn labelled(mut spec: RawSpec, id: &TransformId, module: &Digest, folder: &FolderName) -> RawSpec {
    spec.team = Some(id.team.to_string());
    spec.name = Some(id.name.to_string());
    spec.module = Some(module.to_string());
    spec.labels.insert(FOLDER.to_owned(), folder.to_string());
    let applied = fingerprint(&spec).to_string();
    spec.labels.insert(APPLIED.to_owned(), applied);
    spec
}

// === impl DesiredModule ===

impl DesiredModule {
    /// The size of a module that the folder has.
    pub fn bytes(&self) -> Option<u64> {
        self.local.as_ref().map(|local| local.bytes)
    }
}

// === impl LocalSource ===

impl LocalSource {
    fn read(source: ModuleSource, id: &TransformId, registry: &RegistryArgs) -> Result<(Self, Digest)> {
        if let ModuleSource::File(path) = &source {
            let hint = "`sandbar build` makes a module; the path in a spec goes from the spec's file";
            let found = path.metadata().map_err(|error| Error::folder(path, error).with_hint(hint))?;
            if !found.is_file() {
                return Err(Error::folder(path, "is no plain file"));
            }
        }
        let LocalModule { bytes, signature } = read_module(&source, id, registry)?;
        if let ModuleSource::File(path) = &source {
            check_kinds(path, &bytes, signature.as_deref())?;
        }
        let digest = Digest::of(&bytes);
        Ok((Self { source, bytes: bytes.len() as u64, signature }, digest))
    }

    /// Reads the module again, which must be the one that was planned with.
    pub fn read_again(&self, id: &TransformId, digest: &Digest, registry: &RegistryArgs) -> Result<Vec<u8>> {
        let LocalModule { bytes, .. } = read_module(&self.source, id, registry)?;
        let found = Digest::of(&bytes);
        if found != *digest {
            let message =
                format!("the module of {id} changed while the folder was applied: it was {digest}, and is {found}");
            return Err(Error::usage(message).with(Code::Folder));
        }
        Ok(bytes)
    }
}

/// Reads a module and its signature. A file that cannot be read is an error of the folder: no option names another one.
fn read_module(source: &ModuleSource, id: &TransformId, registry: &RegistryArgs) -> Result<LocalModule> {
    let read = source.read(None, &id.team, registry);
    match source {
        ModuleSource::File(_) => read.map_err(|error| error.with(Code::Folder)),
        ModuleSource::Registry(..) => read,
    }
}

/// Refuses files that are no module or no signature. A proposed change of the folder may name any file of the machine that
/// plans or applies it: nothing of such a file is sent or told.
fn check_kinds(path: &Path, module: &[u8], signature: Option<&[u8]>) -> Result<()> {
    if !module.starts_with(WASM_MAGIC) {
        return Err(Error::folder(path, "is no WebAssembly module"));
    }
    if signature.is_some_and(|signature| Envelope::parse(signature).is_err()) {
        return Err(Error::folder(&signature_path(path), "is no signature"));
    }
    Ok(())
}
