//! `sandbar new`: makes a folder with a transform that builds, tests and deploys without any edit.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::model::names::{TeamName, TransformName};

use super::super::error::{Error, Kind, Result};
use super::super::text;

#[derive(Debug, Args)]
pub struct NewArgs {
    /// The transform's name, and that of the folder and the crate
    name: TransformName,
    #[arg(long, value_name = "KIND", default_value = "filter")]
    template: Template,
    /// The team that owns the transform
    #[arg(long, default_value = "my-team")]
    team: TeamName,
    /// A checkout of sandbar-sdk to depend on, instead of the release of this version
    #[arg(long, value_name = "FOLDER")]
    sdk_path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Template {
    /// Pass records on unchanged, or drop them
    Filter,
    /// Make another record of each record, from JSON to JSON
    JsonMap,
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
        let sdk = self.sdk()?;
        for (file, template) in self.template.files() {
            let content = self.filled_in(template, &sdk);
            write(&folder.join(file), &content)
                .map_err(|error| Error::new(Kind::Failed, format_args!("{}: {error}", folder.join(file).display())))?;
        }
        let next = format!("cd {0} && cargo test && sandbar build", folder.display());
        text::emit(&format!("{}: a new transform. Try it: {next}\n", folder.display())).map(|()| ExitCode::SUCCESS)
    }

    /// The dependency on the SDK, as Cargo.toml has it.
    fn sdk(&self) -> Result<String> {
        let Some(path) = &self.sdk_path else {
            return Ok(concat!("\"", env!("CARGO_PKG_VERSION"), "\"").to_owned());
        };
        let absolute = path.canonicalize().map_err(|error| Error::file(path, error))?;
        let quoted = toml::Value::from(absolute.to_string_lossy().into_owned());
        Ok(format!("{{ path = {quoted} }}"))
    }

    fn filled_in(&self, template: &str, sdk: &str) -> String {
        let crate_name = self.name.as_str().replace('-', "_");
        let values =
            [("@name@", self.name.as_str()), ("@team@", self.team.as_str()), ("@crate@", &crate_name), ("@sdk@", sdk)];
        values.iter().fold(template.to_owned(), |text, (mark, value)| text.replace(mark, value))
    }
}

fn write(file: &Path, content: &str) -> io::Result<()> {
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(file, content)
}

// === impl Template ===

impl Template {
    /// The files of the folder, each with its content.
    fn files(self) -> [(&'static str, &'static str); 5] {
        let (lib, spec) = match self {
            Self::Filter => {
                (include_str!("../../../templates/filter/lib.rs"), include_str!("../../../templates/filter/transform.yaml"))
            }
            Self::JsonMap => (
                include_str!("../../../templates/json-map/lib.rs"),
                include_str!("../../../templates/json-map/transform.yaml"),
            ),
        };
        [
            ("Cargo.toml", include_str!("../../../templates/Cargo.toml.in")),
            ("README.md", include_str!("../../../templates/README.md.in")),
            (".gitignore", include_str!("../../../templates/gitignore")),
            ("src/lib.rs", lib),
            ("transform.yaml", spec),
        ]
    }
}
