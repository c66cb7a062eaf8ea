#!/bin/bash
# Builds the interpreter that the packages bring along: CPython for one CPU architecture, with every library that it
# needs linked in. It runs on glibc 2.17 and newer, whatever the distribution. Prints the directory with the result.
#
#   packaging/build-python.sh amd64|arm64 [CACHE]
#
# The C compiler is Zig's, which can produce for any architecture and any glibc; it comes as a Python package into a
# private environment. Sources are those of Debian, fetched by an apt with a state of its own: the system's never
# learns of another suite. Of Debian's changes to Python only repairs are applied: its directory layout is not ours.
# What was built stays in CACHE (~/.cache/edge-agent-build) by the content of this script; remove it to build anew
# with what the suite has today.
#
# Environment:
#   EDGE_AGENT_SOURCES  suite of Debian whose sources are used (default trixie)
#   EDGE_AGENT_MIRROR   URL of a Debian archive with sources (default: the one that this machine's apt uses)
#
# Exit status: 0 done, 1 building failed, 2 wrong use, 3 something is missing here and cannot be installed.
set -euo pipefail
export LC_ALL=C

zig_version=0.17.1
glibc=2.17
libraries=(zlib bzip2 xz-utils libffi sqlite3 openssl)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'build-python: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

quietly() { # NAME COMMAND..: runs a command, shows the end of what it printed only when it fails
    local log=$work/$1.log
    shift
    "$@" >"$log" 2>&1 || { tail -n 40 -- "$log" >&2; fail "\`$*\` failed; all it said is in $log"; }
}

case ${1:-} in
amd64) machine=x86_64 openssl_target=linux-x86_64 ;;
arm64) machine=aarch64 openssl_target=linux-aarch64 ;;
*) say "usage: build-python.sh amd64|arm64 [CACHE]"; exit 2 ;;
esac
arch=$1
here=$(cd "$(dirname "$0")" && pwd)
cache=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/edge-agent-build}
key=$(sha256sum "$here/build-python.sh" | cut -c1-12)
base=$cache/python-$key
work=$base/work
result=$base/$arch
# An interpreter that is built for another architecture cannot run its own build steps: its twin does.
twin=$base/amd64/bin/python3.13


# --- parts --------------------------------------------------------------------------------------------------------

install_zig() { # the compiler; its own cache is a part of ours
    zig=$cache/zig-$zig_version/zig
    export ZIG_GLOBAL_CACHE_DIR=$work/zig-cache
    [ ! -x "$zig" ] || return 0
    say "installing the Zig compiler $zig_version"
    rm -rf -- "$cache/zig-$zig_version.new" "$work/zig-env"
    python3 -m venv "$work/zig-env"
    quietly zig "$work/zig-env/bin/python" -m pip install --disable-pip-version-check "ziglang==$zig_version"
    cp -a "$work"/zig-env/lib/python3*/site-packages/ziglang "$cache/zig-$zig_version.new"
    rm -rf -- "$work/zig-env"
    mv -- "$cache/zig-$zig_version.new" "$cache/zig-$zig_version"
}

