//! Files of an operator that a host follows: a read within bounds, and the rule by which a change counts.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use crate::bounded_input;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Contents of a file, or of several, as look after look finds them.
#[derive(Debug)]
pub struct Looks<C> {
    /// The content at the last look.
    seen: Option<C>,
    /// The content that was handed out last.
    judged: Option<C>,
}

impl<C> Default for Looks<C> {
    fn default() -> Self {
        Self { seen: None, judged: None }
    }
}

impl<C: Clone + PartialEq> Looks<C> {
    /// Begins with a content that was judged already.
    pub fn after(content: C) -> Self {
        Self { seen: Some(content.clone()), judged: Some(content) }
    }

    /// Hands out content that was read twice, and was not handed out before: a file may be read while it is being written.
    pub fn look(&mut self, read: C) -> Option<C> {
        if self.seen.as_ref() != Some(&read) {
            self.seen = Some(read);
            return None;
        }
        if self.judged.as_ref() == Some(&read) {
            return None;
        }
        self.judged = Some(read.clone());
        Some(read)
    }
}

/// Hands each settled content to `take`, until `shutdown` becomes true. `read` may block.
pub async fn follow<C, R>(mut shutdown: watch::Receiver<bool>, read: R, mut take: impl FnMut(C))
where
    C: Clone + PartialEq + Send + 'static,
    R: Fn() -> C + Clone + Send + 'static,
{
    let mut looks = Looks::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = shutdown.wait_for(|&down| down) => return,
        }
        // A panic in there was reported where it happened.
        let Ok(content) = tokio::task::spawn_blocking(read.clone()).await else { continue };
        if let Some(settled) = looks.look(content) {
            take(settled);
        }
    }
}

/// Reads a file as a whole. An error says why it is not used. Blocks.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    // A pipe would keep the reader waiting.
    if !std::fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a file".to_owned());
    }
    bounded_input::read_file(path, bytes_max).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => format!("it {error}"),
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_why_a_file_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").expect("written");
        assert_eq!(read(&path, 3), Ok(b"abc".to_vec()));
        assert_eq!(read(&path, 2), Err("it has more than 2 bytes".to_owned()));
        assert_eq!(read(folder.path(), 3), Err("it is not a file".to_owned()));
    }
}
