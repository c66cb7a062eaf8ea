#!/bin/bash
# Makes sure that the Debian packages which `make packages` builds with are on this machine. Needs root only for missing
# ones.
#
#   packaging/install-build-tools.sh
#
# Exit status: 0 all is there, 1 installing failed, 3 something is missing and cannot be installed like this.
set -euo pipefail
export LC_ALL=C

# PROGRAM (or file) PACKAGE
needed='
autoreconf  autoconf
automake    automake
dpkg-source dpkg-dev
gcc         gcc
libtoolize  libtool
llvm-strip  llvm
make        make
patch       patch
perl        perl
tclsh       tcl
xz          xz-utils
/usr/include/stdio.h       libc6-dev
/usr/share/aclocal/ltdl.m4 libltdl-dev
'

say() { printf 'install-build-tools: %s\n' "$*" >&2; }

missing=()
while read -r program package; do
    [ -z "$program" ] || command -v "$program" >/dev/null || [ -e "$program" ] || missing+=("$package")
done <<<"$needed"
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || {
    say "${missing[*]} is missing; this script can add it only with apt-get"
    exit 3
}
[ "$(id -u)" = 0 ] || {
    say "${missing[*]} is missing, and adding it needs root: run \`sudo packaging/install-build-tools.sh\`"
    exit 3
}
say "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
if ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}"; } \
    >"$log" 2>&1; then
    cat -- "$log" >&2
    say "apt-get could not install ${missing[*]}"
    exit 1
fi
