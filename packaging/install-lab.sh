#!/bin/bash
# Makes sure that the servers of an offline lab are on this machine: Mosquitto by apt-get, MinIO built by Go. Prints the
# directory of the MinIO program. Needs root only for a Mosquitto that is missing.
#
#   packaging/install-lab.sh
#
# Exit status: 0 all is there, 1 installing failed, 3 something is missing and cannot be installed like this.
set -euo pipefail
export LC_ALL=C

tools=${XDG_CACHE_HOME:-$HOME/.cache}/edge-agent-tests
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c

say() { printf 'install-lab: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
unavailable() { say "$*"; exit 3; }

. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/quietly.sh"

# A Go program carries the version of its module in itself.
have_minio() { [ -x "$tools/bin/minio" ] && grep -aqF "github.com/minio/minio"$'\t'"$minio_version" "$tools/bin/minio"; }

build_minio() {
    command -v go >/dev/null || unavailable "go is missing, which builds MinIO: install Go 1.24 or later"
    say "building MinIO $minio_version: some minutes"
    mkdir -p "$tools/bin"
    quietly env GOBIN="$tools/bin" go install "github.com/minio/minio@$minio_version" || fail "go could not build MinIO"
}

have_mosquitto() { # Debian keeps the broker where only root looks
    PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mosquitto >/dev/null && command -v mosquitto_passwd >/dev/null
}

install_mosquitto() {
    command -v apt-get >/dev/null || unavailable "mosquitto is missing; this script can add it only with apt-get"
    [ "$(id -u)" = 0 ] ||
        unavailable "mosquitto is missing, and adding it needs root: run \`sudo packaging/install-lab.sh\`"
    say "installing mosquitto"
    quietly apt-get -q update || fail "apt-get update failed"
    # The package starts a broker at once; the lab and the tests start their own.
    quietly env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -y --no-install-recommends install mosquitto ||
        fail "apt-get could not install mosquitto"
}

have_minio || build_minio
have_mosquitto || install_mosquitto
printf '%s\n' "$tools/bin"
