#!/usr/bin/env bash
# Lays out the part of Debian that the binary needs: no shell, no package manager, no setuid program.
#
#   base.sh FOLDER
#
# The packages are those of this machine's release of Debian, in the newest versions that apt knows. Their control files go to
# /var/lib/dpkg/status.d, where scanners of images look for them.
set -euo pipefail
umask 022

base=$1
packages=(base-files ca-certificates libc6 libgcc-s1)
work=$(mktemp -d "${TMPDIR:-/tmp}/sandbar-base.XXXXXX")
trap 'rm -rf "$work"' EXIT

rm -rf "$base"
mkdir -p "$base/var/lib/dpkg/status.d" "$work/debs"
(cd "$work/debs" && apt-get -qq -o APT::Sandbox::User= download "${packages[@]}") >"$work/apt" 2>&1 </dev/null || {
    echo "release: apt-get could not download ${packages[*]}: $(tail -3 "$work/apt")" >&2
    exit 1
}
for deb in "$work"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner --preserve-permissions -C "$base"
    name=$(dpkg-deb --field "$deb" Package)
    dpkg-deb --info "$deb" control >"$base/var/lib/dpkg/status.d/$name"
    echo "release: image: $name $(dpkg-deb --field "$deb" Version)"
done
# Nobody reads them here, and locales and character sets are not used. Licences stay.
rm -rf "$base"/usr/share/{man,info,lintian,locale} "$base"/usr/lib/*/gconv "$base"/usr/sbin "$base"/sbin
find "$base/usr/share/doc" ! -name copyright -type f -delete
# The work of the package's script, which has no shell to run in.
mkdir -p "$base/etc/ssl/certs"
find "$base/usr/share/ca-certificates" -name '*.crt' | LC_ALL=C sort | xargs cat >"$base/etc/ssl/certs/ca-certificates.crt"
find "$base" -perm /6000 -exec chmod ug-s {} +
