# Telling processes apart. Sourced.
# shellcheck shell=bash

# started_at PID: when the process started, in ticks since the machine did. Together with its number that names it for
# ever, for numbers are given out anew. Fails when it is gone or dead. The name in brackets before these fields may
# hold spaces.
started_at() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # split on purpose
    set -- ${stat##*) }
    [[ $1 != [ZX] ]] && echo "${20}"
}

# answers PORT: whether somebody listens on it, on this host.
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
