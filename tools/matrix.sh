#!/usr/bin/env bash
# Runs the core of the end-to-end tests on other versions of Apache Kafka than the one that all tests use, and prints a table.
#
#   tools/matrix.sh [VERSION...]    default: the versions below
#
#   MATRIX_TESTS   the filters of the tests (default: those below)
#
# The core: every promise of the log (conformance), records exactly once through kills (exactly_once, state), hosts that die
# (failover), the begin of partitions (positions), and lost answers (questions). The jars of each version come from Maven
# (tools/setup.sh kafka), into a folder of their own. `make nightly` runs it; docs/kafka-versions.md has its last table.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The newest of the oldest line that is tested, of the last one that knew ZooKeeper, and of all.
versions=("$@")
((${#versions[@]} > 0)) || versions=(3.7.2 3.9.2 4.4.0)
read -ra tests <<<"${MATRIX_TESTS:-conformance:: exactly_once:: failover:: positions:: questions:: state::}"
work=$(mktemp -d "${TMPDIR:-/tmp}/sandbar-matrix.XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { echo "matrix: $*"; }

# run_on VERSION: adds a row to the table, and the names of the tests that failed below it. Fails if one did.
run_on() {
    local output=$work/$1 result passed failed seconds filter
    export SANDBAR_KAFKA_VERSION=$1
    tools/setup.sh kafka || return 1
    say "Kafka $1: ${tests[*]}"
    cargo test --workspace --test e2e -- "${tests[@]}" 2>&1 | tee "$output" | grep '^test ' || true
    result=$(grep '^test result: ' "$output") || {
        tail -20 "$output"
        result='no result'
    }
    passed=$(sed -n 's/.* \([0-9]*\) passed.*/\1/p' <<<"$result")
    failed=$(sed -n 's/.* \([0-9]*\) failed.*/\1/p' <<<"$result")
    seconds=$(sed -n 's/.*finished in \([0-9]*\).*/\1/p' <<<"$result")
    echo "| $1 | ${passed:-0} | ${failed:-all} | ${seconds:--} s |" >>"$work/table"
    sed -n 's/^test \(.*\) \.\.\. FAILED$/failed on Kafka '"$1"': \1/p' "$output" >>"$work/failed"
    [[ $failed == 0 ]] || {
        sed -n '/^failures:$/,$p' "$output"
        return 1
    }
    for filter in "${tests[@]}"; do
        grep -q "^test .*$filter.* ok$" "$output" || {
            say "no test ran for $filter: was it renamed?"
            return 1
        }
    done
}

status=0
printf '| Kafka | passed | failed | time |\n|---|---|---|---|\n' >"$work/table"
touch "$work/failed"
for version in "${versions[@]}"; do
    run_on "$version" || status=1
done
cat "$work/table" "$work/failed"
exit "$status"
