//! Uploads: modules that are nearly right, and some that are nothing.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::LazyLock;

use sandbar::guest::{ModuleOptions, Modules};
use sandbar::model::codes::Code;
use sandbar::model::names::Digest;
use sandbar::model::spec::{RawSpec, Spec};
use sandbar::telemetry::metrics::Metrics;
use sandbar_fuzz::mutate;
use sandbar_harness::hostile::{self, Component};
use serde_json::json;

/// Larger ones take too long to compile thousands of times.
const SEED_BYTES_MAX: usize = 8 * 1024;
const CACHE_BYTES_MAX: u64 = 16 << 20;

/// One that behaves, and the small ones of the hostile corpus.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let corpus = hostile::corpus().into_iter().map(|case| case.module).filter(|module| module.len() <= SEED_BYTES_MAX);
    std::iter::once(Component::new().bytes()).chain(corpus).collect()
});

/// An engine whose compiled modules are in `folder`.
fn engine(folder: &Path) -> Modules {
    let options = ModuleOptions { cache_bytes_max: CACHE_BYTES_MAX, ..ModuleOptions::default() };
    Modules::open(folder, options, Metrics::new().modules).expect("an engine")
}

/// Refuses a module with a code, or tries an instance under the spec's limits.
#[test]
fn modules() {
    let raw = json!({"inputs": ["a"], "outputs": {"o": "b"}, "limits": {"memory": "1MiB", "batch_time": "10ms"}});
    let raw: RawSpec = serde_json::from_value(raw).expect("a spec");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = AssertUnwindSafe(engine(folder.path()));
    // Made before the clock of the first input runs.
    assert!(SEEDS.len() > 50 && engine.check(None, &SEEDS[0]).is_ok());
    sandbar_fuzz::run("modules", |entropy| {
        // The whole wrapper, and not the engine in it.
        let engine = &engine;
        let mut bytes = if entropy.once_in(16) {
            [b"\0asm\x0d\0\x01\0", entropy.bytes(1024)].concat()
        } else {
            entropy.pick(&SEEDS).clone()
        };
        let words: [&[u8]; 6] =
            [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0", b"\x0b", b"\xff\xff\xff\xff\x0f", b"process", b"@0.1.0"];
        mutate(&mut bytes, &words, entropy);
        let checked = engine.check(None, &bytes).and_then(|_| {
            let id = "shop/fuzz".parse().expect("valid");
            let spec = Spec::parse(&raw, &id, Some(Digest::of(&bytes))).expect("valid");
            engine.try_init(&spec, &bytes)
        });
        if let Err(error) = checked {
            assert!(!matches!(error.code(), Code::Internal | Code::HostResources), "{error}");
        }
    });
}
