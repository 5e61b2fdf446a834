//! `transform.yaml`: one or more specs, one YAML document each, and the files of their modules.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::api_types::misfits;
use crate::bounded_input;
use crate::model::codes::Code;
use crate::model::names::{Digest, TeamName, TransformId};
use crate::model::signature::{Envelope, SignatureError};
use crate::model::spec::labels::is_reserved;
use crate::model::spec::{Problem, RawSpec};
use crate::model::yaml;

use super::super::author::{self, signature_path};
use super::super::error::{Error, Result};
use super::super::text;
use super::registry::{self, Provenance, Reference, RegistryArgs};

/// The name of the file that verbs look for.
pub const FILE: &str = "transform.yaml";
/// Largest file of specs: the reader of YAML takes no more.
const FILE_BYTES_MAX: u64 = yaml::BYTES_MAX as u64;
/// Most documents with problems that one error tells.
const UNFIT_MAX: usize = 50;

/// One document of the file.
#[derive(Debug)]
pub struct Manifest {
    pub id: TransformId,
    /// The spec for the request: its `module` is a digest or absent.
    pub spec: RawSpec,
    /// The place of the module, if the spec names one.
    pub module: Option<ModuleSource>,
}

/// The place that a module is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleSource {
    File(PathBuf),
    Registry(Reference, Provenance),
}

/// A module and its signature.
pub struct LocalModule {
    pub bytes: Vec<u8>,
    pub signature: Option<Vec<u8>>,
}

impl Manifest {
    /// Reads every document; each must have team and name.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let text = bounded_input::read_file(path, FILE_BYTES_MAX).map_err(|error| {
            let error = Error::file(path, error);
            error.with_hint("-f names the spec's file; `sandbar new` makes a folder with one")
        })?;
        Self::parse(&text, path)
    }

    /// Reads every document of a file's text. An error tells the problems of all documents.
    pub fn parse(text: &[u8], path: &Path) -> Result<Vec<Self>> {
        let specs = RawSpec::all_of_yaml(text).map_err(|error| unfit(path, text, error))?;
        if specs.is_empty() {
            return Err(Error::file(path, "there is no spec in it").with(Code::Spec));
        }
        let is_one = specs.len() == 1;
        let mut manifests = Vec::new();
        let mut problems = Vec::new();
        for (i, spec) in specs.into_iter().enumerate() {
            match Self::of(spec, path) {
                Ok(manifest) => manifests.push(manifest),
                Err(found) => problems.extend(placed(found, i + 1, is_one)),
            }
        }
        if problems.is_empty() { Ok(manifests) } else { Err(Error::spec(path, &problems)) }
    }

    fn of(mut spec: RawSpec, path: &Path) -> Result<Self, Vec<Problem>> {
        let id = id_of(&spec);
        let file = spec.module.take_if(|module| !module.starts_with("sha256:"));
        let folder = path.parent().unwrap_or(Path::new(""));
        let module = file.map(|place| ModuleSource::parse(&place, folder, Provenance::Spec)).transpose();
        let module = module.map_err(|message| Problem { field: "module".to_owned(), message });
        match (id, module) {
            (Ok(id), Ok(module)) => Ok(Self { id, spec, module }),
            (id, module) => Err(id.err().into_iter().flatten().chain(module.err()).collect()),
        }
    }
}

/// The name of the transform, or every reason why the spec has none.
fn id_of(spec: &RawSpec) -> Result<TransformId, Vec<Problem>> {
    let missing =
        |field: &str| Problem { field: field.to_owned(), message: "is missing: deploying needs to know it".to_owned() };
    match (&spec.team, &spec.name) {
        (Some(team), Some(name)) => {
            let parsed = format!("{team}/{name}").parse::<TransformId>();
            parsed.map_err(|error| vec![Problem { field: String::new(), message: error.to_string() }])
        }
        (team, name) => {
            let named = [("team", team.is_some()), ("name", name.is_some())];
            Err(named.into_iter().filter(|(_, is_there)| !is_there).map(|(field, _)| missing(field)).collect())
        }
    }
}

/// Puts the number of their document before problems, if there are several documents.
fn placed(problems: Vec<Problem>, number: usize, is_one: bool) -> Vec<Problem> {
    let place = |field: &str| match field {
        field if is_one => field.to_owned(),
        "" => format!("document {number}"),
        field => format!("document {number}: {field}"),
    };
    problems.into_iter().map(|problem| Problem { field: place(&problem.field), ..problem }).collect()
}

