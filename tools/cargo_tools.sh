# shellcheck shell=bash
# Tools from crates.io in pinned versions, each with its own lock file: compiled once, quickly rather than well, into
# .sandbar/tools (or the same folder of $SANDBAR_CACHE).
#
# setup.sh, deny.sh and mutants.sh source this. They have a function `say`, which shows a line, and a folder `work` for files
# that they remove.

cargo_tools=$(realpath -m "${SANDBAR_CACHE:-$(dirname "${BASH_SOURCE[0]}")/../.sandbar}/tools")

# find_cargo_tool PACKAGE VERSION [WORD]: sets `program` to the package's program, which is taken from the PATH in whichever
# version, or compiled. WORD comes before its option --version.
find_cargo_tool() {
    local package=$1 version=$2
    program=$(command -v "$package" || true)
    [[ -z $program ]] || return 0
    program=$cargo_tools/bin/$package
    [[ $("$program" "${@:3}" --version 2>/dev/null) != "$package $version" ]] || return 0
    say "compiling $package $version (about 3 minutes, once)"
    compile_cargo_tool "$package" "$version" 0
}

# compile_cargo_tool PACKAGE VERSION OPT_LEVEL [OPTION...]: the options are cargo's.
compile_cargo_tool() {
    CARGO_PROFILE_RELEASE_OPT_LEVEL=$3 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_TARGET_DIR=${work:?}/target cargo install --quiet --locked --force --root "$cargo_tools" "${@:4}" "$1@$2"
}
