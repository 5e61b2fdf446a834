//! `sandbar sign` and `sandbar verify`: signatures of modules, and the keys that they are made with. Neither asks a host.

mod private_key;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::private_key::PrivateKey;
use super::super::error::{Error, Kind, Result};
use super::super::text;
use super::module::read_module;
use crate::model::codes::Code;
use crate::model::names::{Digest, TeamName};
use crate::model::signature::{ENVELOPE_BYTES_MAX, Envelope};
use crate::model::signing_key::PublicKey;

/// Sign a module for a team, so that hosts which require it take the module
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SignArgs {
    #[command(subcommand)]
    noun: Option<SignNoun>,
    #[command(flatten)]
    module: Option<SignModuleArgs>,
}

#[derive(Debug, Args)]
struct SignModuleArgs {
    /// The component
    #[arg(value_name = "MODULE")]
    path: PathBuf,
    /// The private key, as PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The team that may deploy the module
    #[arg(long)]
    team: TeamName,
    /// The file of the signature; `-` for standard output [default: MODULE.sig]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum SignNoun {
    /// Make signing keys, and show their public parts
    #[command(subcommand)]
    Key(KeyVerb),
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Write a new private key into a file that only you may read, and print its public part for the file of teams
    Generate {
        /// The file, which must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the public part of a private key, for the file of teams
    Public {
        /// The private key, as PEM
        #[arg(value_name = "FILE")]
        key: PathBuf,
    },
}

/// Verify the signature of a module, as a host does; exits with 1 if it does not count
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The component
    #[arg(value_name = "MODULE")]
    path: PathBuf,
    #[arg(long)]
    team: TeamName,
    /// A public key of the team, ed25519:BASE64; may be given several times
    #[arg(long = "key", value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// The signature [default: MODULE.sig]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

// === impl SignArgs ===

impl SignArgs {
    pub fn run(self) -> Result<ExitCode> {
        match (self.noun, self.module) {
            (Some(SignNoun::Key(KeyVerb::Generate { out })), _) => print_public(&PrivateKey::generate(&out)?),
            (Some(SignNoun::Key(KeyVerb::Public { key })), _) => print_public(&PrivateKey::read(&key)?),
            (None, Some(module)) => module.sign(),
            (None, None) => Err(Error::usage("name a module, or `key`")),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

fn print_public(key: &PrivateKey) -> Result<()> {
    text::emit(&format!("{}\n", key.public()))
}

// === impl SignModuleArgs ===

impl SignModuleArgs {
    fn sign(self) -> Result<()> {
        let Self { path, key, team, out } = self;
        let key = PrivateKey::read(&key)?;
        let digest = digest_of(&path)?;
        let id = key.public().id();
        let signature = Envelope::seal(&digest, &team, &id, |text| key.sign(text)).to_json() + "\n";
        if out.as_deref() == Some(Path::new("-")) {
            return text::emit(&signature);
        }
        let out = out.unwrap_or_else(|| signature_path(&path));
        std::fs::write(&out, signature).map_err(|error| Error::file(&out, error))?;
        text::emit(&format!("{}: {digest} for team {team}, signed with key {id}\n", out.display()))
    }
}

// === impl VerifyArgs ===

impl VerifyArgs {
    pub fn run(self) -> Result<ExitCode> {
        let Self { path, team, keys, signature } = self;
        let keys = keys.iter().map(|key| key.parse::<PublicKey>()).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|message| Error::usage(format_args!("--key {message}")).with(Code::SigningKey))?;
        let digest = digest_of(&path)?;
        let text = read_signature(&signature.unwrap_or_else(|| signature_path(&path)))?;
        let verified = Envelope::parse(&text).and_then(|envelope| envelope.verify(&digest, &team, &keys));
        let key = verified.map_err(|error| {
            Error::new(Kind::Failed, format_args!("{}: {error}", path.display())).with(Code::BadSignature)
        })?;
        text::emit(&format!("{}: {digest} is team {team}'s, signed with key {key}\n", path.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn digest_of(module: &Path) -> Result<Digest> {
    read_module(module).map(|bytes| Digest::of(&bytes)).map_err(|error| Error::file(module, error))
}

/// The place of a module's signature: beside the module.
pub fn signature_path(module: &Path) -> PathBuf {
    let mut path = module.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

fn not_a_file() -> std::io::Error {
    std::io::Error::other("is no plain file")
}

/// Reads a signature.
pub fn read_signature(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    // To open a pipe would wait for its writer.
    let is_file = std::fs::metadata(path).and_then(|found| if found.is_file() { Ok(()) } else { Err(not_a_file()) });
    let read = is_file
        .and_then(|()| std::fs::File::open(path))
        .and_then(|file| file.take(ENVELOPE_BYTES_MAX as u64 + 1).read_to_end(&mut text));
    read.map_err(|error| {
        Error::file(path, error).with_hint("`sandbar sign` makes the signature; --signature names another file")
    })?;
    Ok(text)
}
