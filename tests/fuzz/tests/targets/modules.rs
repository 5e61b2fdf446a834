//! Uploads: modules that are nearly right, and some that are nothing.

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

static MODULES: LazyLock<Modules> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder").keep();
    let options = ModuleOptions { cache_bytes_max: CACHE_BYTES_MAX, ..ModuleOptions::default() };
    Modules::open(&folder, options, Metrics::new().modules).expect("an engine")
});

/// One that behaves, and the small ones of the hostile corpus.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let corpus = hostile::corpus().into_iter().map(|case| case.module).filter(|module| module.len() <= SEED_BYTES_MAX);
    std::iter::once(Component::new().bytes()).chain(corpus).collect()
});

/// A module is refused with a code, or an instance of it is tried under the spec's limits.
#[test]
fn modules() {
    let raw = json!({"inputs": ["a"], "outputs": {"o": "b"}, "limits": {"memory": "1MiB", "batch_time": "10ms"}});
    let raw: RawSpec = serde_json::from_value(raw).expect("a spec");
    // Made before the clock of the first input runs.
    assert!(SEEDS.len() > 50 && MODULES.check(&SEEDS[0]).is_ok());
    sandbar_fuzz::run("modules", |entropy| {
        let mut bytes = match entropy.once_in(16) {
            true => [b"\0asm\x0d\0\x01\0", entropy.bytes(1024)].concat(),
            false => entropy.pick(&SEEDS).clone(),
        };
        let words: [&[u8]; 6] =
            [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0", b"\x0b", b"\xff\xff\xff\xff\x0f", b"process", b"@0.1.0"];
        mutate(&mut bytes, &words, entropy);
        let checked = MODULES.check(&bytes).and_then(|_| {
            let id = "shop/fuzz".parse().expect("valid");
            let spec = Spec::parse(&raw, &id, Some(Digest::of(&bytes))).expect("valid");
            MODULES.try_init(&spec, &bytes)
        });
        if let Err(error) = checked {
            assert!(!matches!(error.code(), Code::Internal | Code::HostResources), "{error}");
        }
    });
}