/// The error of a file that is not YAML, or of every place in it that is no spec: the typed reader ends at the first.
fn unfit(path: &Path, text: &[u8], error: yaml::Error) -> Error {
    let yaml::Error::Unfit { .. } = error else { return Error::file(path, error).with(Code::Spec) };
    let Ok(specs) = yaml::each::<RawSpec>(text) else { return Error::file(path, error).with(Code::Spec) };
    let values = yaml::each::<serde_json::Value>(text).unwrap_or_default();
    let is_one = specs.len() == 1;
    let count = specs.iter().filter(|spec| spec.is_err()).count();
    let unfit =
        specs.into_iter().zip(values).enumerate().filter_map(|(i, (spec, value))| Some((i, spec.err()?, value.ok())));
    let of_document = |(i, error, value)| placed(misfits_with(error, value), i + 1, is_one);
    let mut problems: Vec<Problem> = unfit.take(UNFIT_MAX).flat_map(of_document).collect();
    if let Some(more) = count.checked_sub(UNFIT_MAX).filter(|more| *more > 0) {
        problems.push(Problem { field: String::new(), message: format!("and {more} more documents are no specs") });
    }
    Error::spec(path, &problems)
}

/// Every place of a document that is no spec. The typed reader's own may be none of the others: a size in no known unit, say.
fn misfits_with(error: yaml::Error, document: Option<serde_json::Value>) -> Vec<Problem> {
    let found = document.map(|document| misfits(&document)).unwrap_or_default();
    let first = match error {
        yaml::Error::Unfit { field, message } => Problem { field, message },
        yaml::Error::Malformed(message) => Problem { field: String::new(), message },
    };
    let first = (!found.iter().any(|problem| problem.field == first.field)).then_some(first);
    first.into_iter().chain(found).collect()
}

// === impl ModuleSource ===

impl ModuleSource {
    /// Reads a reference to a registry, or a path from a folder.
    fn parse(place: &str, folder: &Path, provenance: Provenance) -> Result<Self, String> {
        if !Reference::is_meant(place) {
            return Ok(Self::File(folder.join(place)));
        }
        Ok(Self::Registry(place.parse()?, provenance))
    }

    /// Reads the module for a team, and the signature that is named, or else that came with the module.
    pub fn read(&self, signature: Option<&Path>, team: &TeamName, registry: &RegistryArgs) -> Result<LocalModule> {
        let named = signature.map(author::read_signature).transpose()?;
        match self {
            Self::File(path) => {
                let beside = signature_path(path);
                let is_beside = named.is_none() && beside.exists();
                let beside = is_beside.then(|| author::read_signature(&beside)).transpose()?;
                let bytes = read_module(path)?;
                let beside = beside.filter(|signature| is_for(team, &bytes, signature));
                Ok(LocalModule { bytes, signature: named.or(beside) })
            }
            Self::Registry(reference, provenance) => {
                let pulled = registry::fetch(reference, *provenance, registry)?;
                if reference.is_by_tag() {
                    text::tell(format_args!("{reference} is {}", pulled.pinned));
                }
                let bytes = pulled.bytes;
                let found = pulled.signature.filter(|signature| named.is_none() && is_for(team, &bytes, signature));
                Ok(LocalModule { bytes, signature: named.or(found) })
            }
        }
    }
}

impl FromStr for ModuleSource {
    type Err = String;

    fn from_str(place: &str) -> Result<Self, String> {
        Self::parse(place, Path::new(""), Provenance::CommandLine)
    }
}

/// The labels that nobody but `apply` sets: with a copied one, a transform would belong to a folder that has no spec for it.
pub fn reserved_labels(spec: &RawSpec) -> Vec<Problem> {
    let reserved = spec.labels.keys().filter(|name| is_reserved(name));
    let problem =
        |name: &String| Problem { field: format!("labels.{name}"), message: "is reserved: apply sets it".to_owned() };
    reserved.map(problem).collect()
}

