#!/usr/bin/env bash
# Checks every dependency against deny.toml: licences, bans, sources, and known vulnerabilities (advisories).
#
# cargo-deny is taken from the PATH, or compiled once from crates.io, with its own lock file, into .sandbar/tools (or the
# same folder of $SANDBAR_CACHE). It is compiled without optimisation, which saves minutes and adds a second to a run.
#
# The advisories are a git repository, RustSec's. If it cannot be fetched, an earlier copy is used. Without a copy, the
# rest is checked nevertheless, and the last line reports the missing check.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/sandbar-deny.XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { echo "deny: $*"; }

source tools/cargo_tools.sh
find_cargo_tool cargo-deny 0.20.2
deny=$program

"$deny" check -D warnings licenses bans sources

databases=${CARGO_HOME:-$HOME/.cargo}/advisory-dbs
skipped=
if ! timeout 120 "$deny" fetch db >"$work/fetch" 2>&1; then
    if compgen -G "$databases/advisory-db-*/crates" >/dev/null; then
        say "the list of advisories could not be fetched: an earlier copy of it is used"
    else
        skipped=yes
    fi
fi
if [[ -z $skipped ]]; then
    "$deny" --offline check advisories
else
    say "ADVISORIES WERE NOT CHECKED: $(grep -m1 -i 'fatal\|error' "$work/fetch" || echo 'the list of advisories could not be fetched')" >&2
fi
