#!/usr/bin/env bash
# Installs and purges the Debian package in a fresh Debian, and runs a transform on a host inside the image: read-only, as the
# image's user, without a right of any kind.
#
#   try.sh VERSION PACKAGE IMAGE
set -euo pipefail

version=$1 package=$2 image=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/sandbar-try.XXXXXX")
host=
trap '[[ -z $host ]] || kill "$host" 2>/dev/null || true; rm -rf "$work"' EXIT

say() { echo "release: $*"; }
die() {
    printf 'release: %s\n' "$@" >&2
    exit 1
}

# === the Debian package ===

lint() {
    local found
    found=$(lintian --fail-on error --tag-display-limit 0 --allow-root "$package" 2>&1) || die "lintian:" "$found"
    [[ -z $found ]] || say "lintian: $(wc -l <<<"$found") hints"$'\n'"$found"
}

# Inside, by `sh -e`. No systemd runs there, so nothing can be started.
inside() {
    cat <<'END'
dpkg --install /tmp/sandbar.deb
sandbar --version
id sandbar >/dev/null
test -s /usr/share/man/man1/sandbar-deploy.1.gz
test "$(stat -c %a /etc/sandbar/sandbar.env)" = 640
if [ -e /etc/systemd/system/multi-user.target.wants/sandbar.service ]; then echo "the service was enabled" >&2; exit 1; fi
# A changed settings file outlives a new version and a removal.
echo '#changed' >>/etc/sandbar/sandbar.env
dpkg --force-confold --install /tmp/sandbar.deb
dpkg --remove sandbar
grep -q '#changed' /etc/sandbar/sandbar.env
mkdir -p /var/lib/sandbar
dpkg --purge sandbar
left=$(find / -xdev -name '*sandbar*' ! -path '/tmp/*' ! -path '/proc/*' ! -path '/var/log/*')
if [ -n "$left" ]; then echo "left after the purge: $left" >&2; exit 1; fi
END
}

# The fresh Debian has its essential packages, from this machine's archives, and those that the package depends on.
install_and_purge() {
    local suite shown depends sources=() file
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    depends=$(dpkg-deb --field "$package" Depends | sed 's/ *([^)]*)//g; s/ //g')
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
        [[ ! -s $file ]] || sources+=("$file")
    done
    inside >"$work/inside.sh"
    chmod 0755 "$work"
    # shellcheck disable=SC2016  # mmdebstrap's own $1: the root of the fresh Debian.
    mmdebstrap --quiet --variant=essential --include="$depends" \
        --customize-hook="cp '$package' \"\$1/tmp/sandbar.deb\"; cp '$work/inside.sh' \"\$1/tmp/\"" \
        --customize-hook='chroot "$1" sh -e /tmp/inside.sh' "$suite" /dev/null "${sources[@]}" >"$work/debian" 2>&1 ||
        die "the package in a fresh Debian ($suite):" "$(tail -20 "$work/debian")"
    shown=$(grep -x "sandbar $version" "$work/debian") || die "sandbar --version:" "$(cat "$work/debian")"
    say "installed in a fresh Debian ($suite): $shown; removed and purged: nothing is left"
}

# === the image ===

unpack_image() {
    local layer
    mkdir "$work/oci" "$work/root"
    tar -x -C "$work/oci" -f "$image"
    for layer in $(python3 -c 'import json, sys; print(*json.load(open(sys.argv[1]))[0]["Layers"])' "$work/oci/manifest.json"); do
        tar -x --no-same-owner -z -C "$work/root" -f "$work/oci/$layer"
    done
}

# As an engine does it: a read-only root, two file systems in memory, a number as its user, no capability.
in_image() {
    exec bwrap --ro-bind "$work/root" / --tmpfs /var/lib/sandbar --tmpfs /tmp --proc /proc --dev /dev \
        --unshare-user --unshare-pid --unshare-ipc --unshare-uts --uid 10001 --gid 10001 --cap-drop ALL --new-session \
        --die-with-parent --clearenv --setenv PATH /usr/bin --setenv SANDBAR_DATA_DIR /var/lib/sandbar "$@"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

wait_for_ready() { # wait_for_ready URL
    local deadline=$((SECONDS + 60))
    until python3 -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=2)' "$1/readyz" 2>/dev/null; do
        kill -0 "$host" 2>/dev/null || die "the host in the image ended:" "$(tail -20 "$work/host")"
        ((SECONDS < deadline)) || die "the host in the image was not ready after 60 s:" "$(tail -20 "$work/host")"
        sleep 0.2
    done
}

# The client is the image's own program, outside of it.
run_a_transform() {
    local sandbar=$work/root/usr/bin/sandbar port url result
    port=$(free_port)
    url=http://127.0.0.1:$port
    (in_image /usr/bin/sandbar dev --listen "127.0.0.1:$port") >"$work/host" 2>&1 </dev/null &
    host=$!
    wait_for_ready "$url"
    (
        cd "$work"
        export SANDBAR_URL=$url XDG_CONFIG_HOME=$work
        CARGO_TARGET_DIR=$work/guest "$sandbar" build --manifest-path "$root/transforms/field-strip/Cargo.toml" --out "$work"
        sed "s|^module: .*|module: $work/field_strip.wasm|" "$root/transforms/field-strip/transform.yaml" >transform.yaml
        "$sandbar" topics create shop.public.new_orders --partitions 1
        "$sandbar" topics create orders.orders --partitions 1
        "$sandbar" deploy
        echo '{"key":{"order_id":7},"value":{"op":"c","before":null,"after":{"order_id":7,"status":"new","total":"27.80","note":"x","items":null}}}' |
            "$sandbar" produce shop.public.new_orders
    ) >"$work/client" 2>&1 || die "a transform on the host in the image:" "$(tail -20 "$work/client")" "$(tail -20 "$work/host")"
    result=$(timeout 30 "$sandbar" consume orders.orders --url "$url" -f -n 1) || die "no output of the transform:" "$(cat "$work/host")"
    [[ $result == *'"order_id":7'* && $result != *note* ]] || die "the output of the transform: $result"
    say "the image is ready and runs a transform (read-only, uid 10001): $result"
}

lint
install_and_purge
unpack_image
(in_image /usr/bin/sandbar --version) >/dev/null || die "the binary does not run in the image"
run_a_transform
