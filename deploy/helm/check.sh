#!/usr/bin/env bash
# Checks the Helm chart: it is rendered over the values in tests/, validated with the schemas of two versions of Kubernetes,
# and checked for the chart's promises; wrong values are refused. It needs the tools of `tools/setup.sh helm`, no cluster and
# no network.
# Prints one line per check; exits with 1 if one failed, and with 2 without the tools.
# shellcheck disable=SC2317  # the functions are called, by name, through `check`
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

cache=${SANDBAR_CACHE:-.sandbar}/helm
chart=deploy/helm/sandbar
tests=deploy/helm/tests
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

if ! cmp -s tools/helm/pins "$cache/stamp"; then
    echo "deploy/helm/check.sh: its tools are missing, or not those of tools/helm/pins: tools/setup.sh helm" >&2
    exit 2
fi

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

versions=()
while read -r version; do versions+=("${version#v}"); done < <(sed -n 's/^kubernetes //p' tools/helm/pins)
newest=${versions[-1]}

# Nothing of this user's own Helm set-up counts.
export HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm

# render VERSION VALUES...: the manifests, on stdout.
render() {
    local version=$1
    shift
    "$cache/bin/helm" template shop "$chart" --namespace stage --kube-version "$version" "$@"
}

# render_to FILE VERSION VALUES...
render_to() {
    local file=$1
    shift
    render "$@" >"$file"
}

# conforms VERSION FILE: each manifest has the form of its kind, and no field that the kind does not have.
conforms() {
    "$cache/bin/kubeconform" -strict -summary -schema-location \
        "$cache/schemas/v$1/{{.ResourceKind}}{{.KindSuffix}}.json" -schema-location \
        "$cache/schemas/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json" "$2"
}

# === Values that are accepted ===

for values in "$tests"/*.yaml; do
    name=$(basename "$values" .yaml)
    check "$name: helm lint" "$cache/bin/helm" lint --strict --quiet --kube-version "$newest" --namespace stage --values "$values" "$chart"
    for version in "${versions[@]}"; do
        rendered=$work/$name-$version.yaml
        check "$name: helm template for Kubernetes $version" render_to "$rendered" "$version" --values "$values"
        check "$name: the schemas of Kubernetes $version" conforms "$version" "$rendered"
    done
    check "$name: the promises of the chart" python3 deploy/helm/check.py promises "$name" "$work/$name-$newest.yaml"
done
check "each flag of a host is a value or an option" python3 deploy/helm/check.py options "$work/all-$newest.yaml"

check "the Job of docs/examples" conforms "$newest" docs/examples/sandbar-apply-job.yaml

if command -v promtool >/dev/null; then
    python3 deploy/helm/check.py query "$work/all-$newest.yaml" >"$work/query.yml"
    cp "$tests/keda_test.yml" "$work/"
    check "KEDA's query" promtool test rules "$work/keda_test.yml"
else
    echo "skipped: KEDA's query: promtool not found"
fi

# === The checks themselves ===

# notices KIND FROM TO: manifests in which FROM became TO do not conform, because of an object of this kind and of it alone.
notices() {
    sed "s/$2/$3/" "$work/all-$newest.yaml" >"$work/broken.yaml"
    cmp -s "$work/all-$newest.yaml" "$work/broken.yaml" && echo "there is no $2" && return 1
    conforms "$newest" "$work/broken.yaml" >"$work/verdict" && echo "it is accepted" && return 1
    grep -q " - $1 .* is invalid: .*${3%%:*}" "$work/verdict" && grep -q "Invalid: 1, Errors: 0" "$work/verdict" && return
    cat "$work/verdict"
    return 1
}
check "a misspelt field of a pod is noticed" notices StatefulSet readOnlyRootFilesystem readOnlyRootFileSystem
check "a wrong type is noticed" notices StatefulSet "minReadySeconds: 10" "minReadySeconds: ten"
check "a misspelt field of a PodMonitor is noticed" notices PodMonitor serverName serversName
check "a misspelt field of a PrometheusRule is noticed" notices PrometheusRule "expr:" "exprs:"
check "a misspelt field of a ScaledObject is noticed" notices ScaledObject maxReplicaCount maxReplicas

# breaks MESSAGE FROM TO: manifests in which FROM became TO do not keep a promise, and the message says which.
breaks() {
    sed "s/$2/$3/" "$work/all-$newest.yaml" >"$work/broken.yaml"
    python3 deploy/helm/check.py promises all "$work/broken.yaml" >"$work/verdict" 2>&1 && echo "it is accepted" && return 1
    grep -qF "$1" "$work/verdict" && return
    cat "$work/verdict"
    return 1
}
while IFS='|' read -r from to message; do
    check "a broken promise is noticed: $to" breaks "$message" "$from" "$to"
done <<'ROWS'
runAsNonRoot: true|runAsNonRoot: false|runAsNonRoot is not true
readOnlyRootFilesystem: true|readOnlyRootFilesystem: false|security context
allowPrivilegeEscalation: false|allowPrivilegeEscalation: true|security context
drop: \[ALL\]|drop: []|security context
type: RuntimeDefault|type: Unconfined|seccomp is not RuntimeDefault
automountServiceAccountToken: false|automountServiceAccountToken: true|pods get a token
terminationGracePeriodSeconds: 90|terminationGracePeriodSeconds: 44|less than 40 s
readOnly: true|readOnly: false|can be written
value: required|value: "off"|sign-in and insecure.noAuth
SANDBAR_TLS_KEY|SANDBAR_TLS_KEYS|TLS and insecure.noTls
- port: api|- port: 8081|ingress
ROWS

# === Values that are refused ===

# refused MESSAGE ARGUMENT...: with these arguments after those of tests/minimal.yaml helm ends with the message.
refused() {
    local message=$1
    shift
    render "$newest" --values "$tests/minimal.yaml" "$@" >/dev/null 2>"$work/refusal" && echo "it was accepted" && return 1
    grep -qF -- "$message" "$work/refusal" && return
    echo "expected: $message"
    cat "$work/refusal"
    return 1
}

while IFS='|' read -r arguments message; do
    [[ -n $arguments && $arguments != '#'* ]] || continue
    # shellcheck disable=SC2086  # the words of a row are arguments
    check "refused: ${arguments% }" refused "${message# }" ${arguments}
done <"$tests/refused.txt"

# The defaults alone: all that is required is told at once.
nothing_given() {
    render "$newest" >/dev/null 2>"$work/refusal" && echo "it was accepted" && return 1
    local part
    for part in image.repository cluster kafka.brokers "(E070)" "nobody could sign in"; do
        grep -qF "$part" "$work/refusal" || { echo "$part is not told:" && cat "$work/refusal" && return 1; }
    done
}
check "refused: no values at all" nothing_given

exit "$failed"
