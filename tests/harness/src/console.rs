//! The console in Chromium: Playwright goes through a flow of `tests/console`, with the packages of `tools/setup.sh browser`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{browser, dirs};

/// Goes through one flow of the console of the host at `base`. Panics with all that the page shows if the flow finds something
/// else than it expects.
#[track_caller]
pub fn goes_through(flow: &str, base: &str, given: &Value) {
    let cache = std::env::var_os("SANDBAR_CACHE").map_or_else(|| dirs::root().join(".sandbar"), PathBuf::from);
    let packages = cache.join("browser/node_modules");
    assert!(packages.is_dir(), "{} is missing: run `tools/setup.sh browser`", packages.display());
    let shots = dirs::fresh("console");
    let mut command = Command::new("node");
    command.arg(dirs::root().join("tests/console/run.mjs")).args([flow, base, &given.to_string()]);
    command.env("SANDBAR_BROWSER_PACKAGES", packages).env("SANDBAR_CHROMIUM", browser::program());
    let output = command.env("SANDBAR_SHOTS", &shots).stdin(Stdio::null()).output().expect("node can be started");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{flow} (pictures: {}):\n{out}\n{err}", shots.display());
    print!("{out}");
}
