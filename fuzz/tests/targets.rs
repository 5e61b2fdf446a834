//! Fuzz targets over every parser of foreign bytes. See the crate for how they run.

#[path = "targets/control.rs"]
mod control;
#[path = "targets/debezium.rs"]
mod debezium;
#[path = "targets/modules.rs"]
mod modules;
#[path = "targets/outputs.rs"]
mod outputs;
#[path = "targets/records.rs"]
mod records;
#[path = "targets/specs.rs"]
mod specs;

/// Each target of the list is a test of these files.
#[test]
fn every_target_is_there() {
    const FILES: [&str; 6] = [
        include_str!("targets/control.rs"),
        include_str!("targets/debezium.rs"),
        include_str!("targets/modules.rs"),
        include_str!("targets/outputs.rs"),
        include_str!("targets/records.rs"),
        include_str!("targets/specs.rs"),
    ];
    for target in sandbar_fuzz::TARGETS {
        let test = format!("#[test]\nfn {target}() {{");
        assert_eq!(FILES.iter().filter(|file| file.contains(&test)).count(), 1, "{target}");
    }
}
