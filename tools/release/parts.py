"""Finds everything that is inside the binary: crates, the C libraries of some of them, and the console's packages.

Nothing is a part because it stands in Cargo.lock: the tree of `cargo tree` has the crates of this build alone, without macros
and build scripts. A C library is found in the sources that its crate compiles, so its version is read where it is true.
"""

import json
import re
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LICENCE_FILE = re.compile(r"(licen[sc]e|copying|notice|copyright|unlicense)", re.IGNORECASE)
# Licences that ask for no text beside the binary.
WITHOUT_CONDITIONS = {"0BSD", "Unlicense", "CC0-1.0", "MIT-0"}


@dataclass
class Part:
    name: str
    version: str
    # An SPDX expression.
    licence: str
    purl: str
    texts: list[str] = field(default_factory=list)
    sha256: str | None = None
    repository: str | None = None
    cpe: str | None = None
    # The purls of the parts that it uses.
    uses: set[str] = field(default_factory=set)
    is_own: bool = False


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def find(target: str) -> tuple[Part, list[Part]]:
    """The binary itself, and its parts."""
    crates, edges = tree(target)
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", target))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    parts = {key: crate(packages[key], checksums[key]) for key in crates}
    fill_in_texts(list(parts.values()))
    for user, used in edges:
        parts[user].uses.add(parts[used].purl)
    binary = parts.pop(next(key for key in parts if key[0] == "sandbar"))
    folders = {key[0]: Path(packages[key]["manifest_path"]).parent for key in crates}
    users = {part.name: part for part in parts.values()}
    c = c_libraries(folders)
    for user, library in c:
        users[user].uses.add(library.purl)
    bundled = [standard_library()] + console()
    binary.uses.update(part.purl for part in bundled)
    found = list(parts.values()) + [library for _, library in c] + bundled
    return binary, sorted(found, key=lambda part: (part.name.lower(), part.version, part.purl))


# === crates ===


def tree(target: str) -> tuple[list[tuple[str, str]], set[tuple]]:
    """Names and versions of the crates, and who depends on whom."""
    lines = run(
        "cargo", "tree", "--locked", "--package=sandbar", "--edges=normal,no-proc-macro", f"--target={target}",
        "--prefix=depth", "--format= {p}", "--charset=ascii",
    ).splitlines()
    path: list[tuple[str, str]] = []
    crates: dict[tuple[str, str], None] = {}
    edges = set()
    for line in lines:
        depth, name, version, *_ = line.split()
        key = (name, version.removeprefix("v"))
        del path[int(depth):]
        if path:
            edges.add((path[-1], key))
        path.append(key)
        crates[key] = None
    return list(crates), edges


def crate(package: dict, checksum: str | None) -> Part:
    folder = Path(package["manifest_path"]).parent
    # An old form: MIT/Apache-2.0.
    licence = (package["license"] or "").replace("/", " OR ")
    if not licence:
        raise SystemExit(f"release: {package['name']} names no licence")
    return Part(
        name=package["name"],
        version=package["version"],
        licence=licence,
        purl=f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}",
        # Our own crates have the licence at the root.
        texts=texts_of(folder if package["source"] else ROOT),
        sha256=checksum,
        repository=package["repository"],
        is_own=package["source"] is None,
    )


def texts_of(folder: Path) -> list[str]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and LICENCE_FILE.match(path.name))
    return [path.read_text(errors="replace").strip() for path in files]


def fill_in_texts(crates: list[Part]) -> None:
    """Gives a crate without a file the text of its sibling: of its repository and licence, or of an Apache licence, which
    names no holder."""
    with_text = [crate for crate in crates if crate.texts]
    for crate in crates:
        if crate.texts or crate.licence in WITHOUT_CONDITIONS:
            continue
        same = [other for other in with_text if other.licence == crate.licence]
        siblings = [other for other in same if other.repository == crate.repository]
        if not siblings and crate.licence.startswith("Apache-2.0"):
            siblings = same
        if not siblings:
            raise SystemExit(f"release: {crate.name} {crate.version} has no file with its licence ({crate.licence})")
        crate.texts = siblings[0].texts


# === C libraries ===


def defined(header: Path, *names: str) -> str:
    """The numbers of a header's defines, joined by dots."""
    text = header.read_text(errors="replace")
    numbers = []
    for name in names:
        found = re.search(rf"^#\s*define\s+{name}\s+\"?([0-9.]+)", text, re.MULTILINE)
        if not found:
            raise SystemExit(f"release: {header} does not define {name}")
        numbers.append(found[1])
    return ".".join(numbers)


