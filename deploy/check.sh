#!/usr/bin/env bash
# Checks everything in deploy/ with the installed ones of these tools: python3 with PyYAML, promtool,
# systemd-analyze, docker compose, hadolint, shellcheck, those of `tools/setup.sh helm`. It installs nothing and changes nothing.
# Prints one line per check; exits with 1 if one failed. A missing tool is reported, and does not fail the run.
# shellcheck disable=SC2317  # the functions are called, by name, through `check`
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# promtool of `tools/setup.sh prometheus`, where the system has none.
PATH=$PATH:${SANDBAR_CACHE:-.sandbar}/prometheus/usr/bin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# check NAME COMMAND...: runs the command, and shows its output only if it fails.
check() {
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        echo "ok:      $name"
    else
        echo "FAILED:  $name"
        sed 's/^/         /' "$work/out"
        failed=1
    fi
}

skipped() { echo "skipped: $1"; }

# need TOOL: succeeds if the tool is installed; otherwise reports it as missing.
need() {
    command -v "$1" >/dev/null 2>&1 && return
    skipped "$1 not found"
    return 1
}

python_yaml() {
    need python3 || return 1
    python3 -c 'import yaml' 2>/dev/null && return
    skipped "PyYAML not found (Debian: python3-yaml)"
    return 1
}

# === Checks that need only grep ===

image_rust_is_workspace_rust() {
    local image workspace
    image=$(sed -n 's/^ARG RUST_VERSION=//p' deploy/Dockerfile)
    workspace=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    echo "deploy/Dockerfile builds with Rust $image, Cargo.toml asks for $workspace"
    [[ -n $image && $image == "$workspace" ]]
}

# Every SANDBAR_* variable that deploy/ sets is one that the host reads.
variables_are_known() {
    local name unknown=0
    while read -r name; do
        grep -rqw --include='*.rs' "$name" host && continue
        echo "$name is set in deploy/, but nothing in host/ reads it"
        unknown=1
    done < <(grep -rhoE '\bSANDBAR_[A-Z_]+' deploy --include=Dockerfile --include='*.yaml' \
        --include='*.service' --include='*.env' | sort -u)
    return "$unknown"
}

chart_has_this_version() {
    local chart workspace
    chart=$(sed -n 's/^appVersion: "\(.*\)"/\1/p' deploy/helm/sandbar/Chart.yaml)
    workspace=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
    echo "Cargo.toml has version $workspace, the chart's appVersion is $chart"
    [[ -n $workspace && $chart == "$workspace" ]]
}

check "the image's Rust version" image_rust_is_workspace_rust
check "the chart's version" chart_has_this_version
# A chart cannot read files outside of its own folder.
check "the chart's copy of prometheus/rules.yml" cmp deploy/prometheus/rules.yml deploy/helm/sandbar/files/rules.yml
if grep -rqw --include='*.rs' SANDBAR_BROKERS host 2>/dev/null; then
    check "environment variables" variables_are_known
else
    skipped "environment variables: host/ has no flags of 'serve' yet"
fi

# === YAML and JSON ===

if python_yaml; then
    # Also writes dashboard_rules.yml, each query of the dashboard as a recording rule, for promtool below.
    check "YAML, JSON, metric names, alert texts, runbooks" python3 deploy/check.py "$work/dashboard_rules.yml"
    [[ -d host/src/telemetry/metrics ]] || skipped "metric names: no host/src/telemetry/metrics yet"
fi

# === Prometheus ===

if need promtool; then
    check "promtool check config" promtool check config deploy/prometheus/prometheus.yml
    check "promtool check rules" promtool check rules deploy/prometheus/rules.yml
    check "promtool test rules" promtool test rules deploy/prometheus/rules_test.yml
    [[ -f $work/dashboard_rules.yml ]] &&
        check "the dashboard's queries" promtool check rules "$work/dashboard_rules.yml"
fi

# === systemd ===

# The unit with a program that exists here, so that the rest can be verified before Sandbar is installed.
unit=$work/sandbar.service
sed 's#^ExecStart=/usr/bin/sandbar .*#ExecStart=/bin/true#' deploy/systemd/sandbar.service >"$unit"

# `verify` exits with 0 for a setting that it does not know, and warns: a warning about our unit is a failure.
unit_is_valid() {
    systemd-analyze verify --man=no "$unit" >"$work/verify" 2>&1 && ! grep -q "sandbar.service" "$work/verify" &&
        return
    cat "$work/verify"
    return 1
}

if need systemd-analyze; then
    check "systemd-analyze verify" unit_is_valid
    if systemd-analyze --help | grep -q -- --offline; then
        # 2.0 of 10; an ordinary service has 9.
        check "systemd-analyze security" systemd-analyze security --no-pager --offline=yes --threshold=20 "$unit"
    else
        skipped "systemd-analyze security: this systemd is older than 250"
    fi
fi

# === Images ===

compose_file=deploy/compose/compose.yaml
# The old docker-compose does not know the key `name`.
compose_v1() {
    sed '/^name:/d' "$compose_file" | docker-compose --project-directory deploy/compose -f - config -q
}

if docker compose version >/dev/null 2>&1; then
    check "docker compose config" docker compose -f "$compose_file" config -q
elif need docker-compose; then
    if docker-compose version --short | grep -q '^1\.'; then
        check "docker-compose config" compose_v1
    else
        check "docker-compose config" docker-compose -f "$compose_file" config -q
    fi
fi

# === Kubernetes and CI ===

helm_tools=${SANDBAR_CACHE:-.sandbar}/helm
if cmp -s tools/helm/pins "$helm_tools/stamp"; then
    check "the Helm chart" deploy/helm/check.sh
    check "actionlint" "$helm_tools/bin/actionlint" docs/examples/sandbar-apply.yml
else
    skipped "the Helm chart and the example for GitHub Actions: tools/setup.sh helm installs their tools"
fi

need hadolint && check "hadolint" hadolint --ignore DL3008 deploy/Dockerfile
need shellcheck && check "shellcheck" shellcheck deploy/check.sh deploy/helm/check.sh

exit "$failed"
