# Tells processes apart. Sourced.
# shellcheck shell=bash

# started_at PID: when the process started, in clock ticks since the boot. Together with the process id this identifies it for
# ever, because the system reuses ids. Fails if the process is gone or dead. The name in brackets before these fields may
# hold spaces.
started_at() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # shellcheck disable=SC2086 # split on purpose
    set -- ${stat##*) }
    [[ $1 != [ZX] ]] && echo "${20}"
}

# answers PORT: whether a program listens on it, on this host.
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
