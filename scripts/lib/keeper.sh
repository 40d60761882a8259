#!/usr/bin/env bash
# Keeps the processes of one scripts/run.sh: starts them, shows what they log, and ends them.
#
# It has its own session, which Ctrl-C does not reach, and reads its standard input. run.sh holds the other end of it and
# writes nothing. When it closes, the run ends; there is no other way to end a run. So
# Ctrl-C, a time limit and a kill -9 of run.sh all look the same from here. If the keeper itself is killed, the
# kernel ends the programs (setpriv --pdeathsig), and the broker's watcher ends the broker.
#
#   keeper.sh LIMIT_SECS BIN DATA JOBS BROKERS [PORT CONTROLLER_PORT JMX_PORT]     (with ports: a broker is started there)
#
# Exit codes: 0 the run is over; 3 the broker did not start; otherwise that of the program that ended by itself, or 1
# when that was 0.
set -uo pipefail

limit=$1 bin=$2 data=$3 jobs=$4 brokers=$5 port=${6:-} controller_port=${7:-} jmx_port=${8:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
drain=5 # seconds that running jobs get at the end

# A handler and not '': what is ignored here would be ignored by the programs too, and by their jobs.
trap ':' PIPE
over=''
trap 'over=yes' TERM INT HUP

declare -A pids=()  # of the programs that run, by name
names=() readers=()
width=16

# paint NAME: puts the name before each line, in its colour on a terminal, and removes from a program's line what is not
# needed here: the date, the thread, and the level INFO.
paint() {
    local name shorter='s/^[0-9-]{10}T([0-9:]{8}\.[0-9]{3})Z \[([A-Z]+) *\] \([^)]*\)/\1 \2/; s/^([0-9:.]{12}) INFO /\1 /'
    printf -v name "%-${width}s" "$1"
    if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
        name=$'\e'"[$(colour "$1")m$name"$'\e'"[0m "
        shorter+="; s/^[0-9:.]{12} (WARN|ERROR) .*/"$'\e'"[31m&"$'\e'"[0m/"
    else
        name="$name| "
    fi
    exec sed -u -E "$shorter; s/^/$name/"
}
colour() {
    case $1 in
        run) echo 1 ;; broker) echo 2 ;; producer) echo 36 ;; *-retry) echo 33 ;; *) echo 32 ;;
    esac
}
say() { printf '%s\n' "$*" | (paint run); }

# start NAME COMMAND...: starts a program whose log is shown under its name.
start() {
    local name=$1 log
    shift
    exec {log}> >(exec 7>&-; paint "$name")
    readers+=($!)
    # Descriptor 7 is the lock of the run.
    setpriv --pdeathsig TERM -- "$@" </dev/null >&"$log" 2>&1 {log}>&- 7>&- &
    pids[$name]=$!
    names+=("$name")
    exec {log}>&-
}

# finish SECONDS NAME...: sends TERM, and KILL to those that are still alive after that time.
finish() {
    local name until=$((SECONDS + $1)) left
    shift
    for name in "$@"; do [[ -z ${pids[$name]:-} ]] || kill -TERM "${pids[$name]}" 2>/dev/null; done
    while :; do
        left=()
        for name in "$@"; do
            if [[ -n ${pids[$name]:-} ]] && kill -0 "${pids[$name]}" 2>/dev/null; then left+=("$name"); fi
        done
        [[ ${#left[@]} -gt 0 ]] || return 0
        ((SECONDS < until)) || break
        sleep 0.1
    done
    for name in "${left[@]}"; do
        say "$name did not end within $1 s and is killed"
        kill -KILL "${pids[$name]}" 2>/dev/null
        wait "${pids[$name]}" 2>/dev/null
    done
}

# Checks which programs have ended. Fails if that ends the run; a killed program does not, because a reader may have killed it
# to see what happens.
look() {
    local name code
    for name in "${!pids[@]}"; do
        ! kill -0 "${pids[$name]}" 2>/dev/null || continue
        wait "${pids[$name]}"
        code=$?
        unset "pids[$name]"
        if ((code > 128)); then
            say "$name was ended by signal $((code - 128)); the others go on"
        else
            say "$name ended by itself, with code $code"
            status=$((code == 0 ? 1 : code))
            return 1
        fi
    done
    [[ ${#pids[@]} -gt 0 ]]
}

broker() { "$here/../kafka-broker.sh" "$@" --data "$data/broker" </dev/null 7>&- 2>&1 | (exec 7>&-; paint broker); }

start_all() {
    local cluster
    if [[ -n $port ]]; then
        # A broker that still runs in this directory was left by a run that was interrupted.
        broker stop --now >/dev/null
        broker start --port "$port" --controller-port "$controller_port" --jmx-port "$jmx_port" --parent $$ || { status=3; return 1; }
    fi
    start producer "$bin/producer" "$jobs" --brokers "$brokers"
    for cluster in cluster-a cluster-b; do
        for number in 1 2; do
            start "$cluster.$number" "$bin/consumer" --topic "$cluster" --workers 4 --drain ${drain}s --brokers "$brokers"
        done
        start "$cluster-retry" "$bin/consumer" --topic "$cluster-retry" --workers 4 --drain ${drain}s --brokers "$brokers"
    done
}

# Until the input ends, or the time is up, or a program has ended by itself.
keep() {
    local began=$SECONDS
    while [[ -z $over ]] && ((limit == 0 || SECONDS - began < limit)); do
        read -r -t 0.5 _
        (($? > 128)) || return # the timeout of read
        look || return
    done
}

end_all() {
    local reader
    say "ending: the producer, the consumers, the broker"
    finish 10 producer
    finish $((drain + 10)) "${names[@]}"
    [[ -z $port ]] || broker stop
    # They end with their programs; one that is held open by a job's stray child is not waited for.
    for reader in "${readers[@]}"; do
        timeout 1 tail --pid="$reader" -f /dev/null || kill "$reader" 2>/dev/null
    done
    rm -f "$data/run.pid"
}

status=0
if start_all; then
    say "Kafka is at $brokers; the jobs are those of $jobs. Ctrl-C ends it all"
    keep
fi
end_all
exit "$status"
