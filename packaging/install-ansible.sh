#!/bin/bash
# Makes sure that Ansible and its linter, as locked in packaging/requirements-ansible.txt, are in an environment of their
# own. Prints the directory of its commands. Needs no root.
#
#   packaging/install-ansible.sh
#
# Exit status: 0 all is there, 1 installing failed, 3 something is missing and cannot be installed like this.
set -euo pipefail
export LC_ALL=C

cd "$(dirname "$0")/.."
lock=packaging/requirements-ansible.txt
env=${XDG_CACHE_HOME:-$HOME/.cache}/edge-agent-tests/ansible-$(sha256sum "$lock" | cut -c1-8)

say() { printf 'install-ansible: %s\n' "$*" >&2; }

python3=$(command -v python3) || { say "python3 is missing"; exit 3; }
"$python3" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { say "$("$python3" --version) is too old: Ansible needs Python 3.11 or newer on this machine"; exit 3; }
if [ ! -e "$env/.done" ]; then
    say "installing $(grep -o '^ansible-core==[^ ]*' "$lock" | head -n 1) and ansible-lint"
    rm -rf -- "$env"
    "$python3" -m venv "$env"
    "$env/bin/python" -m pip --quiet --disable-pip-version-check install --require-hashes -r "$lock" >&2 ||
        { say "pip could not install what $lock names"; exit 1; }
    touch "$env/.done"
fi
printf '%s\n' "$env/bin"
