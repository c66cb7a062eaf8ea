#!/bin/bash
# Makes sure that Apptainer is on this machine. Needs root only to install it; does nothing where a good one is.
#
#   packaging/install-apptainer.sh
#
# Apptainer is taken from the system's own package sources where they have it. Debian releases do not: there the
# package of Debian's development suite is unpacked, together with the newer C library that it needs, which stays
# private below /opt/apptainer. Its download uses an apt state of its own, so that the system's apt never learns
# of another suite.
#
# An apptainer.conf that is there stays as its package or its administrator wrote it: how much a job may do is said
# by the agent with every start of a container, not by a setting that other users of Apptainer would feel.
#
# Environment:
#   APPTAINER_VERSION   version wanted from the development suite (default 1.4.5, which is tested); "any" takes
#                       what the suite has today
#   APPTAINER_SUITE     suite of the package (default sid)
#   APPTAINER_LIBC      suite of the C library (default trixie)
#   APPTAINER_MIRROR    URL of a Debian archive (default: the one that this machine's apt uses)
#
# Exit status: 0 Apptainer is there, 1 installing it failed, 3 it is missing and cannot be installed like this.
set -euo pipefail
export LC_ALL=C

tested=1.4.5
wanted=${APPTAINER_VERSION:-$tested}
suite=${APPTAINER_SUITE:-sid}
libc_suite=${APPTAINER_LIBC:-trixie}
libc_dir=/opt/apptainer/lib
work=

say() { printf 'install-apptainer: %s\n' "$*"; }
fail() { printf 'install-apptainer: %s\n' "$*" >&2; exit 1; }
unavailable() { printf 'install-apptainer: %s\n' "$*" >&2; exit 3; }
as_root() { [ "$(id -u)" = 0 ]; }
have() { command -v "$1" >/dev/null 2>&1; }

# at_least 1.4.5-2 1 1: whether a version has at least this major and minor number.
at_least() {
    local major minor
    [[ $1 =~ ^([0-9]+)\.([0-9]+) ]] || return 1
    major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
    ((major > $2 || (major == $2 && minor >= $3)))
}

# The oldest releases with --no-eval, without which values of variables would be run by a shell.
good_runtime() {
    if have apptainer; then
        at_least "$(apptainer version 2>/dev/null)" 1 1
    elif have singularity; then
        at_least "$(singularity version 2>/dev/null)" 3 10
    else
        return 1
    fi
}

distribution() {
    # shellcheck source=/dev/null
    (. /etc/os-release 2>/dev/null && echo "${ID:-unknown} ${ID_LIKE:-}") || echo unknown
}

how_to_get_it() {
    local line="see the installation page of the Apptainer project"
    case " $(distribution) " in
    " debian "*) line="run \`sudo packaging/install-apptainer.sh\`" ;;
    *" ubuntu "*) line="run \`sudo add-apt-repository -y ppa:apptainer/ppa && sudo apt-get install -y apptainer\`" ;;
    *" fedora "*) line="run \`sudo dnf install -y apptainer\`" ;;
    *" rhel "* | *" centos "*) line="run \`sudo dnf install -y epel-release && sudo dnf install -y apptainer\`" ;;
    *" suse "* | *" opensuse "*) line="run \`sudo zypper install apptainer\`" ;;
    *" arch "*) line="run \`sudo pacman -S apptainer\`" ;;
    esac
    printf '%s' "$line"
}

present() {
    if have apptainer; then
        printf 'this machine has Apptainer %s, which is too old (needed is 1.1)' "$(apptainer version 2>/dev/null)"
    elif have singularity; then
        printf 'this machine has Singularity %s, which is too old (needed is 3.10)' "$(singularity version 2>/dev/null)"
    else
        printf 'Apptainer is not installed'
    fi
}

# --- ways to install -------------------------------------------------------------------------------------------------

. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/quietly.sh"