def c_libraries(folders: dict[str, Path]) -> list[tuple[str, Part]]:
    """Each library with the crate that brings it."""
    rdkafka = folders["rdkafka-sys"] / "librdkafka"
    lz4 = defined(rdkafka / "src/lz4.h", "LZ4_VERSION_MAJOR", "LZ4_VERSION_MINOR", "LZ4_VERSION_RELEASE")
    zlib_folder = folders["libz-sys"] / "src/zlib"
    zlib = defined(zlib_folder / "zlib.h", "ZLIB_VERSION")
    zstd_folder = folders["zstd-sys"] / "zstd"
    zstd = defined(zstd_folder / "lib/zstd.h", "ZSTD_VERSION_MAJOR", "ZSTD_VERSION_MINOR", "ZSTD_VERSION_RELEASE")
    mimalloc_folder = folders["libmimalloc-sys"] / "c_src/mimalloc/v3"
    # 30302: 3.3.2
    packed = int(defined(mimalloc_folder / "include/mimalloc.h", "MI_MALLOC_VERSION"))
    mimalloc = f"{packed // 10000}.{packed // 100 % 100}.{packed % 100}"
    librdkafka = str(folders["rdkafka-sys"].name).partition("+")[2]
    # `LICENSES.txt` has all that librdkafka includes: lz4, snappy, cJSON, tinycthread and others.
    kafka_texts = [(rdkafka / "LICENSES.txt").read_text(errors="replace").strip()]
    cpe = "cpe:2.3:a:{}:{}:*:*:*:*:*:*:*"
    return [
        ("rdkafka-sys", Part(
            "librdkafka", librdkafka, "BSD-2-Clause", f"pkg:github/confluentinc/librdkafka@v{librdkafka}", kafka_texts,
            repository="https://github.com/confluentinc/librdkafka",
        )),
        ("rdkafka-sys", Part(
            "lz4", lz4, "BSD-2-Clause", f"pkg:github/lz4/lz4@v{lz4}", [(rdkafka / "LICENSE.lz4").read_text().strip()],
            repository="https://github.com/lz4/lz4", cpe=cpe.format("lz4_project:lz4", lz4),
        )),
        ("libz-sys", Part(
            "zlib", zlib, "Zlib", f"pkg:github/madler/zlib@v{zlib}", texts_of(zlib_folder),
            repository="https://github.com/madler/zlib", cpe=cpe.format("zlib:zlib", zlib),
        )),
        ("zstd-sys", Part(
            "zstd", zstd, "BSD-3-Clause OR GPL-2.0-only", f"pkg:github/facebook/zstd@v{zstd}",
            [(zstd_folder / "LICENSE").read_text().strip()],
            repository="https://github.com/facebook/zstd", cpe=cpe.format("facebook:zstandard", zstd),
        )),
        ("libmimalloc-sys", Part(
            "mimalloc (C)", mimalloc, "MIT", f"pkg:github/microsoft/mimalloc@v{mimalloc}", texts_of(mimalloc_folder),
            repository="https://github.com/microsoft/mimalloc",
        )),
        ("openssl-sys", openssl()),
    ]


def openssl() -> Part:
    """Debian's static library: its version says which of Debian's corrections it has."""
    version, architecture = run("dpkg-query", "--show", "--showformat=${Version} ${Architecture}", "libssl-dev").split()
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    distribution, number = (release[key].strip('"') for key in ("ID", "VERSION_ID"))
    return Part(
        "openssl", version, "Apache-2.0",
        f"pkg:deb/{distribution}/openssl@{version}?arch={architecture}&distro={distribution}-{number}",
        [Path("/usr/share/doc/libssl-dev/copyright").read_text().strip()],
        repository="https://github.com/openssl/openssl",
    )


# === the rest ===


def standard_library() -> Part:
    version = run("rustc", "--version").split()[1]
    folder = Path(run("rustc", "--print", "sysroot").strip()) / "share/doc/rust/licenses"
    texts = [path.read_text().strip() for name in ("Apache-2.0", "MIT") if (path := folder / f"{name}.txt").is_file()]
    return Part(
        "rust standard library", version, "MIT OR Apache-2.0", f"pkg:github/rust-lang/rust@{version}",
        # A distribution's Rust may lack them; Apache-2.0, which one may choose, is our own as well.
        texts or [(ROOT / "LICENSE").read_text().strip()], repository="https://github.com/rust-lang/rust",
    )


def console() -> list[Part]:
    """The packages in the console's built files, which list themselves."""
    parts = []
    for entry in (ROOT / "host/console/dist/licences.txt").read_text().split("=" * 80):
        head, _, text = entry.strip().partition("\n")
        name, version, licence = re.fullmatch(r"(\S+) (\S+) \((.+)\)", head).groups()
        parts.append(Part(name, version, licence, f"pkg:npm/{name.replace('@', '%40')}@{version}", [text.strip()]))
    return parts
