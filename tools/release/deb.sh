#!/usr/bin/env bash
# Makes the Debian package of the files that a release has already, and prints its path.
#
#   deb.sh VERSION STAGE OUT    STAGE: sandbar, man/, completions/, the licences and the bill of materials
#
# SOURCE_DATE_EPOCH is the time of all files, MAINTAINER a name with an address.
set -euo pipefail
umask 022

version=$1 stage=$2 out=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
debian=$root/tools/release/debian
architecture=$(dpkg --print-architecture)
package=$out/sandbar_$version-1_$architecture.deb
work=$(mktemp -d "${TMPDIR:-/tmp}/sandbar-deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree
doc=$tree/usr/share/doc/sandbar

# The newest version of glibc that the binary asks for.
glibc=$(readelf --version-info "$stage/sandbar" | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -1)

compressed() { gzip -9n >"$1"; }

install -D -m 0755 "$stage/sandbar" "$tree/usr/bin/sandbar"
install -D -m 0644 "$root/deploy/systemd/sandbar.service" "$tree/lib/systemd/system/sandbar.service"
install -D -m 0640 "$root/deploy/systemd/sandbar.env" "$tree/etc/sandbar/sandbar.env"
install -D -m 0644 "$stage/completions/sandbar.bash" "$tree/usr/share/bash-completion/completions/sandbar"
install -D -m 0644 "$stage/completions/_sandbar" "$tree/usr/share/zsh/vendor-completions/_sandbar"
install -D -m 0644 "$stage/completions/sandbar.fish" "$tree/usr/share/fish/vendor_completions.d/sandbar.fish"
install -D -m 0644 "$debian/lintian-overrides" "$tree/usr/share/lintian/overrides/sandbar"
install -D -m 0644 "$debian/copyright" "$doc/copyright"
install -D -m 0644 "$stage/sandbar.cdx.json" "$doc/sandbar.cdx.json"
mkdir -p "$tree/usr/share/man/man1"
for page in "$stage"/man/*.1; do
    compressed "$tree/usr/share/man/man1/${page##*/}.gz" <"$page"
done
compressed "$doc/third-party-licences.txt.gz" <"$stage/third-party-licences.txt"
compressed "$doc/changelog.gz" <"$root/CHANGELOG.md"
compressed "$doc/changelog.Debian.gz" <<END
sandbar ($version-1) stable; urgency=medium

  * Release $version; see changelog.gz.

 -- $MAINTAINER  $(LC_ALL=C date --utc --date "@$SOURCE_DATE_EPOCH" -R)
END

mkdir "$tree/DEBIAN"
install -m 0755 "$debian/postinst" "$debian/prerm" "$debian/postrm" "$tree/DEBIAN/"
echo /etc/sandbar/sandbar.env >"$tree/DEBIAN/conffiles"
(cd "$tree" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' md5sum) >"$tree/DEBIAN/md5sums"
cat >"$tree/DEBIAN/control" <<END
Package: sandbar
Version: $version-1
Architecture: $architecture
Maintainer: $MAINTAINER
Installed-Size: $(du -ks --apparent-size --exclude DEBIAN "$tree" | cut -f1)
Depends: adduser, ca-certificates, libc6 (>= ${glibc#GLIBC_}), libgcc-s1
Section: net
Priority: optional
Homepage: https://github.com/sandbar-rs/sandbar
Description: host of WebAssembly transforms over Kafka topics
 Sandbar runs the transforms of many teams next to Kafka, each in a sandbox
 of its own and exactly once. They are deployed over an HTTP API while the
 host runs.
 .
 The package has the host, which is also the command line, and a systemd
 unit. The unit is not enabled: name the brokers in /etc/sandbar/sandbar.env
 first.
END
find "$tree" -type d -exec chmod 0755 {} +
find "$tree" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
# One thread: the bytes of xz depend on the number of its blocks.
dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$tree" "$package" >/dev/null
echo "$package"
