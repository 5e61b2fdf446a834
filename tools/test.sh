#!/usr/bin/env bash
# Runs all tests. A test binary that prints nothing for SANDBAR_TEST_QUIET_SECONDS (600) hangs: its tests without a result
# and its threads are told, it is killed, and the other binaries still run. Without this a hang uses up the time of CI, and
# nobody learns which test it was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quiet_max=${SANDBAR_TEST_QUIET_SECONDS:-600}
# The tests end to end wait for brokers and hosts most of the time.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) + 1))}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The tests that were said to run long and have no result, then each thread with its place in the kernel. A thread of
# libtest has the name of its test, of which the kernel keeps 15 bytes.
describe() {
    echo "test.sh: process $1 ($(tr '\0' ' ' <"/proc/$1/cmdline")) has printed nothing for $quiet_max s"
    sed -n 's/^test \(.*\) has been running for over .*/\1/p' "$folder/output" | while read -r name; do
        grep -q "^test $name \.\.\. ." "$folder/output" || echo "test.sh: no result: $name"
    done
    for thread in /proc/"$1"/task/*; do
        echo "test.sh: thread $(cat "$thread/comm"): $(cat "$thread/wchan")"
    done
    if command -v gdb >/dev/null; then
        timeout 60 gdb -p "$1" -batch -ex 'thread apply all backtrace 25' 2>/dev/null | grep '^#\|^Thread' || true
    fi
}

mkfifo "$folder/pipe"
tee "$folder/output" <"$folder/pipe" &
shown=$!
cargo test --workspace --no-fail-fast >"$folder/pipe" 2>&1 &
tests=$!
trap 'kill "$tests" 2>/dev/null || true; rm -rf "$folder"' EXIT
while kill -0 "$tests" 2>/dev/null; do
    sleep 2
    [[ -f "$folder/output" ]] || continue
    (($(date +%s) - $(stat -c %Y "$folder/output") > quiet_max)) || continue
    mapfile -t binaries < <(cat /proc/"$tests"/task/*/children | tr -s ' ' '\n')
    for binary in "${binaries[@]}"; do
        describe "$binary" >>"$folder/hangs" 2>&1
        kill -9 "$binary" || true
    done
    touch "$folder/output"
done
status=0
wait "$tests" || status=$?
wait "$shown"
if [[ -f "$folder/hangs" ]]; then
    cat "$folder/hangs"
    exit 1
fi
exit "$status"
