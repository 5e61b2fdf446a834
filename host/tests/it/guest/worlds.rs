//! Components of every world that was released (`tests/worlds`): this host loads and runs them.

use std::path::Path;

use crate::support::guests::{Bench, mode, modules, spec};
use sandbar::state::{KeyedState, StoreSettings};
use serde_json::json;

#[test]
fn a_kept_component_of_each_world_runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/worlds");
    let files = std::fs::read_dir(&folder).expect("there").map(|file| file.expect("readable").path());
    let kept: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm")).collect();
    assert!(!kept.is_empty(), "{}", folder.display());
    for file in kept {
        let world = file.file_stem().and_then(|stem| stem.to_str()).expect("a version").to_owned();
        let module = std::fs::read(&file).expect("readable");
        let info = modules().check(None, &module).unwrap_or_else(|error| panic!("{world}: {error}"));
        assert!(info.exports.contains(&format!("sandbar:transform/transform@{world}")), "{:?}", info.exports);
        let spec = spec(mode("fold"), json!({ "state": { "sums": {} }, "tick": "1s" }));
        modules().try_init(&spec, &module).unwrap_or_else(|error| panic!("{world}: {error}"));
        let stores = spec.state.iter().map(|(name, store)| (StoreSettings::of(name, store, &spec.limits), Vec::new()));
        let mut bench = Bench::of(&module, &spec, KeyedState::in_memory(stores.collect()).expect("memory"), |_| {});
        bench.offer_keyed(&[("a", Some("5")), ("a", Some("-2"))]).run();
        assert_eq!(bench.session.values(0), ["1 5", "2 3"], "{world}");
    }
}
