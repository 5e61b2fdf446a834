//! The tokens of the host's own configuration: with them the first tokens of a cluster are made.
//!
//! A file has a token a line, or the SHA-256 of one (`sha256:..`), so that a new one can stand beside the one before.
//! Empty lines, and lines that begin with `#`, are passed over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tracing::{info, warn};

use super::secret::{TokenHash, TokenSecret};
use crate::followed_file;
use crate::model::codes::Code;
use crate::model::text::OneLine;

/// Time between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(500);
/// Largest file that is read: far more tokens than anybody keeps in it.
const BYTES_MAX: u64 = 64 * 1024;

/// The reason why a file is not used. It never shows a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("line {line}: {reason}")]
    Line { line: usize, reason: &'static str },
    /// An empty file may be in the middle of being written.
    #[error("it has no token")]
    Empty,
}

/// The tokens of the file, as it is now. Cloning shares them.
#[derive(Clone, Default)]
pub struct AdminTokens {
    path: Option<PathBuf>,
    hashes: Arc<RwLock<Vec<TokenHash>>>,
}

// === impl AdminTokens ===

impl AdminTokens {
    /// Reads the file, if there is one. Blocks.
    pub fn open(path: Option<&Path>) -> Result<Self, FileError> {
        let hashes = path.map(|path| parse(&read(path)?)).transpose()?.unwrap_or_default();
        Ok(Self { path: path.map(Path::to_owned), hashes: Arc::new(RwLock::new(hashes)) })
    }

    /// Returns true if the token is one of the file's. Each is compared, in a time that does not depend on the result.
    pub fn has(&self, token: &TokenHash) -> bool {
        let matches = |own: &TokenHash| own.as_bytes().ct_eq(token.as_bytes());
        let any = self.hashes.read().iter().map(matches).fold(subtle::Choice::from(0), |any, one| any | one);
        any.into()
    }

    /// Returns true if a token of the file has this id.
    pub fn has_short(&self, id: &str) -> bool {
        self.hashes.read().iter().any(|own| own.short() == id)
    }

    /// Takes each change of the file, until `shutdown` becomes true. A file that is not valid changes nothing.
    pub async fn follow_for_ever(self, mut shutdown: watch::Receiver<bool>) {
        let Some(path) = self.path.clone() else { return };
        let mut refused = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = shutdown.wait_for(|&down| down) => return,
            }
            let own = path.clone();
            // A panic in there was reported where it happened.
            let Ok(read) = tokio::task::spawn_blocking(move || parse(&read(&own)?)).await else { continue };
            let file = OneLine(path.display());
            match read {
                Ok(hashes) => {
                    refused = None;
                    if *self.hashes.read() != hashes {
                        info!(%file, tokens = hashes.len(), "the file of admin tokens is in use");
                        *self.hashes.write() = hashes;
                    }
                }
                Err(error) if refused.as_ref() != Some(&error) => {
                    warn!(%file, code = %Code::AccessOptions, %error, "the file of admin tokens is not used; the tokens stay");
                    refused = Some(error);
                }
                Err(_) => {}
            }
        }
    }
}

fn read(path: &Path) -> Result<String, FileError> {
    let bytes = followed_file::read(path, BYTES_MAX).map_err(FileError::Unreadable)?;
    String::from_utf8(bytes).map_err(|_| FileError::Unreadable("it is not UTF-8".to_owned()))
}

fn parse(text: &str) -> Result<Vec<TokenHash>, FileError> {
    let lines = text.lines().map(str::trim).enumerate();
    let tokens = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let hash = |(at, line): (usize, &str)| {
        let parsed = match line.starts_with("sha256:") {
            true => line.parse(),
            false => line.parse::<TokenSecret>().map(|token| token.hash()),
        };
        parsed.map_err(|reason| FileError::Line { line: at + 1, reason })
    };
    let hashes = tokens.map(hash).collect::<Result<Vec<_>, _>>()?;
    if hashes.is_empty() { Err(FileError::Empty) } else { Ok(hashes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<usize, &str>) {
        let parsed = parse(text).map(|hashes| hashes.len()).map_err(|error| error.to_string());
        assert_eq!(parsed.as_ref().map(|count| *count).map_err(String::as_str), expected, "{text:?}");
    }

    #[test]
    fn a_file_has_tokens_or_their_hashes() {
        let token = TokenSecret::generate().expect("randomness");
        let secret = token.expose();
        let hash = token.hash();
        check(secret, Ok(1));
        check(&format!("# of November\n{secret}\n\n  {hash}  \n"), Ok(2));
        check("", Err("it has no token"));
        check("# nothing yet\n", Err("it has no token"));
        check(&secret[..20], Err("line 1: it does not have the length of a token, or has other characters"));
        check(&format!("{secret}\nsecret"), Err("line 2: it does not begin with sbr_"));
        check("sha256:12", Err("line 1: it is not 64 digits long"));
    }

    #[test]
    fn only_the_tokens_of_the_file_are_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens");
        assert!(matches!(AdminTokens::open(Some(&path)), Err(FileError::Unreadable(_))));
        let own = TokenSecret::generate().expect("randomness");
        let other = TokenSecret::generate().expect("randomness");
        std::fs::write(&path, own.expose()).expect("written");
        let tokens = AdminTokens::open(Some(&path)).expect("a file");
        assert!(tokens.has(&own.hash()) && !tokens.has(&other.hash()));
        assert!(!AdminTokens::default().has(&own.hash()));
    }
}
