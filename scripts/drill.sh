#!/usr/bin/env bash
# Fire drill: starts a broker, producers and consumers of three clusters as processes, with a real Prometheus and Alertmanager,
# the unchanged rules of conf/prometheus/rules/, and a mail catcher. It causes each symptom, and records which alert fires
# after how long, what the mail says, and that the alert ends. docs/experiments/alerts.md has the results.
#
#   scripts/drill.sh            all symptoms; 20 to 25 minutes, most of which are the rules' own windows
#   scripts/drill.sh --short    one: a job that fails, to the mail in the catcher; less than a minute
#
# These intervals are shorter than in production (see scripts/lib/monitoring.sh): scraping, evaluating, grouping, and the
# silence after which the dead man's switch sends its mail.
#
# Needs prometheus and prometheus-alertmanager (Debian's packages), python3, and libfaketime for the wrong clock.
# Environment and exit codes are those of scripts/lib/experiment.sh.
set -euo pipefail
case ${1:-} in
    '' | --short) short=${1:-} ;;
    *) echo "usage: scripts/drill.sh [--short]" >&2; exit 2 ;;
esac
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/experiment.sh"
# shellcheck source=scripts/lib/monitoring.sh
source scripts/lib/monitoring.sh

drill() { python3 "$root/scripts/lib/drill.py" "$@"; }
root=$PWD
now() { date +%s%3N; }
lease=(--lease 20s)
clusters=cluster-a,cluster-b,cluster-c

start_producer() { start "$1" producer jobs.cron --clusters "$clusters" "${lease[@]}"; }
start_consumer() { start "$1" consumer --topic "${1%-[0-9]}" --workers 4 "${lease[@]}"; }
start_all() {
    local name
    kafka_with_jmx
    brokers 1
    # A file decides what this job does: the job checks whether the file exists.
    jobs '* * * * * * cluster-a [name=tick-a] true' \
        '* * * * * * cluster-b [name=tick-b] true' \
        '*/2 * * * * * cluster-c [name=fill] while [ -e full ]; do sleep 1; done' \
        '*/5 * * * * * cluster-a [name=backup] test ! -e broken'
    for name in producer-1 producer-2; do start_producer "$name"; done
    for name in cluster-{a,b,c}-{1,2} cluster-{a,b,c}-retry; do start_consumer "$name"; done
    monitoring
    launch observer python3 "$root/scripts/lib/drill.py" observe "http://127.0.0.1:${ports[prometheus]}" "$work/alerts"
    await 60 "jobs run" is_above 3 cluster-a-1 cluster-a-2
}
is_above() { (($(started "$2") + $(started "$3") > $1)); }

# caused WHAT, undone WHAT: time counts from now on.
declare -A caused=() ended=()
caused() { caused[$1]=$(now); say "$1"; }
undone() { ended[$1]=$(now); say "undone: $1"; }
after() { awk -v from="$1" -v to="$2" 'BEGIN { s = (to - from) / 1000; if (s < 0) s = 0; printf s < 90 ? "%.0f s" : "%.1f min", s < 90 ? s : s / 60 }'; }

# within SECONDS COMMAND...: prints the command's output as soon as it succeeds.
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        ((SECONDS < until)) || return 1
        sleep 0.5
    done
}

# fires SECONDS WHAT ALERT LABEL: waits for the alert and its mail, and keeps the row for the table.
rows=()
fires() {
    local what=$2 alert=$3 label=$4 at mail
    if ! at=$(within "$1" drill when "$work/alerts" firing "$alert" "$label" "${caused[$what]}") ||
        ! mail=$(within 60 drill mail "$work/mails" "$alert" "$label" "${caused[$what]}"); then
        expect "$alert fires within $1 s, and is mailed within another minute: $what" false
        return
    fi
    rows+=("$what|$alert|$label|$(after "${caused[$what]}" "$at")|$(after "${caused[$what]}" "${mail%%$'\t'*}")|${mail#*$'\t'}")
    echo "$alert ($label) fired after $(after "${caused[$what]}" "$at"); the mail: ${mail#*$'\t'}"
    expect "the mail links to the playbook of $alert, which is there" links_to_playbook "$what" "$alert" "$label"
}
links_to_playbook() {
    local body
    body=$(drill body "$work/mails" "$2" "$3" "${caused[$1]}") && [[ $body == *"/playbooks/$2.md"* && -s docs/playbooks/$2.md ]]
}
# ends SECONDS: waits until each alert that fired has ended and a mail has said so.
ends() {
    local row what alert label at
    for row in "${rows[@]}"; do
        IFS='|' read -r what alert label _ <<<"$row"
        [[ -n ${ended[$what]:-} ]] || continue
        if at=$(within "$1" drill when "$work/alerts" over "$alert" "$label" "${ended[$what]}"); then
            table+=("$row|$(after "${ended[$what]}" "$at")")
        else
            table+=("$row|not within $1 s")
        fi
        expect "$alert ($label) is over: $(after "${ended[$what]}" "${at:-0}")" test -n "$at"
        expect "a mail says so" within 60 drill mail "$work/mails" "$alert" "$label" "${ended[$what]}" over
    done
    rows=()
}
table=()
print_table() {
    local row what alert label fired mailed subject over
    echo "| symptom | alert | fired after | mail after: its subject | over after |"
    echo "| --- | --- | --- | --- | --- |"
    for row in "${table[@]}"; do
        IFS='|' read -r what alert label fired mailed subject over <<<"$row"
        echo "| $what | \`$alert\`${label:+ ($label)} | $fired | $mailed: $subject | $over |"
    done | plainly
}

