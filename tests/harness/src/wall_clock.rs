//! The wall clock of one host, set by a test while the host runs. The process is started with libfaketime
//! (`tools/setup.sh kafka` installs it), which answers for the wall clock alone.

use std::path::PathBuf;

use crate::dirs;

/// Folders in which distributions keep the library.
const FOLDERS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
];
const LIBRARY: &str = "libfaketimeMT.so.1";
/// The time after which the library looks at the offset again, in seconds.
const LOOK_SECONDS: &str = "1";

/// See the module.
#[derive(Debug)]
pub struct WallClock {
    offset: PathBuf,
}

impl WallClock {
    /// A clock that shows the machine's time.
    pub fn new() -> Self {
        let clock = Self { offset: dirs::fresh("wall-clock").join("offset") };
        clock.set("+0");
        clock
    }

    /// Sets it to the machine's time and this offset: `+1h`, `-1h`. The host sees it within a second.
    pub fn set(&self, offset: &str) {
        let new = self.offset.with_extension("new");
        std::fs::write(&new, offset).and_then(|()| std::fs::rename(&new, &self.offset)).expect("target is writable");
    }

    /// The environment of a process that uses the clock.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let library = FOLDERS.iter().map(|folder| PathBuf::from(folder).join(LIBRARY)).find(|path| path.is_file());
        let library = library.unwrap_or_else(|| panic!("there is no {LIBRARY}: run tools/setup.sh kafka"));
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD", path(&library)),
            ("FAKETIME_TIMESTAMP_FILE", path(&self.offset)),
            ("FAKETIME_CACHE_DURATION", LOOK_SECONDS.to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}