write_tools() { # what configure scripts take for a C compiler and its helpers
    tools=$work/$arch/tools
    mkdir -p "$tools"
    # A date in a program would make each build another one.
    cat >"$tools/cc" <<EOF
#!/bin/sh
exec "$zig" cc -target $machine-linux-gnu.$glibc -fno-sanitize=undefined -ffile-prefix-map="$work"=. \\
    -Wno-builtin-macro-redefined -D__DATE__='"Jan  1 1970"' -D__TIME__='"00:00:00"' "\$@"
EOF
    printf '#!/bin/sh\nexec %q ar "$@"\n' "$zig" >"$tools/ar"
    printf '#!/bin/sh\nexec %q ranlib "$@"\n' "$zig" >"$tools/ranlib"
    chmod 755 "$tools"/*
    export CC=$tools/cc AR=$tools/ar RANLIB=$tools/ranlib CFLAGS="-O2 -fPIC -fwrapv" PKG_CONFIG=false
}

private_apt() { # COMMAND ARGUMENT..
    local command=$1
    shift
    "$command" -q -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" \
        -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root "$@"
}

debian_mirror() { # the archive of the release itself, not its updates or a foreign source
    # shellcheck disable=SC2016 # the names are apt's
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" && !found { print $4; found = 1 }'
}

fetch() { # PACKAGE: its source, the newest version that the archive can give: an index may be ahead of its files
    local version
    for version in $(private_apt apt-cache showsrc "$1" | sed -n 's/^Version: //p' | sort -Vur); do
        if private_apt apt-get source --only-source --download-only "$1=$version" >"$work/$1.log" 2>&1; then
            echo "$1 $version" >>"$work/sources.txt.new"
            return
        fi
    done
    tail -n 20 "$work/$1.log" >&2
    fail "the source of $1 cannot be fetched"
}

fetch_sources() {
    [ ! -e "$work/sources.txt" ] || return 0
    local suite=${EDGE_AGENT_SOURCES:-trixie} mirror=${EDGE_AGENT_MIRROR:-$(debian_mirror)} package
    [ -n "$mirror" ] || fail "no archive of Debian is known here: name one in EDGE_AGENT_MIRROR"
    say "fetching the sources of python3.13 ${libraries[*]} from $suite"
    rm -rf -- "$work/apt" "$work/sources" "$work/sources.txt.new"
    mkdir -p "$work"/apt/{lists,cache/archives}/partial "$work/sources"
    : >"$work/apt/status"
    printf "deb-src [signed-by=$keyring] %s %s main\n" "$mirror" "$suite" \
        "${mirror%/}-security" "$suite-security" >"$work/apt/sources.list"
    quietly apt-update private_apt apt-get update
    cd "$work/sources"
    for package in python3.13 "${libraries[@]}"; do
        fetch "$package"
    done
    mv -- "$work/sources.txt.new" "$work/sources.txt"
}

unpack() { # PACKAGE: a fresh copy of its source, and there
    local directory=$work/$arch/$1
    rm -rf -- "$directory"
    mkdir -p "$work/$arch"
    quietly unpack dpkg-source --no-copy ${2:-} -x "$work/sources/$1"_*.dsc "$directory"
    cd "$directory"
}

build_libraries() {
    [ ! -e "$work/$arch/libraries" ] || return 0
    prefix=$work/$arch/prefix
    rm -rf -- "$prefix"
    say "building zlib, bzip2, xz, libffi and SQLite for $arch"
    unpack zlib
    quietly zlib ./configure --static --prefix="$prefix"
    quietly zlib make -j"$jobs" install
    unpack bzip2
    quietly bzip2 make -j"$jobs" libbz2.a CC="$CC" AR="$AR" RANLIB="$RANLIB" CFLAGS="$CFLAGS -D_FILE_OFFSET_BITS=64"
    cp libbz2.a "$prefix/lib/"
    cp bzlib.h "$prefix/include/"
    local static=(--host="$machine-linux-gnu" --prefix="$prefix" --disable-shared --enable-static)
    unpack xz-utils
    quietly xz ./configure "${static[@]}" --disable-{xz,xzdec,lzmadec,lzmainfo,lzma-links,scripts,doc,nls}
    quietly xz make -j"$jobs" install
    unpack libffi
    quietly libffi autoreconf -fi
    quietly libffi ./configure "${static[@]}" --disable-docs --disable-multi-os-directory
    quietly libffi make -j"$jobs" install
    unpack sqlite3
    # One file of C, the same for all architectures, written by programs that run here.
    quietly sqlite env CC=gcc CFLAGS=-O1 ./configure --disable-{tcl,readline,load-extension,shared}
    quietly sqlite make -j"$jobs" sqlite3.c sqlite3.h
    # Nothing of the agent asks for full-text search or maps; one thread has one connection.
    "$CC" $CFLAGS -DSQLITE_THREADSAFE=1 -DSQLITE_OMIT_LOAD_EXTENSION -c sqlite3.c -o sqlite3.o
    "$AR" rcs "$prefix/lib/libsqlite3.a" sqlite3.o
    cp sqlite3.h sqlite3ext.h "$prefix/include/" 2>/dev/null || cp sqlite3.h src/sqlite3ext.h "$prefix/include/"
    say "building OpenSSL for $arch"
    unpack openssl
    quietly openssl perl ./Configure "$openssl_target" no-shared no-tests no-docs no-apps no-engine no-dso no-module \
        --libdir=lib --prefix="$prefix" --openssldir=/etc/ssl CC="$CC" AR="$AR" RANLIB="$RANLIB" CFLAGS="$CFLAGS"
    quietly openssl make -j"$jobs" build_libs
    quietly openssl make install_dev
    touch "$work/$arch/libraries"
}

# Repairs of Python by Debian, told by their names from its changes of layout.
repairs() { grep -E '^(CVE-|ssl-|dict-|traverse-|issue|gchead-)' debian/patches/series || true; }

build_python() {
    say "building Python for $arch"
    local prefix=$work/$arch/prefix installed=$work/$arch/installed patch cross=()
    unpack python3.13 --skip-patches
    for patch in $(repairs); do
        quietly "patch-$patch" patch -p1 -i "debian/patches/$patch"
    done
    if [ "$arch" != amd64 ]; then
        cross=(--host="$machine-linux-gnu" --build=x86_64-linux-gnu --with-build-python="$twin"
            ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ac_cv_buggy_getaddrinfo=no)
    fi
    quietly configure ./configure --prefix=/usr/lib/edge-agent "${cross[@]}" --disable-shared \
        --without-static-libpython --without-ensurepip --disable-test-modules --with-openssl="$prefix" \
        ac_cv_func_getentropy=no ac_cv_func_getrandom=no \
        OPT="-DNDEBUG" CFLAGS="$CFLAGS" CPPFLAGS="-I$prefix/include" LDFLAGS="-L$prefix/lib" \
        LINKFORSHARED="-Xlinker -export-dynamic -pie" \
        ZLIB_CFLAGS="-I$prefix/include" ZLIB_LIBS="-L$prefix/lib -lz" \
        BZIP2_CFLAGS="-I$prefix/include" BZIP2_LIBS="-L$prefix/lib -lbz2" \
        LIBLZMA_CFLAGS="-I$prefix/include" LIBLZMA_LIBS="-L$prefix/lib -llzma" \
        LIBFFI_CFLAGS="-I$prefix/include" LIBFFI_LIBS="-L$prefix/lib -lffi" \
        LIBSQLITE3_CFLAGS="-I$prefix/include" LIBSQLITE3_LIBS="-L$prefix/lib -lsqlite3" \
        py_cv_module__{tkinter,curses,curses_panel,gdbm,dbm,uuid}=n/a py_cv_module_readline=n/a
    quietly make make -j"$jobs"
    rm -rf -- "$installed"
    quietly install make install DESTDIR="$installed"
    python=$installed/usr/lib/edge-agent
}

trim() { # what no agent needs: tests, editors, headers, and what would build other things
    local lib=$python/lib/python3.13
    rm -rf -- "$python"/{include,share,lib/pkgconfig} "$lib"/{test,idlelib,tkinter,turtledemo,ensurepip,lib2to3,pydoc_data} \
        "$lib"/config-3.13* "$lib"/turtle.py "$python"/lib/*.a
    find "$python" -name __pycache__ -prune -exec rm -rf {} +
    find "$python/bin" -mindepth 1 ! -name python3.13 -delete
    find "$python" -type f \( -name '*.so' -o -path '*/bin/python3.13' \) -exec "$strip" {} \;
}

look() { # that nothing it cannot do without was left out by a configure script
    local module missing=()
    for module in _bz2 _ctypes _decimal _hashlib _lzma _sqlite3 _ssl zlib; do
        compgen -G "$python/lib/python3.13/lib-dynload/$module.*.so" >/dev/null || missing+=("$module")
    done
    [ ${#missing[@]} = 0 ] || fail "the interpreter for $arch lacks ${missing[*]}: see $work/configure.log"
}

# ------------------------------------------------------------------------------------------------------------------

if [ -e "$result/bin/python3.13" ]; then
    printf '%s\n' "$result"
    exit 0
fi
[ "$arch" = amd64 ] || "$here/build-python.sh" amd64 "$cache" >/dev/null
"$here/install-build-tools.sh"
mkdir -p "$work"
exec 9>"$base/lock"
flock 9 # two builds on one machine: the second one finds all done
if [ ! -e "$result/bin/python3.13" ]; then
    jobs=$(nproc)
    install_zig
    strip=$(command -v llvm-strip)
    write_tools
    fetch_sources
    build_libraries
    build_python
    trim
    look
    cp "$work/sources.txt" "$python/SOURCES"
    rm -rf -- "$result"
    mv -- "$python" "$result"
fi
printf '%s\n' "$result"
