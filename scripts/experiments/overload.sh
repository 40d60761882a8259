#!/usr/bin/env bash
# A cluster with more work than its host can do: 40 jobs that compute and 10 that need much memory, on all cores, beside a cluster
# of quick jobs on the same host; without precautions, and then with them. docs/experiments/overload.md explains what is seen.
# Nothing else should run meanwhile: the numbers of a busy machine say nothing.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

[[ -r /proc/pressure/cpu ]] || { echo "this kernel keeps no PSI (/proc/pressure): admission by pressure cannot be shown here" >&2; exit 4; }
cores=$(nproc)
brokers 1 group.min.session.timeout.ms=500
# What one job computes: 3 s of a processor for each core, so that all 40 take some two minutes on two cores. Memory: 200 MiB,
# which it writes to, and keeps for 3 s.
{
    printf '%s\n' 'import time' 'until = time.process_time() + 3' 'while time.process_time() < until: pass' >"$work/compute.py"
    printf '%s\n' 'import time' 'block = bytearray(b"x") * (200 << 20)' 'time.sleep(3)' >"$work/fill.py"
}
quick=()
for each in 1 2 3 4 5; do quick+=("* * * * * * cluster-quick [name=quick-$each] true"); done
# heavy OPTIONS: 50 jobs, each of which is due once; they are due within 20 s, beginning in 8 s.
heavy() {
    local each at
    for each in $(seq 50); do
        at=$(date -u -d "@$((EPOCHSECONDS + 8 + each * 2 / 5))" +%FT%TZ)
        if ((each % 5 == 0)); then kind=fill; else kind=compute; fi
        echo "* * * * * * cluster-heavy [name=$kind-$each from=$at until=${at%Z}.5Z $1] exec python3 ./$kind.py"
    done
}
file() {
    printf '%s\n' "${quick[@]}" "$@" >"$work/jobs.new"
    mv "$work/jobs.new" "$work/jobs.cron"
}
now() { date -u +%FT%TZ; }
# lateness CLUSTER SINCE: of each of its runs since then, in milliseconds.
lateness() { cronctl runs --clusters "$1" --since "$2" --json | sed -n 's/.*"lateness_ms":\(-\?[0-9]*\).*/\1/p' | sort -n; }
percentile() { awk -v p="$1" '{ all[NR] = $1 } END { if (NR) { i = int((NR - 1) * p / 100 + 0.5) + 1; print all[i] } }'; }
told() { echo "$1: $(lateness "$1" "$2" | wc -l) runs, late by p50 $(lateness "$1" "$2" | percentile 50) ms, p99 $(lateness "$1" "$2" | percentile 99) ms, at most $(lateness "$1" "$2" | tail -n 1) ms"; }
busy() { metric "$1" cron_workers_busy; }
generations() { grep -c generation "$work/$1.log"; }

file
start producer producer jobs.cron --clusters cluster-quick,cluster-heavy --session-timeout 6s
start quick consumer --topic cluster-quick --workers 4 --session-timeout 2s
flows() { is "$(started quick)" -ge 10; }
await 60 "quick jobs run" flows

# play NAME OPTIONS-OF-JOBS OPTIONS-OF-THE-CONSUMER...: the 50 jobs on a consumer with 50 workers, until all have ended.
play() {
    local name=$1 options=$2 began most=0 closed=0 pressure=0 value
    shift 2
    start "$name" consumer --topic cluster-heavy --workers 50 --session-timeout 2s "$@"
    is_in() { logged "$name" generation; }
    await 30 "the consumer has its share" is_in
    sleep 3
    mapfile -t heavies < <(heavy "$options")
    since=$(now) began=$SECONDS generation=$(generations "$name") of_quick=$(generations quick)
    file "${heavies[@]}"
    while (($(metric "$name" cron_attempts_total) < 50)); do
        ((SECONDS - began < 400)) || { echo "the heavy jobs did not end in 400 s" >&2; exit 1; }
        value=$(busy "$name"); ((value <= most)) || most=$value
        [[ $(metric "$name" cron_admission_closed) != 1 ]] || closed=$((closed + 1))
        value=$(metric "$name" cron_pressure_percent)
        pressure=$(awk -v a="$pressure" -v b="$value" 'BEGIN { print (b > a) ? b : a }')
        sleep 1
    done
    echo "the heavy jobs took $((SECONDS - began - 8)) s; at most $most of them at a time on $cores cores; admission closed in $closed of $((SECONDS - began)) looks"
    told cluster-heavy "$since"
    told cluster-quick "$since"
    p99=$(lateness cluster-quick "$since" | percentile 99) at_most=$most was_closed=$closed
    expect "each of the 50 was started once" is "$(started "$name")" -eq 50
    expect "the consumers never left their groups" is "$(($(generations "$name") - generation + $(generations quick) - of_quick))" -eq 0
}

say "without precautions: 50 workers, and every job starts at once"
play careless ''
careless_p99=$p99 careless_most=$at_most
finish careless

say "with precautions: the consumer has --pressure cpu=60,memory=10, and the jobs nice=19"
play careful nice=19 --pressure cpu=60,memory=10
grep -i -E 'overload|pressure|takes' "$work/careful.log" | sed -E 's/^[^ ]* *//' | plainly | head -n 8
expect "the quick cluster's jobs start within a second, 99 of 100" is "$p99" -lt 1000
expect "the consumer took nothing new for a while" is "$was_closed" -gt 0
expect "fewer ran at a time than without" is "$at_most" -lt "$careless_most"
opens() { is "$(metric careful cron_admission_closed)" -eq 0; }
await 90 "the consumer takes attempts again, by itself" opens
echo "quick jobs at p99: $careless_p99 ms without precautions, $p99 ms with them"

say "was every tick published, and run once?"
file
sleep 16
of_quick() { cronctl verify "$work/jobs.cron" --clusters cluster-quick --since "$(date -u -d "@$((EPOCHSECONDS - 10))" +%FT%TZ)" --until "$(date -u -d "@$((EPOCHSECONDS - 4))" +%FT%TZ)"; }
of_quick | head -n 1
expect "cronctl verify finds nothing wrong with the last ticks" of_quick
expect "no attempt was lost" is "$(metric producer cron_attempts_lost_total)" -eq 0
