//! `sandbar new`: makes a folder with a transform that builds, tests and deploys without any edit.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};

use crate::model::names::{TeamName, TransformName};

use super::super::error::{Error, Kind, Result};
use super::super::text;
use super::sdk;

#[derive(Debug, Args)]
pub struct NewArgs {
    /// The transform's name, and that of the folder and the crate
    name: TransformName,
    #[arg(long, value_name = "KIND", default_value = "filter")]
    template: Template,
    /// The team that owns the transform
    #[arg(long, default_value = "my-team")]
    team: TeamName,
    /// A folder with the SDK to depend on, instead of a copy of this version's beside the transform
    #[arg(long, value_name = "FOLDER")]
    sdk_path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Template {
    /// Pass records on unchanged, or drop them
    Filter,
    /// Make another record of each record, from JSON to JSON
    JsonMap,
    /// Count the records of each key in a store
    Count,
    /// Add values of a table to each record
    Join,
    /// Read the change events of a table that Debezium captures
    Debezium,
}

// === impl NewArgs ===

impl NewArgs {
    pub fn run(self) -> Result<ExitCode> {
        if self.name.as_str().starts_with(|first: char| first.is_ascii_digit()) {
            let refused = Error::usage(format_args!("{:?} cannot be the name of a crate", self.name.as_str()));
            return Err(refused.with_hint("begin it with a letter"));
        }
        let folder = PathBuf::from(self.name.as_str());
        if std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::file(&folder, "the folder is not empty").with_hint("take another name, or another folder"));
        }
        if folder.exists() && !folder.is_dir() {
            return Err(Error::file(&folder, "is no folder").with_hint("take another name, or another folder"));
        }
        // Nothing is written if the SDK is not there.
        let given = self.sdk_path.as_deref().map(given_sdk).transpose()?;
        for (file, template) in self.template.files() {
            write(&folder.join(file), &self.filled_in(template))?;
        }
        let workspace = workspace_of(&folder);
        let sdk = match given {
            Some(path) => path,
            None => vendored(&folder, workspace.as_deref())?,
        };
        write(&folder.join("Cargo.toml"), &self.manifest(&sdk, workspace.is_some()))?;
        let next = format!("cd {0} && cargo test && sandbar build", folder.display());
        text::emit(&format!("{}: a new transform. Try it: {next}\n", folder.display())).map(|()| ExitCode::SUCCESS)
    }

    fn manifest(&self, sdk: &Path, is_member: bool) -> String {
        let mut manifest = self.filled_in(include_str!("../../../templates/Cargo.toml.in"));
        if !is_member {
            manifest.push_str("\n# It belongs to no other workspace.\n[workspace]\n");
        }
        let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
        let mut dependencies = format!("sandbar-sdk = {{ path = {} }}\n", quoted(sdk));
        if matches!(self.template, Template::Debezium) {
            dependencies.push_str(&format!("sandbar-debezium = {{ path = {} }}\n", quoted(&sdk.join("debezium"))));
        }
        manifest.replace("@dependencies@\n", &dependencies)
    }

    fn filled_in(&self, template: &str) -> String {
        let crate_name = self.name.as_str().replace('-', "_");
        let values = [("@name@", self.name.as_str()), ("@team@", self.team.as_str()), ("@crate@", &crate_name)];
        values.iter().fold(template.to_owned(), |text, (mark, value)| text.replace(mark, value))
    }
}

/// The folder that the command line names, which has the SDK.
fn given_sdk(path: &Path) -> Result<PathBuf> {
    const HINT: &str = "--sdk-path names a folder with the SDK: `sandbar sdk FOLDER` writes one";
    let found = path.canonicalize().map_err(|error| Error::file(path, error).with_hint(HINT))?;
    if !sdk::is_sdk(&found) {
        return Err(Error::file(path, "has no Cargo.toml of the SDK").with_hint(HINT));
    }
    Ok(found)
}

/// Writes the SDK beside the transform, or once for all crates of its workspace. Returns its path, from the crate.
fn vendored(folder: &Path, workspace: Option<&Path>) -> Result<PathBuf> {
    let Some(root) = workspace else {
        sdk::write(&folder.join(sdk::FOLDER))?;
        return Ok(sdk::FOLDER.into());
    };
    let shared = root.join(sdk::FOLDER);
    if sdk::version_of(&shared).is_none() {
        if shared.exists() {
            let refused = Error::file(&shared, "is in the place of the SDK");
            return Err(refused.with_hint("--sdk-path names a folder with the SDK: `sandbar sdk FOLDER` writes one"));
        }
        sdk::write(&shared)?;
    }
    let folder = folder.canonicalize().map_err(|error| Error::file(folder, error))?;
    let depth = folder.strip_prefix(root).map_or(0, |below| below.components().count());
    Ok(std::iter::repeat_n("..", depth).collect::<PathBuf>().join(sdk::FOLDER))
}

/// The root of the workspace that has a new crate among its members, as cargo sees it. None: the crate stands alone.
fn workspace_of(folder: &Path) -> Option<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["locate-project", "--workspace", "--message-format", "plain", "--manifest-path"];
    let located = Command::new(cargo).args(arguments).arg(&manifest).output().ok()?;
    let root = PathBuf::from(String::from_utf8(located.stdout).ok().filter(|_| located.status.success())?.trim_end());
    let is_own = root.canonicalize().ok()? == manifest.canonicalize().ok()?;
    root.parent().filter(|_| !is_own)?.canonicalize().ok()
}

fn write(file: &Path, content: &str) -> Result<()> {
    sdk::write_file(file, content).map_err(|error| Error::new(Kind::Failed, format_args!("{}: {error}", file.display())))
}

// === impl Template ===

/// The two files of a template that are its own.
macro_rules! own_files {
    ($folder:literal) => {
        (
            include_str!(concat!("../../../templates/", $folder, "/lib.rs")),
            include_str!(concat!("../../../templates/", $folder, "/transform.yaml")),
        )
    };
}

impl Template {
    /// The files of the folder, each with its content. The manifest is complete when the place of the SDK is known.
    fn files(self) -> [(&'static str, &'static str); 5] {
        let (lib, spec) = match self {
            Self::Filter => own_files!("filter"),
            Self::JsonMap => own_files!("json-map"),
            Self::Count => own_files!("count"),
            Self::Join => own_files!("join"),
            Self::Debezium => own_files!("debezium"),
        };
        [
            ("Cargo.toml", "[package]\nname = \"@name@\"\n"),
            ("README.md", include_str!("../../../templates/README.md.in")),
            (".gitignore", include_str!("../../../templates/gitignore")),
            ("src/lib.rs", lib),
            ("transform.yaml", spec),
        ]
    }
}
