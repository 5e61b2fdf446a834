//! `make demo`, from its first line to the comparison at its end.

use std::path::Path;
use std::process::Command;

/// The demo takes the host that is built beside it, and compares all outputs with the shop's expectation before it ends.
#[test]
fn the_demo_ends_with_an_output_that_is_equal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in the workspace");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_sandbar-demo"));
    let output = demo.args(["--for", "3s"]).current_dir(root).output().expect("the demo starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.lines().any(|line| line.contains("output, per key") && line.ends_with(" equal")), "{printed}");
}
