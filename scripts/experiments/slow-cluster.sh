#!/usr/bin/env bash
# More long jobs than workers; then a cluster of their own for slow jobs, and rolling restarts of consumers and producers while
# they run. docs/experiments/long-jobs.md explains what is seen.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

# Sessions of 2 s (default 10 s) and leases of 6 s (60 s).
brokers 1 group.min.session.timeout.ms=500
limits=(--session-timeout 2s --lease 6s)
# A long job runs until a file is there. Each of its attempts leaves a line when it starts, when it gets TERM, and when it
# ends by itself.
{
    # shellcheck disable=SC2016 # expanded by the job's shell
    printf '%s\n' 'say() { echo "$1 $CRON_JOB $CRON_ATTEMPT $(date +%s.%N)" >>record; }' "trap 'say term; exit 143' TERM" \
        'say start; until [ -e "$1" ]; do sleep 0.3; done; say end'
} >"$work/long.sh"
count() { if [[ -e $work/record ]]; then grep -c "^$1 $2" "$work/record" || true; else echo 0; fi; }
# once SECONDS CLUSTER NAME OPTIONS COMMAND: a line of the job file that is due once, in so many seconds.
once() {
    local from
    from=$(date -u -d "@$((EPOCHSECONDS + $1))" +%FT%TZ)
    echo "* * * * * * $2 [name=$3 from=$from until=${from%Z}.5Z $4] $5"
}
ticks=('* * * * * * cluster-a [name=tick-a] true' '* * * * * * cluster-b [name=tick-b] true')
# file LINE...: replaces the job file. The old ones are kept with the instant at which they came: each tick belongs to one file.
came=()
file() {
    printf '%s\n' "${ticks[@]}" "$@" >"$work/jobs-${#came[@]}"
    cp "$work/jobs-${#came[@]}" "$work/jobs.new"
    mv "$work/jobs.new" "$work/jobs.cron"
    came+=("$EPOCHSECONDS")
}
start_producer() { start "$1" producer jobs.cron --clusters cluster-a,cluster-b,cluster-slow --session-timeout 2s --lease 6s; }
consume() { start "$1" consumer --topic "$2" "${limits[@]}" "${@:3}"; }
# A job's worst lateness in milliseconds since a time, and how many of its runs have started since.
lateness() { cronctl runs --job "$1" --clusters "${1/tick/cluster}" --since "$2" --json | sed -n 's/.*"lateness_ms":\(-\?[0-9]*\).*/\1/p' | sort -n; }
told() { echo "$1: $(lateness "$1" "$2" | wc -l) ticks started, the latest $(lateness "$1" "$2" | tail -n 1) ms after its instant"; }
generations() { grep -c generation "$work/$1.log"; }
now() { date -u +%FT%TZ; }
# Prometheus with the rules as they are, except that WorkersFull waits for 10 s instead of 5 min.
start_prometheus() {
    mkdir -p "$work/rules"
    cp conf/prometheus/rules/*.yml "$work/rules"
    sed -i '/alert: WorkersFull/,/for:/s/for: 5m/for: 10s/' "$work/rules/alerts.yml"
    ports[prometheus]=$(free_port)
    {
        sed -e '/^alerting:/,$d' -e "s/_interval: 15s/_interval: 1s/; s/_timeout: 10s/_timeout: 1s/; s#rules/\*#$work/&#" conf/prometheus/prometheus.yml
        echo "scrape_configs: [{ job_name: consumer, honor_labels: true, static_configs: [{ targets:" \
            "['127.0.0.1:${ports[consumer-a]}', '127.0.0.1:${ports[consumer-b]}'] }] }]"
    } >"$work/prometheus.yml"
    setpriv --pdeathsig KILL prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
        --web.listen-address="127.0.0.1:${ports[prometheus]}" >"$work/prometheus.log" 2>&1 &
    pids[prometheus]=$!
}
alerts() {
    curl -fsS "http://127.0.0.1:${ports[prometheus]}/api/v1/alerts" | python3 -c '
import json, sys
for each in json.load(sys.stdin)["data"]["alerts"]:
    of = each["labels"]
    if each["state"] == "firing" and "topic" in of:
        print(of["alertname"], "for", of["topic"])' | sort -u
}
fires() { alerts | grep -qx "$1"; }

file
consume consumer-a cluster-a --workers 2
consume consumer-a-retry cluster-a-retry --workers 2
consume consumer-b cluster-b --workers 2
for each in producer-1 producer-2; do start_producer "$each"; done
flows() { is "$(started consumer-a)" -ge 3 && is "$(started consumer-b)" -ge 3; }
await 90 "ticks run" flows
! has prometheus || start_prometheus

say "five long jobs and two workers, in one cluster"
long=()
for each in 1 2 3 4 5; do long+=("$(once 8 cluster-a "report-$each" '' 'exec sh ./long.sh reports-may-end')"); done
file "${long[@]}" "$(once 6 cluster-a fails-once 'retries=1 backoff=3s' "test \"\$CRON_ATTEMPT\" -gt 1")"
two_run() { is "$(count start report)" -eq 2; }
await 30 "two long jobs run" two_run
before=$(started consumer-a) since=$(now) generation=$(generations consumer-a)
sleep 12
echo "long jobs: $(count start report) started, $(count end report) ended; workers: $(metric consumer-a cron_workers_busy) of 2 busy"
echo "cluster-a: $(($(started consumer-a) - before)) attempts started in 12 s; messages that wait: $(metric consumer-a cron_lag_messages)"
echo "cluster-b: $(told tick-b "$since")"
show cronctl runs --job fails-once --clusters cluster-a
expect "two of the five run" is "$(count start report)" -eq 2
expect "all else of that cluster waits, the other three among it" is "$(started consumer-a)" -eq "$before"
expect "a retry does not wait: its topic has consumers of its own" is "$(started consumer-a-retry)" -eq 1
expect "the other cluster does not wait" is "$(lateness tick-b "$since" | tail -n 1)" -lt 5000
expect "the consumer stays in its group" is "$(generations consumer-a)" -eq "$generation"
if has prometheus; then
    await 30 "an alert fires" fires "WorkersFull for cluster-a"
    echo "alerts on topics that fire: $(alerts | paste -s -d ,)"
    ! fires "WorkersFull for cluster-b" && silent=yes || silent=''
    expect "WorkersFull tells of cluster-a, and not of cluster-b" test "$silent"
fi
touch "$work/reports-may-end"
all_end() { is "$(count end "$1")" -eq "$2"; }
await 120 "all five have ended" all_end report 5
caught_up() { is "$(metric consumer-a cron_lag_messages)" -le 1; }
await 30 "what waited has run" caught_up
echo "after that: $(told tick-a "$since")"
expect "each was started once" is "$(count start report)" -eq 5

say "a cluster of their own, with consumers of its own"
consume slow-1 cluster-slow --workers 3
consume slow-2 cluster-slow --workers 3
shares_two() { logged slow-1 generation && logged slow-2 generation; }
await 30 "both have a share" shares_two
long=()
for each in 1 2 3 4 5 6; do long+=("$(once 6 cluster-slow "export-$each" '' 'exec sh ./long.sh exports-may-end')"); done
file "${long[@]}"
some_run() { is "$(count start export)" -ge 4; }
await 30 "long jobs run" some_run
since=$(now)
sleep 6
echo "long jobs: $(count start export) started, $(count end export) ended, on two consumers with three workers each"
told tick-a "$since"
told tick-b "$since"
expect "the ticks of cluster-a run beside them, and do not wait for them" is "$(lateness tick-a "$since" | tail -n 1)" -lt 5000

say "rolling restart of the consumers and of the producers, while they run"
running=$(($(count start export) - $(count end export)))
consume slow-3 cluster-slow --workers 6 --drain 5s
ask_to_end slow-1
consume slow-4 cluster-slow --workers 6 --drain 5s
ask_to_end slow-2
one_leads() { leads "$1" || leads "$2"; }
start_producer producer-3
finish producer-1
await 30 "one of the others leads" one_leads producer-2 producer-3
start_producer producer-4
finish producer-2
await 30 "one of the others leads" one_leads producer-3 producer-4
echo "the producers are new; $((running)) long jobs ran when that began, and $(count end export) have ended; slow-1 and slow-2 wait for theirs"
expect "the old consumers are still there" started_at "${pids[slow-1]}"
touch "$work/exports-may-end"
both_ended() { ended slow-1 && ended slow-2; }
await 90 "the old consumers have ended" both_ended
await 60 "all six have ended" all_end export 6
echo "the old consumers are gone; long jobs: $(count start export) started, $(count end export) ended, $(count term export) got TERM"
expect "each was started once and ended by itself" is "$(count start export)$(count end export)$(count term export)" -eq 660
lost() { echo $(($(metric producer-3 cron_attempts_lost_total) + $(metric producer-4 cron_attempts_lost_total))); }
expect "none was lost" is "$(lost)" -eq 0

say "a rolling restart that waits for 5 s: --drain 5s"
consume slow-retry cluster-slow-retry --workers 6
long=()
for each in 1 2 3 4; do
    long+=("$(once 6 cluster-slow "import-$each" 'retries=1 backoff=1s' "test \"\$CRON_ATTEMPT\" -gt 1 && exec sh ./long.sh exports-may-end; exec sh ./long.sh never")")
done
file "${long[@]}"
four_run() { is "$(count start import)" -eq 4; }
await 30 "the long jobs run" four_run
consume slow-5 cluster-slow --workers 6
asked=$(date +%s.%N)
ask_to_end slow-3
ask_to_end slow-4
again() { is "$(count end import)" -eq 4; }
await 60 "each has run again" again
sed -n "s/^\([a-z]*\) \(import-[0-9]\) \([0-9]\) \(.*\)/\4 \3 \2 \1/p" "$work/record" | sort -n | awk -v asked="$asked" '
    { printf "%+6.1f s  attempt %s of %s: %s\n", $1 - asked, $2, $3, $4 }'
first_term() { awk '/^term import/ { print int($4 - asked) }' asked="$asked" "$work/record" | sort -n | head -n 1; }
expect "no job got TERM before the drain was over" is "$(first_term)" -ge 5
doubled() { awk '/^start/ { print $2, $3 }' "$work/record" | sort | uniq -d | wc -l; }
expect "no attempt was started twice, in this whole experiment" is "$(doubled)" -eq 0
expect "each job ran in two attempts" is "$(count start import)" -eq 8
both_gone() { ended slow-3 && ended slow-4; }
await 30 "the old consumers have ended" both_gone
expect "none was lost: what is cancelled is passed on, and not found after a lease" is "$(lost)" -eq 0

say "was every tick published, and run once?"
sleep 8
came+=($((EPOCHSECONDS - 6)))
# verified N: the ticks of the Nth file, from when it was surely active until the next one came.
verified() {
    cronctl verify "$work/jobs-$1" --clusters cluster-a,cluster-b,cluster-slow --since "$(date -u -d "@$((came[$1] + 4))" +%FT%TZ)" \
        --until "$(date -u -d "@$((came[$1 + 1] - 1))" +%FT%TZ)"
}
for each in 1 2 3; do
    verified "$each" | sed -n '1p;$p' || true
    expect "cronctl verify finds nothing wrong while that file was active" verified "$each"
done
