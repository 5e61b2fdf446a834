//! `unsafe` stands in few places, each of which says why.

use std::collections::BTreeSet;

use crate::sources;

/// The files of the host that may have `unsafe`, with the reason; a name that ends with `/` is a folder.
const PLACES: &[(&str, &str)] = &[
    ("guest/compile/jail.rs", "limits of a process that std does not set"),
    ("guest/compile/jail/tests.rs", "system calls that the jail must refuse"),
    ("guest/compile/process.rs", "a child and its pipe, watched without a thread, and a file in memory"),
    ("guest/modules.rs", "machine code that this host's own compiler made"),
    ("kafka/raw/", "librdkafka"),
    ("system_clock.rs", "clocks of the system that std does not read, and their state"),
    ("telemetry/metrics/process.rs", "the CPU time of the process"),
];

#[test]
fn unsafe_code_stands_in_the_named_places() {
    let is_unsafe = |code: &str| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    let sources = sources::host();
    let found: BTreeSet<&str> =
        sources.iter().filter(|source| is_unsafe(&sources::code(&source.text))).map(|source| source.path.as_str()).collect();
    let place =
        |path: &str| PLACES.iter().find(|(place, _)| path == *place || place.ends_with('/') && path.starts_with(place));
    let elsewhere: Vec<&&str> = found.iter().filter(|path| place(path).is_none()).collect();
    assert!(elsewhere.is_empty(), "unsafe code in {elsewhere:?}");
    let needless: Vec<&str> = PLACES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !found.iter().any(|path| place(path).is_some_and(|(found, _)| found == name)))
        .collect();
    assert!(needless.is_empty(), "these places have no unsafe code any more: {needless:?}");
}
