//! `transform.yaml`: one or more specs, one YAML document each, and the modules that they name by file.

use std::path::{Path, PathBuf};

use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::spec::{Problem, RawSpec};
use crate::model::yaml;

use super::super::error::{Error, Result};

/// The name of the file that verbs look for.
pub const FILE: &str = "transform.yaml";

/// One document of the file.
#[derive(Debug)]
pub struct Manifest {
    pub id: TransformId,
    /// As it is sent: `module` is a digest or absent.
    pub spec: RawSpec,
    /// Where the spec names its module by path: that path.
    pub module: Option<PathBuf>,
}

impl Manifest {
    /// Reads every document; team and name must be in each.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read(path).map_err(|error| {
            let error = Error::file(path, error);
            error.with_hint("-f names the spec's file; `sandbar new` makes a folder with one")
        })?;
        let specs: Vec<RawSpec> = yaml::all(&text)
            .map_err(|error| Error::file(path, error).with_code(Code::Spec.as_str()).with_hint(Code::Spec.hint()))?;
        let manifests = specs.into_iter().map(|spec| Self::of(spec, path)).collect::<Result<Vec<_>>>()?;
        match manifests.is_empty() {
            true => Err(Error::file(path, "there is no spec in it")),
            false => Ok(manifests),
        }
    }

    fn of(mut spec: RawSpec, path: &Path) -> Result<Self> {
        let name = |field: &str, value: &Option<String>| {
            let problem = || Problem { field: field.to_owned(), message: "is missing: deploying needs to know it".into() };
            value.clone().ok_or_else(|| Error::spec(path, &[problem()]))
        };
        let id = format!("{}/{}", name("team", &spec.team)?, name("name", &spec.name)?);
        let id = id.parse().map_err(|error| Error::file(path, error).with_code(Code::Spec.as_str()))?;
        let file = spec.module.take_if(|module| !module.starts_with("sha256:"));
        let module = file.map(|file| path.parent().unwrap_or(Path::new("")).join(file));
        Ok(Self { id, spec, module })
    }
}

/// Reads a module.
pub fn read_module(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
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
            module: manifest.module.map(|path| path.strip_prefix(dir.path()).expect("inside").to_owned()),
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
        assert_eq!(found[0].module.as_deref(), Some(Path::new("target/x.wasm")));
        assert_eq!((found[0].spec.module.as_deref(), found[1].spec.module.as_deref()), (None, Some(digest.as_str())));
        assert!(found[1].module.is_none());
        assert!(found[0].spec.outputs.keys().eq(["z", "a"]), "the first output is the default: the order stays");
    }

    #[test]
    fn what_cannot_be_deployed_says_why() {
        for (text, expected) in [
            ("", "there is no spec"),
            ("team: [", "transform.yaml: "),
            ("team: &t a\nname: *t\n", "anchors and aliases are not taken"),
            ("team: a\nname: x\nconfig: {a: [[[[", "transform.yaml: "),
            ("name: x\n", "team: is missing"),
            ("team: a\nname: X Y\n", "\"X Y\""),
            ("team: a\nname: x\ninputz: [t]\n", "unknown field `inputz`"),
            ("team: a\nname: x\n---\nteam: a\n", "name: is missing"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
