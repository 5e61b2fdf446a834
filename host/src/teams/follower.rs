//! Follows the file of teams for as long as the host runs.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::table::{FileError, TeamTable};
use super::{Teams, TeamsOptions, file};
use crate::followed_file::Looks;
use crate::model::team::TeamLimits;
use crate::model::text::OneLine;

/// Time between two looks. The file is read each time: its times and its size may stay the same when it is written again,
/// and a link to it may come to point elsewhere, as Kubernetes' do.
const INTERVAL: Duration = Duration::from_millis(500);

type Content = Result<Vec<u8>, FileError>;

/// The newest content of the file.
#[derive(Default)]
struct Newest(Looks<Content>);

/// Takes each change of the file, until `shutdown` becomes true.
pub async fn follow_for_ever(teams: Teams, options: TeamsOptions, mut shutdown: watch::Receiver<bool>) {
    let Some(path) = options.file else { return };
    // The content at the start is judged once more, as a change may have come since.
    let mut newest = Newest::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = shutdown.wait_for(|&down| down) => return,
        }
        let own = path.clone();
        // A panic in there was reported where it happened.
        let Ok(read) = tokio::task::spawn_blocking(move || file::read(&own)).await else { continue };
        if let Some(judged) = newest.look(read, &options.base) {
            take(&teams, &path, judged);
        }
    }
}

fn take(teams: &Teams, path: &Path, judged: Result<TeamTable, FileError>) {
    let before = teams.current();
    let file = OneLine(path.display());
    match &judged {
        Ok(table) if before.table == *table && before.trouble.is_none() => return,
        Ok(table) => info!(%file, teams = table.teams.len(), "the file of teams is in use"),
        Err(error) => {
            warn!(%file, code = %error.code(), error = %OneLine(error), "the file of teams is not used; the limits stay");
        }
    }
    teams.take(judged);
}

// === impl Newest ===

impl Newest {
    /// Judges content that was read twice, and that was not judged before.
    fn look(&mut self, read: Content, base: &TeamLimits) -> Option<Result<TeamTable, FileError>> {
        let content = self.0.look(read)?;
        Some(content.and_then(|text| TeamTable::parse(&text, base)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these contents in turn (`-`: there is no file). Each look shows the default of `transforms_max`, `error`,
    /// or nothing.
    #[track_caller]
    fn check(contents: &[&str], expected: &[&str]) {
        let mut newest = Newest::default();
        let mut look = |content: &&str| {
            let read = match *content {
                "-" => Err(FileError::Unreadable("gone".to_owned())),
                text => Ok(text.as_bytes().to_vec()),
            };
            match newest.look(read, &TeamLimits::default()) {
                None => String::new(),
                Some(Ok(table)) => table.defaults.transforms_max.to_string(),
                Some(Err(_)) => "error".to_owned(),
            }
        };
        let shown: Vec<String> = contents.iter().map(&mut look).collect();
        assert_eq!(shown, expected, "{contents:?}");
    }

    #[test]
    fn a_content_is_judged_once_when_it_was_seen_twice() {
        const ONE: &str = "defaults: {transforms_max: 1}";
        const TWO: &str = "defaults: {transforms_max: 2}";
        const BAD: &str = "defaults: {transforms_max: x}";
        check(&[ONE, ONE, ONE, TWO, TWO, TWO], &["", "1", "", "", "2", ""]);
        check(&[ONE, TWO, ONE, TWO], &["", "", "", ""]);
        check(&[ONE, ONE, BAD, BAD, BAD, ONE, ONE], &["", "1", "", "error", "", "", "1"]);
        check(&[ONE, ONE, "-", "-", "-", ONE, ONE], &["", "1", "", "error", "", "", "1"]);
        check(&[ONE, ONE, "", ONE, ONE], &["", "1", "", "", ""]);
        check(&["", "", ONE, ""], &["", "error", "", ""]);
    }
}