/// Returns false, and says so, if the signature is another team's: nobody has asked for it to be sent, and a host refuses
/// it. One with another fault is sent, for the host to tell it.
fn is_for(team: &TeamName, module: &[u8], signature: &[u8]) -> bool {
    let checked = Envelope::parse(signature).and_then(|envelope| envelope.check_statement(&Digest::of(module), team));
    let Err(SignatureError::OtherTeam { signed, .. }) = checked else { return true };
    let message = format!("the signature that came with the module is for team {signed}, and is not sent for team {team}");
    text::tell(message);
    false
}

/// Reads a module.
fn read_module(path: &Path) -> Result<Vec<u8>> {
    author::read_module(path)
        .map_err(|error| Error::file(path, error).with_hint("`sandbar build` makes the module; --module names another file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Manifest>> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(FILE);
        std::fs::write(&path, text).expect("writable");
        let strip = |manifest: Manifest| Manifest {
            module: manifest.module.map(|source| match source {
                ModuleSource::File(path) => ModuleSource::File(path.strip_prefix(dir.path()).expect("inside").to_owned()),
                source @ ModuleSource::Registry(..) => source,
            }),
            ..manifest
        };
        Ok(Manifest::read(&path)?.into_iter().map(strip).collect())
    }

    #[test]
    fn each_document_is_a_transform_and_paths_are_relative_to_the_file() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let found = read(&format!(
            "team: a\nname: x\nmodule: target/x.wasm\noutputs: {{ z: z.z, a: a.a }}\n---\nteam: a\nname: y\nmodule: {digest}\n---\n"
        ))
        .expect("two specs");
        assert_eq!(found.iter().map(|manifest| manifest.id.to_string()).collect::<Vec<_>>(), ["a/x", "a/y"]);
        assert_eq!(found[0].module, Some(ModuleSource::File("target/x.wasm".into())));
        assert_eq!((found[0].spec.module.as_deref(), found[1].spec.module.as_deref()), (None, Some(digest.as_str())));
        assert!(found[1].module.is_none());
        assert!(found[0].spec.outputs.keys().eq(["z", "a"]), "the first output is the default: the order stays");
    }

    #[test]
    fn a_file_that_cannot_be_deployed_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", "there is no spec"),
            ("team: [", "transform.yaml: "),
            ("team: &t a\nname: *t\n", "anchors and aliases are not taken"),
            ("team: a\nname: x\nconfig: {a: [[[[", "transform.yaml: "),
            ("team: a\nname: x\nmodule: oci://ghcr.io/a\n", "neither a digest nor a tag"),
            ("name: x\n", "team: is missing"),
            ("team: a\nname: X Y\n", "\"X Y\""),
            ("team: a\nname: x\ninputz: [t]\n", "unknown field `inputz`"),
            ("team: a\nname: x\n---\nteam: a\n", "name: is missing"),
            ("team: a\nname: x\n---\nworkers: two\ntick: []\n", "document 2: tick: must be text"),
            ("limits: {memory: lots}\ninputs: x", "limits.memory: "),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_problems_of_all_documents_are_told_with_their_numbers() {
        const GOOD: &str = "team: a\nname: x\n";
        for (text, expected) in [
            ("inputs: [t]\n".to_owned(), &["\n  team: is missing", "\n  name: is missing"][..]),
            (
                format!("{GOOD}---\nteam: a\n---\nname: x\nmodule: oci://ghcr.io/a\n---\nteam: a\nname: X Y\n"),
                &[
                    "document 2: name: is missing",
                    "document 3: team: is missing",
                    "document 3: module: ",
                    "document 4: ",
                    "\"X Y\"",
                ],
            ),
            (format!("{GOOD}---\n# none\n---\nteam: a\nteam: b\n"), &["document 2: duplicate", "line 7"]),
            (
                format!("{GOOD}--- # two\nteam: a\nteam: b\n---\nlimits: {{memory: lots}}\n"),
                &["document 2: duplicate", "document 3: limits.memory: "],
            ),
            (
                format!("{GOOD}---\n").repeat(2) + &"workers: x\n---\n".repeat(UNFIT_MAX + 3),
                &["document 52: ", "and 3 more documents"],
            ),
        ] {
            let error = read(&text).expect_err(&text).to_string();
            for part in expected {
                assert!(error.contains(part), "{text:?}: {part:?} is not in {error}");
            }
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(FILE_BYTES_MAX + 1).expect("a file with a hole");
        let error = Manifest::read(file.path()).expect_err("too long").to_string();
        assert!(error.contains("has more than 16777216 bytes"), "{error}");
    }
}