start_all
began=$(now)
if [[ -n $short ]]; then
    what="a job fails"
    caused "$what"
    touch "$work/broken"
    fires 40 "$what" RunsGivenUp topic=cluster-a
    exit 0
fi

say "Nothing is wrong, for a minute and a half after the start"
sleep 90
expect "no alert fires but the Watchdog; fired: $(drill others "$work/alerts" "$began" Watchdog)" \
    test -z "$(drill others "$work/alerts" "$began" Watchdog)"

faketime=$(compgen -G '/usr/lib/*/faketime/libfaketime.so.1' | head -n 1) || faketime=''
if [[ -n $faketime ]]; then
    caused "the clock of a producer is a minute ahead"
    LD_PRELOAD=$faketime FAKETIME=+60s FAKETIME_DONT_FAKE_MONOTONIC=1 start_producer producer-3
    targets
    await 30 "it has read the job file" answers "${ports[producer-3]}"
fi
caused "a job fails"
touch "$work/broken"
caused "the job file is broken"
cp "$work/jobs.cron" "$work/jobs.good"
echo '61 * * * * cluster-a never' >>"$work/jobs.cron"
caused "all workers of cluster-c are busy"
touch "$work/full"
caused "the consumers of cluster-b are stopped"
finish cluster-b-1
finish cluster-b-2
targets
caused "a consumer is frozen"
kill -STOP "${pids[cluster-a-2]}"
fires 60 "a job fails" RunsGivenUp topic=cluster-a
undone "a job fails"
rm "$work/broken"
fires 120 "the job file is broken" JobFileBad ''
undone "the job file is broken"
mv "$work/jobs.good" "$work/jobs.cron"
if [[ -n $faketime ]]; then
    fires 240 "the clock of a producer is a minute ahead" ClockOff ''
    undone "the clock of a producer is a minute ahead"
    finish producer-3
    targets
fi
fires 400 "the consumers of cluster-b are stopped" TopicNotFetched topic=cluster-b
fires 600 "the consumers of cluster-b are stopped" RunsNotHappening cluster=cluster-b
fires 600 "all workers of cluster-c are busy" WorkersFull topic=cluster-c
fires 600 "a consumer is frozen" ProcessGone job=consumer
undone "the consumers of cluster-b are stopped"
start_consumer cluster-b-1
start_consumer cluster-b-2
targets
undone "all workers of cluster-c are busy"
rm "$work/full"
undone "a consumer is frozen"
kill -CONT "${pids[cluster-a-2]}"

caused "the producers are stopped"
finish producer-1
finish producer-2
targets
fires 300 "the producers are stopped" NobodyLeads ''
undone "the producers are stopped"
start_producer producer-1
start_producer producer-2
targets

caused "the broker is killed"
broker_kill 1
fires 300 "the broker is killed" KafkaGone ''
undone "the broker is killed"
broker_start 1

say "Everything ends"
ends 1500

caused "Prometheus is killed"
crash prometheus
mail=$(within 300 drill mail "$work/mails" Watchdog silent "${caused["Prometheus is killed"]}") || mail=''
expect "the dead man's switch says so" test -n "$mail"
undone "Prometheus is killed"
start_prometheus
over=$(within 120 drill mail "$work/mails" Watchdog back "${ended["Prometheus is killed"]}") || over=''
expect "it says that it is over" test -n "$over"
table+=("Prometheus is killed|Watchdog||–|$(after "${caused["Prometheus is killed"]}" "${mail%%$'\t'*}")|${mail#*$'\t'}|$(after "${ended["Prometheus is killed"]}" "${over%%$'\t'*}")")

say "The table"
print_table
say "Others that fired"
drill others "$work/alerts" "$began" Watchdog RunsGivenUp JobFileBad ClockOff TopicNotFetched RunsNotHappening WorkersFull ProcessGone NobodyLeads KafkaGone
[[ -z ${DRILL_KEEP:-} ]] || cp -r "$work/alerts" "$work/mails" "$DRILL_KEEP/"
