//! Fuzz targets over every parser of foreign bytes. See the crate for how they run.

mod control;
mod debezium;
mod modules;
mod outputs;
mod records;
mod specs;

/// Each target of the list is a test of these files.
#[test]
fn every_target_is_there() {
    const FILES: [&str; 6] = [
        include_str!("control.rs"),
        include_str!("debezium.rs"),
        include_str!("modules.rs"),
        include_str!("outputs.rs"),
        include_str!("records.rs"),
        include_str!("specs.rs"),
    ];
    for target in sandbar_fuzz::TARGETS {
        let test = format!("#[test]\nfn {target}() {{");
        assert_eq!(FILES.iter().filter(|file| file.contains(&test)).count(), 1, "{target}");
    }
}
