#!/usr/bin/env bash
# Tests upgrades: builds version 0.1, then runs hosts of it and of this checkout in one cluster, on a real Kafka.
#
#   tools/upgrade.sh [FILTER]    FILTER: a part of a test's name; without it, all (tests/e2e/upgrade)
#
# Version 0.1 is taken from the history and compiled in target/upgrade, where sources and build stay. The slow part is the
# first run, which compiles wasmtime and librdkafka for 0.1; the next ones compile nothing of it. The tests take six minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# 0.1, as its first users had it.
commit=14ab876
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
sources=$target/upgrade/$commit
build=$target/upgrade/target

say() { echo "upgrade: $*"; }
die() {
    printf 'upgrade: %s\n' "$@" >&2
    exit 1
}

git rev-parse --git-dir >/dev/null 2>&1 || die "this is no git checkout, so the sources of 0.1 are missing"
git cat-file -e "$commit^{commit}" 2>/dev/null ||
    die "this clone lacks commit $commit, which is version 0.1" "a shallow clone gets it with: git fetch --unshallow"
if [[ ! -d $sources ]]; then
    # Under its name only when it is whole.
    rm -rf "$sources.part"
    mkdir -p "$sources.part"
    git archive "$commit" | tar -x -C "$sources.part"
    mv "$sources.part" "$sources"
fi
say "building 0.1, commit $commit (the first time takes minutes: wasmtime, librdkafka)"
# Without optimised dependencies, which 0.1 has in this profile: compiling them would take most of the time.
(cd "$sources" && cargo --config 'profile.dev.package."*".opt-level=0' build --quiet --locked --target-dir "$build" \
    --workspace --bin sandbar)
say "building this checkout"
cargo build --workspace --bin sandbar --test upgrade
say "running the tests one after the other: they tell how long each step of an upgrade takes"
SANDBAR_OLD_BIN=$build/debug/sandbar cargo test --workspace --test upgrade -- --nocapture --test-threads=1 "$@"
