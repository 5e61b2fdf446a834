#!/usr/bin/env bash
# Makes all files of a release, and tries them: `make release`. docs/releasing.md says what they are and how to verify them.
#
#   tools/release.sh
#
# The files go to target/dist (or dist of $CARGO_TARGET_DIR). The same commit on the same Debian, by the same Rust, is to give
# the same bytes: no path, time, user or order of this machine is in them. The binary is searched for paths.
#
#   MAINTAINER   of the Debian package (default: DEBFULLNAME and DEBEMAIL, or the author of the commit)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022
export LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1

root=$PWD
tools=$root/tools/release
target=$(rustc -vV | sed -n 's/^host: //p')
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
builds=$(realpath -m "${CARGO_TARGET_DIR:-target}")
dist=$builds/dist
name=sandbar-$version-$target
stage=$builds/release-stage/$name
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
revision=$(git rev-parse --short=12 HEAD)
[[ -z $(git status --porcelain) ]] || revision+=-dirty
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
MAINTAINER=${MAINTAINER:-${DEBFULLNAME:-$(git log -1 --format=%an)} <${DEBEMAIL:-$(git log -1 --format=%ae)}>}
export SOURCE_DATE_EPOCH MAINTAINER
export PYTHONPATH=${SANDBAR_CACHE:-$root/.sandbar}/release/python

say() { echo "release: $*"; }
die() {
    printf 'release: %s\n' "$@" >&2
    exit 1
}

# A folder of its own: other flags than those of `cargo build` would compile everything there anew, each time.
build() {
    local libraries flags encoded
    libraries=/usr/lib/$(gcc -print-multiarch)
    # The last that fits counts, so a folder follows the one that it is in. Standard library: rustc names its sources by their
    # true path where they are installed.
    flags=(
        "--remap-path-prefix=$cargo_home=/cargo"
        "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$(rustc -vV | sed -n 's/^commit-hash: //p')"
        "--remap-path-prefix=$root=/sandbar"
        "--remap-path-prefix=$builds/release-build=/target"
        "-Clink-arg=-Wl,--build-id=sha1"
    )
    # Cargo splits RUSTFLAGS at each space, which a path may have.
    encoded=$(IFS=$'\x1f' && echo "${flags[*]}")
    # OpenSSL is Debian's static library: its corrections come by `apt-get upgrade`, without a new version of a crate.
    env CARGO_ENCODED_RUSTFLAGS="$encoded" CARGO_TARGET_DIR="$builds/release-build" CARGO_INCREMENTAL=0 \
        CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$root=/sandbar -ffile-prefix-map=$builds/release-build=/target" \
        OPENSSL_NO_VENDOR=1 OPENSSL_STATIC=1 OPENSSL_LIB_DIR="$libraries" OPENSSL_INCLUDE_DIR=/usr/include \
        SANDBAR_REVISION="$revision" SANDBAR_RUSTC="$(rustc --version)" \
        cargo build --release --locked --package sandbar --bin sandbar
}

# Debug symbols stay findable by the build id, in a file of their own.
strip_binary() {
    local built=$builds/release-build/release/sandbar
    objcopy --only-keep-debug "$built" "$stage/sandbar.debug"
    objcopy --strip-all --add-gnu-debuglink="$stage/sandbar.debug" "$built" "$stage/sandbar"
}

check_binary() {
    local needed others leaks
    needed=$(readelf --dynamic "$stage/sandbar" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p')
    others=$(grep -vxE 'lib(c|m|gcc_s)\.so\.[0-9]+|ld-linux.*' <<<"$needed" || true)
    [[ -z $others ]] || die "the binary needs libraries beyond those of glibc and gcc:" "$others"
    for file in sandbar sandbar.debug; do
        leaks=$(strings -n 6 "$stage/$file" | grep -F -e "$root/" -e "$cargo_home/" -e "$sysroot/lib/rustlib/" -e "$builds/" | head -5 || true)
        [[ -z $leaks ]] || die "$file has paths of this machine:" "$leaks"
    done
    say "the binary needs $(paste -sd' ' <<<"$needed"), and names no path of this machine"
}

manual_and_completions() {
    mkdir "$stage/man" "$stage/completions"
    "$stage/sandbar" man "$stage/man"
    "$stage/sandbar" completion bash >"$stage/completions/sandbar.bash"
    "$stage/sandbar" completion zsh >"$stage/completions/_sandbar"
    "$stage/sandbar" completion fish >"$stage/completions/sandbar.fish"
}

documents() {
    cp LICENSE CHANGELOG.md "$stage/"
    cp -r deploy/systemd "$stage/systemd"
    python3 "$tools/sbom.py" "$target" "$stage/sandbar" "$stage/sandbar.cdx.json"
    python3 "$tools/licences.py" "$target" "$stage/third-party-licences.txt"
}

# archive OUT LEVEL FILE...: of the folder that has the stage; sorted, owned by nobody in particular, of the commit's time.
archive() {
    local out=$1 level=$2
    shift 2
    tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=gnu \
        --mode=u+w,go-w --directory "${stage%/*}" "$@" | xz "-$level" --threads=1 >"$out"
}

# All crates that a transform depends on, each compiled from its package alone.
crates() {
    CARGO_TARGET_DIR=$builds/crates cargo package --locked --quiet --package sandbar-sdk-macros --package sandbar-table \
        --package sandbar-sdk --package sandbar-debezium
    cp "$builds/crates/package/"sandbar-*-"$version.crate" "$dist/"
}

SECONDS=0
"$root/tools/setup.sh" build release
rm -rf "$dist" "${stage%/*}"
mkdir -p "$dist" "$stage"
say "building $name, $revision (the first time takes minutes: wasmtime, librdkafka)"
build
strip_binary
check_binary
manual_and_completions
documents
archive "$dist/$name-debug.tar.xz" 1 "$name/sandbar.debug"
rm "$stage/sandbar.debug"
archive "$dist/$name.tar.xz" 6 "$name"
cp "$stage/sandbar.cdx.json" "$stage/third-party-licences.txt" "$dist/"
package=$("$tools/deb.sh" "$version" "$stage" "$dist")
"$tools/base.sh" "$builds/release-base"
image=$dist/sandbar-$version-image.tar
python3 "$tools/image.py" "$version" "$revision" "$builds/release-base" "$stage" "$image"
say "packaging the crates of the SDK"
crates
"$tools/try.sh" "$version" "$package" "$image"
(cd "$dist" && sha256sum -- * >SHA256SUMS)
say "$dist, after $SECONDS s; the stripped binary has $(stat --format %s "$stage/sandbar") bytes:"
(cd "$dist" && stat --format '%12s  %n' -- *)
