#!/bin/bash
# Makes sure that what the tests of whole systems need is on this machine: QEMU, a static busybox, a Debian kernel with
# the modules of a disk for its guests, unpacked and not installed, what makes and boots hosts with systemd, and what checks
# packages. Prints the kernel's path. Needs root only for missing packages.
#
#   packaging/install-system-tools.sh
#
# Exit status: 0 all is there, 1 installing failed, 3 something is missing and cannot be installed like this.
set -euo pipefail
export LC_ALL=C

kernel=${XDG_CACHE_HOME:-$HOME/.cache}/edge-agent-tests/guest/vmlinuz
modules=${kernel%/*}/modules
work=
# In the order in which they are loaded. One that a kernel has built in is left out.
needed='virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk
    crc16 crc32c_generic mbcache jbd2 ext4'

say() { printf 'install-system-tools: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
unavailable() { say "$*"; exit 3; }
have() { command -v "$1" >/dev/null; }

. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/quietly.sh"

have_busybox() { have busybox && busybox ash -c 'true' && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }

install_packages() {
    have apt-get || unavailable "$* is missing; this script can add it only with apt-get"
    [ "$(id -u)" = 0 ] || unavailable "$* is missing, and adding it needs root: run \`sudo packaging/install-system-tools.sh\`"
    say "installing $*"
    quietly apt-get -q update || fail "apt-get update failed"
    quietly env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" ||
        fail "apt-get could not install $*"
}

fetch_kernel() {
    local package
    have apt-get || unavailable "a kernel for guests is missing; this script can fetch it only with apt-get"
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || unavailable "apt-get knows no linux-image-amd64: the package sources of Debian have it"
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    chmod 755 "$work"
    [ "$(id -u)" != 0 ] || chown _apt "$work" # apt fetches as this user
    say "downloading $package"
    (cd "$work" && quietly apt-get -q download "$package") || fail "apt-get could not download $package"
    quietly dpkg-deb -x "$work/$package"_*.deb "$work/unpacked" || fail "$package could not be unpacked"
    mkdir -p "${kernel%/*}"
    copy_modules
    cp "$work"/unpacked/boot/vmlinuz-* "$kernel.new"
    mv -- "$kernel.new" "$kernel"
}

copy_modules() {
    local name found number=10
    rm -rf -- "$modules" "$modules.new"
    mkdir "$modules.new"
    for name in $needed; do
        found=$(find "$work/unpacked" -name "$name.ko" -print -quit)
        [ -z "$found" ] || cp -- "$found" "$modules.new/$number-$name.ko"
        number=$((number + 1))
    done
    compgen -G "$modules.new/*-ext4.ko" >/dev/null || fail "$package has no module ext4.ko"
    mv -- "$modules.new" "$modules"
}

have qemu-system-x86_64 || install_packages qemu-system-x86
have_busybox || install_packages busybox-static
have systemd-nspawn || install_packages systemd-container
have mmdebstrap || install_packages mmdebstrap
have qemu-aarch64-static || install_packages qemu-user-static binfmt-support
have lintian || install_packages lintian
have gpg || install_packages gnupg
have rpm || install_packages rpm
have rpmlint || install_packages rpmlint
have arch-test || install_packages arch-test
{ [ -r "$kernel" ] && [ -d "$modules" ]; } || fetch_kernel
printf '%s\n' "$kernel"