apt_install() { quietly env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@"; }

apt_candidate() { apt-cache policy apptainer 2>/dev/null | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'; }

install_with_apt() {
    say "installing apptainer $(apt_candidate) with apt-get"
    apt_install apptainer || fail "apt-get could not install apptainer"
}

install_with_dnf() {
    say "installing apptainer with dnf"
    quietly dnf -q -y install apptainer ||
        fail "dnf could not install apptainer; on Enterprise Linux it is in EPEL: dnf install -y epel-release"
}

# Without a candidate on Debian: the package of the development suite with a private C library.

debian_mirror() { # the archive of the release itself, not its updates or a foreign source
    # shellcheck disable=SC2016 # the names are apt's
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" && !found { print $4; found = 1 }'
}

private_apt() {
    apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o Acquire::Languages=none \
        -o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= "$@"
}

download_debs() {
    local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=
    mirror=${APPTAINER_MIRROR:-$(debian_mirror)}
    [ -n "$mirror" ] || fail "no Debian archive among the apt sources of this machine: set APPTAINER_MIRROR to one"
    [ ! -e "$keyring" ] || signed="[signed-by=$keyring] "
    mkdir -p "$work"/{lists/partial,cache/archives/partial,debs}
    chmod 755 "$work"
    chown _apt "$work"/{lists/partial,cache/archives/partial,debs} # apt fetches as this user
    for name in "$suite" "$libc_suite"; do echo "deb $signed$mirror $name main"; done | sort -u >"$work/sources.list"
    say "downloading apptainer from $suite and its C library from $libc_suite"
    quietly private_apt update || fail "could not read the package lists of $suite and $libc_suite"
    (cd "$work/debs" && quietly private_apt download "apptainer/$suite" "libc6/$libc_suite") ||
        fail "could not download apptainer from $suite and libc6 from $libc_suite"
}

check_version() {
    [ "$wanted" = any ] || [[ $1 == "$wanted" || $1 == "$wanted"[-+~.]* ]] ||
        fail "$suite now has apptainer $1, and $wanted was asked for (tested is $tested):" \
            "APPTAINER_VERSION=any packaging/install-apptainer.sh takes what there is"
}

# The parts of a C library only work with each other, so all of them come along.
place_libc() {
    local source=$1
    rm -rf -- "$libc_dir.new"
    mkdir -p "$libc_dir.new"
    cp -a "$source"/*.so* "$libc_dir.new/"
    rm -rf -- "$libc_dir"
    mv -T -- "$libc_dir.new" "$libc_dir"
}

# rpath rather than runpath: it also holds for what libseccomp needs in turn.
use_private_libc() {
    local interpreter
    interpreter=$(basename "$(patchelf --print-interpreter "$1")")
    [ -x "$libc_dir/$interpreter" ] || fail "libc6 of $libc_suite has no $interpreter"
    patchelf --set-interpreter "$libc_dir/$interpreter" "$1"
    patchelf --force-rpath --set-rpath "$libc_dir" "$1"
}

# As shipped, root in a container gets every capability; where root itself lacks one (inside a container, as in many
# test environments) no container would start then. A configuration that is there already stays.
configure() {
    sed -i 's/^root default capabilities *=.*/root default capabilities = no/' "$1/etc/apptainer/apptainer.conf"
    [ ! -e /etc/apptainer/apptainer.conf ] || rm -rf -- "${1:?}/etc"
}

install_from_development_suite() {
    local version triplet root
    say "this release of Debian has no apptainer package; it comes from $suite, with a private C library"
    say "installing what it needs from this release"
    # tzdata: /etc/localtime, which apptainer binds into every container, is missing in a minimal system.
    apt_install patchelf squashfs-tools squashfuse fuse2fs fuse-overlayfs uidmap fakeroot libseccomp2 libsqlite3-0 \
        containernetworking-plugins ca-certificates tzdata || fail "apt-get could not install what apptainer needs"
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    download_debs
    version=$(dpkg-deb -f "$work"/debs/apptainer_*.deb Version)
    check_version "$version"

    say "unpacking apptainer $version"
    root=$work/root
    dpkg-deb -x "$work"/debs/apptainer_*.deb "$root"
    dpkg-deb -x "$work"/debs/libc6_*.deb "$work/libc"
    triplet=$(cd "$work/libc/usr/lib" && echo *-linux-gnu*)
    place_libc "$work/libc/usr/lib/$triplet"
    use_private_libc "$root/usr/bin/apptainer"
    use_private_libc "$root/usr/lib/$triplet/apptainer/bin/starter"
    rm -rf -- "$root/usr/share/lintian"
    configure "$root"
    # The program itself comes last: as long as it is missing, another run starts over.
    mv "$root/usr/bin/apptainer" "$work/apptainer"
    tar -C "$root" --owner=0 --group=0 -cf - . | tar -C / --no-overwrite-dir --keep-directory-symlink -xf -
    install -m 755 "$work/apptainer" /usr/bin/apptainer
}

install_it() {
    if have apt-get; then
        say "reading the package lists"
        quietly apt-get -q update || fail "apt-get update failed"
        if [ -n "$(apt_candidate)" ]; then
            install_with_apt
            return
        fi
        if [[ "$(distribution) " == "debian "* ]]; then
            install_from_development_suite
            return
        fi
    elif have dnf; then
        install_with_dnf
        return
    fi
    unavailable "$(present), and the package sources of this system have none: $(how_to_get_it)"
}

# Plain users mount images through FUSE. A container or a minimal system may have no node for it, and a node made
# by hand does not outlive a reboot; where udev made it, everybody may use it already.
provide_fuse() {
    [ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
    [ -e /dev/fuse ] || mknod /dev/fuse c 10 229 2>/dev/null || {
        say "warning: /dev/fuse is missing and cannot be made here: only root can run image files"
        return
    }
    [ "$(stat -c %a /dev/fuse)" = 666 ] || chmod 666 /dev/fuse
}

if ! good_runtime; then
    as_root || unavailable "$(present), and installing it needs root: $(how_to_get_it)"
    install_it
    hash -r
    good_runtime || fail "installed, but still: $(present)"
    say "apptainer $(apptainer version) is installed"
fi
if as_root; then
    provide_fuse
fi
