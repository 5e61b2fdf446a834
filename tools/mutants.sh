#!/usr/bin/env bash
# Changes the code of worker, task, state and stores in one place at a time, and has the tests that need no broker find it.
# A surviving mutant shows a line that no such test checks; docs/testing.md lists the ones that were examined.
#
#   tools/mutants.sh [SHARD]    SHARD: 3/24, the fourth of 24 parts; without it, the part of today
#
# On a busy machine a build or a test takes longer than an idle one needs. These variables give them more time:
#   SANDBAR_MUTANTS_BUILD_SECONDS   limit for the build of a mutant (600)
#   SANDBAR_MUTANTS_TEST_SECONDS    limit for its tests (120)
#
# There are about a thousand mutants, each of which is compiled and tested, so a night runs one part of them. The work is
# done on a copy of HEAD, with the compiled dependencies of target/.
#
# cargo-mutants is taken from the PATH, or compiled once from crates.io, with its own lock file, into .sandbar/tools (or the
# same folder of $SANDBAR_CACHE).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shards=24
build_seconds=${SANDBAR_MUTANTS_BUILD_SECONDS:-600}
test_seconds=${SANDBAR_MUTANTS_TEST_SECONDS:-120}
shard=${1:-$((10#$(date +%j) % shards))/$shards}
work=$(mktemp -d "${TMPDIR:-/tmp}/sandbar-mutants.XXXXXX")
trap 'git worktree remove --force "$work/tree" 2>/dev/null || true; rm -rf "$work"' EXIT

say() { echo "mutants: $*"; }

source tools/cargo_tools.sh
find_cargo_tool cargo-mutants 27.1.0 mutants
mutants=$program

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
git worktree add --quiet --detach "$work/tree" HEAD
files=()
for part in worker task state stores; do
    files+=(--file "host/src/$part.rs" --file "host/src/$part/*.rs")
done
# Also for compiling: otherwise all other tests would be linked for each mutant.
tests=(-C=--lib -C=--test=it)
# The tests of them that run the worker, its tasks and their state.
filter=(-- -- simulation stateful worker:: task:: state:: stores::)
say "part $shard (each mutant takes about a minute)"
cd "$work/tree"
found=0
# Round robin: each night looks at every file, and not at one alone.
CARGO_TARGET_DIR=$target SANDBAR_GUESTS_DIR=${SANDBAR_GUESTS_DIR:-$target/guests} \
    CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_INCREMENTAL=1 \
    "$mutants" mutants --in-place --package sandbar --test-workspace true --baseline skip \
    --timeout "$test_seconds" --build-timeout "$build_seconds" --shard "$shard" --sharding round-robin --output "$work" --colors never \
    "${files[@]}" "${tests[@]}" "${filter[@]}" || found=$?
# 2: some survived, 3: some ran out of time. Both need a look, and are listed above.
[[ $found == 0 || $found == 2 || $found == 3 ]]
