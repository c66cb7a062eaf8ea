# Read by the scripts beside it.
# shellcheck shell=bash

quietly() { # runs a command, shows what it printed only when it fails
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        rm -f -- "$log"
    else
        cat -- "$log" >&2
        rm -f -- "$log"
        return 1
    fi
}
