#!/usr/bin/env bash
# Runs all tests. A test binary that prints nothing for SANDBAR_TEST_QUIET_SECONDS (600) hangs: its tests without a result
# and its threads are told, it is killed, and the other binaries still run. Without this a hang uses up the time of CI, and
# nobody learns which test it was.
#
# A test whose only complaint is a deadline that passed ("not within ...", tests/harness/src/wait.rs) runs again, twice and
# alone. It counts as passed if it passes both times, and is told at the end as FLAKY. A wrong value or a missing record never
# runs again, and of more than SANDBAR_TEST_AGAIN_MAX (1; 0: none) failed tests none does.
#
# The data of a run's brokers and hosts take up to SANDBAR_TEST_DISK_MIB (2048). With less, the run ends at once: a full disk
# looks like a fault of whatever writes to it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

disk_min=${SANDBAR_TEST_DISK_MIB:-2048}
disk_free() { df --output=avail --block-size=1M "$(realpath -m "${CARGO_TARGET_DIR:-target}")" | tail -1 | tr -d ' '; }
if (($(disk_free) < disk_min)); then
    echo "test.sh: the file system of ${CARGO_TARGET_DIR:-target} has $(disk_free) MiB left, and the tests take $disk_min MiB:" \
        "make room, or set CARGO_TARGET_DIR to another file system" >&2
    exit 1
fi

quiet_max=${SANDBAR_TEST_QUIET_SECONDS:-600}
again_max=${SANDBAR_TEST_AGAIN_MAX:-1}
# The tests end to end wait for brokers and hosts most of the time: with one more than processors, these idle by two thirds.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
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
echo "test.sh: the file system has $(disk_free) MiB left"
if [[ -f "$folder/hangs" ]]; then
    cat "$folder/hangs"
    exit 1
fi
((status != 0)) || exit 0

# Each failed test, as "late|wrong TARGET... NAME": the names are those of the list at the end of a binary's output, and a test
# is late if its only panic says so. Cargo tells the arguments for the binary after that. A binary without a list is "wrong".
failed() {
    awk '
        /^---- .* stdout ----$/ { name = $2; next }
        /^thread .* panicked at / { panics[name]++; begins = 1; next }
        begins { late[name] += /^[^ ].*: not within [0-9.]+m?s; the last word was: /; begins = 0 }
        /^failures:$/ { name = ""; listed = 1; count = 0; next }
        listed && /^    [^ ]+$/ { names[++count] = $1; next }
        listed && !/^$/ { listed = 0 }
        /^error: (test|doctest) failed, to rerun pass `/ {
            target = $0
            sub(/^[^`]*`(-p [^ ]+ )?/, "", target)
            sub(/`$/, "", target)
            if (count == 0) print "wrong", target
            for (i = 1; i <= count; i++) {
                name = names[i]
                print (panics[name] == 1 && late[name] == 1 ? "late" : "wrong"), target, name
            }
            count = 0
            name = ""
            split("", panics)
            split("", late)
        }
    ' "$folder/output"
}

mapfile -t failed < <(failed)
if ((${#failed[@]} == 0 || ${#failed[@]} > again_max)) || printf '%s\n' "${failed[@]}" | grep -q '^wrong'; then
    exit "$status"
fi
flaky=()
for test in "${failed[@]}"; do
    read -ra words <<<"$test"
    name=${words[-1]}
    target=("${words[@]:1:${#words[@]}-2}")
    for run in 1 2; do
        echo "test.sh: $name passed its deadline: run $run alone"
        cargo test --workspace "${target[@]}" -- --exact "$name" >"$folder/again" 2>&1 || { cat "$folder/again"; exit 1; }
        grep -q '^test result: ok. 1 passed' "$folder/again" || { cat "$folder/again"; exit 1; }
    done
    flaky+=("$name")
done
printf 'test.sh: FLAKY, passed its deadline beside others and passed twice alone: %s\n' "${flaky[@]}"
