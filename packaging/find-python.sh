#!/bin/sh
# Prints the newest Python from 3.10 on that can really create a virtual environment. PYTHON names one instead.
set -eu

usable() { # a version manager's shim may be on PATH and start nothing; Debian splits ensurepip off
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.10 python3}; do
    if usable "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done

echo "no usable Python: needed is ${PYTHON:-python3}, version 3.10 or newer, with the modules venv and ensurepip" \
    "(Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3; or: make env PYTHON=/path/to/python3.12)" >&2
exit 3
