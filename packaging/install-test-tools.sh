#!/bin/bash
# Makes sure that what the tests need besides Apptainer is on this machine: arm64 programs that run here, a static
# arm64 busybox to make an image of, and the servers MinIO, Mosquitto, fake-gcs-server, a registry of container images
# and the Pub/Sub emulator. Needs root only for what is missing.
#
#   packaging/install-test-tools.sh
#
# Exit status: 0 all is there, 1 installing failed, 3 something is missing and cannot be installed like this.
set -euo pipefail
export LC_ALL=C

binfmt=/proc/sys/fs/binfmt_misc
tools=${XDG_CACHE_HOME:-$HOME/.cache}/edge-agent-tests
cache=$tools/busybox-arm64
gcs_version=v1.56.1
registry_version=v3.0.0
here=$(dirname -- "$(readlink -f -- "$0")")
work=

say() { printf 'install-test-tools: %s\n' "$*"; }
fail() { printf 'install-test-tools: %s\n' "$*" >&2; exit 1; }
unavailable() { printf 'install-test-tools: %s\n' "$*" >&2; exit 3; }
native_arm64() { [ "$(uname -m)" = aarch64 ]; }
have_busybox() { [ -x "$cache/busybox" ]; }

need_root() {
    [ "$(id -u)" = 0 ] || unavailable "$1 is missing, and adding it needs root: run \`sudo packaging/install-test-tools.sh\`"
}

need_apt() {
    command -v apt-get >/dev/null || unavailable "$1 is missing; this script can add it only with apt-get"
}

. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/quietly.sh"

# --- arm64 programs on another CPU -----------------------------------------------------------------------------------

# The kernel must run arm64 programs in a container too, where the emulator's file is not: flag F keeps it open.
emulated_arm64() {
    local entry
    [ -r "$binfmt/qemu-aarch64" ] || return 1
    entry=$(<"$binfmt/qemu-aarch64")
    [[ $entry == enabled* && $entry =~ flags:\ [A-Z]*F ]]
}

runs_arm64() { native_arm64 || emulated_arm64; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_emulation() {
    need_apt "the emulation of arm64 (qemu-user-static, binfmt-support)"
    need_root "the emulation of arm64"
    if ! installed qemu-user-static || ! installed binfmt-support; then
        say "installing qemu-user-static and binfmt-support"
        quietly apt-get -q update || fail "apt-get update failed"
        quietly env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install \
            qemu-user-static binfmt-support || fail "apt-get could not install qemu-user-static and binfmt-support"
    fi
    say "enabling the emulation of arm64"
    [ -e "$binfmt/register" ] || quietly mount -t binfmt_misc binfmt_misc "$binfmt" ||
        fail "could not mount binfmt_misc on $binfmt"
    emulated_arm64 || quietly update-binfmts --enable qemu-aarch64 || fail "update-binfmts could not enable qemu-aarch64"
    emulated_arm64 || fail "qemu-aarch64 is not enabled with flag F in $binfmt"
}

# --- a static arm64 program ------------------------------------------------------------------------------------------

# An apt state of its own for arm64: the machine's apt does not learn of another architecture.
arm64_apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$work/state" \
        -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o Acquire::Languages=none \
        -o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= "$@"
}

fetch_busybox() {
    need_apt "an arm64 busybox in $cache"
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    mkdir -p "$work"/{state/lists/partial,cache/archives/partial,debs}
    touch "$work/status"
    chmod 755 "$work"
    [ "$(id -u)" != 0 ] || chown _apt "$work"/{state/lists/partial,cache/archives/partial,debs} # apt fetches as this user
    say "downloading a static busybox for arm64 with apt-get"
    # A source without arm64 packages makes update fail; what counts is whether busybox can be had.
    quietly arm64_apt update || say "not every package source has arm64; trying with those that do"
    (cd "$work/debs" && quietly arm64_apt download busybox-static:arm64) ||
        fail "apt-get could not download busybox-static for arm64 from this machine's package sources"
    dpkg-deb -x "$work"/debs/busybox-static_*.deb "$work/unpacked"
    mkdir -p "$cache"
    cp "$work"/unpacked/*bin/busybox "$cache/busybox.new" 2>/dev/null ||
        cp "$work"/unpacked/usr/bin/busybox "$cache/busybox.new" || fail "busybox-static has no bin/busybox"
    chmod 755 "$cache/busybox.new"
    mv -- "$cache/busybox.new" "$cache/busybox"
}

# --- servers ---------------------------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null; }

install_packages() {
    need_apt "$*"
    need_root "$*"
    say "installing $*"
    quietly apt-get -q update || fail "apt-get update failed"
    quietly env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" ||
        fail "apt-get could not install $*"
}

have_emulator() {
    local gcloud
    gcloud=$(command -v gcloud) || return 1
    [ -x "$(dirname -- "$(readlink -f -- "$gcloud")")/../platform/pubsub-emulator/bin/cloud-pubsub-emulator" ]
}

# A Go program carries the version of its module in itself.
have_gcs() {
    [ -x "$tools/bin/fake-gcs-server" ] &&
        grep -aqF "github.com/fsouza/fake-gcs-server"$'\t'"$gcs_version" "$tools/bin/fake-gcs-server"
}

build_gcs() {
    have go || unavailable "go is missing, which builds fake-gcs-server: install Go 1.26 or later"
    say "building fake-gcs-server $gcs_version: some minutes"
    mkdir -p "$tools/bin"
    quietly env GOBIN="$tools/bin" go install "github.com/fsouza/fake-gcs-server@$gcs_version" ||
        fail "go could not build fake-gcs-server"
}

have_registry() {
    [ -x "$tools/bin/registry" ] &&
        grep -aqF "github.com/distribution/distribution/v3"$'\t'"$registry_version" "$tools/bin/registry"
}

build_registry() {
    have go || unavailable "go is missing, which builds the registry of container images: install Go 1.24 or later"
    say "building the registry of container images $registry_version: some minutes"
    mkdir -p "$tools/bin"
    quietly env GOBIN="$tools/bin" go install "github.com/distribution/distribution/v3/cmd/registry@$registry_version" ||
        fail "go could not build the registry of container images"
}

runs_arm64 || install_emulation
have_busybox || fetch_busybox
"$cache/busybox" true || fail "$cache/busybox does not run: arm64 programs do not work here"
"$here/install-lab.sh" >/dev/null
have_gcs || build_gcs
have_registry || build_registry
have openssl || install_packages openssl
# A stand-in for the NVIDIA library is compiled for the tests.
have cc || install_packages gcc libc6-dev
have_emulator || unavailable "the Pub/Sub emulator is missing: install the Google Cloud CLI (https://cloud.google.com/sdk)\
 and its component: gcloud components install pubsub-emulator, or the package google-cloud-cli-pubsub-emulator"
