#!/usr/bin/env bash
# An installation is upgraded and downgraded while jobs are due each second: programs of a version before and of this one work
# side by side, and each is exchanged alone. Is a tick lost, or run twice? docs/experiments/upgrade.md explains what is seen.
#
# Environment, besides that of scripts/lib/experiment.sh: KAFKA_CRON_BEFORE_DIR has the programs of the version before. Without
# it, they are built from the commit KAFKA_CRON_BEFORE (1ca99f0 by default) of this repository, once, and kept beside Kafka's jars.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"
need python3

# Builds the programs of a commit, and prints the directory in which they are.
build_before() {
    local commit=$1 kept source
    commit=$(git rev-parse --verify --quiet "$commit^{commit}") || {
        echo "this repository has no commit $1; KAFKA_CRON_BEFORE names another, KAFKA_CRON_BEFORE_DIR built programs" >&2
        return 4
    }
    kept=${KAFKA_CRON_RUN_DIR:-.run}/versions/$commit source=$work/before
    if [[ ! -x $kept/cronctl ]]; then
        need cargo cc git >&2
        mkdir -p "$kept" "$source"
        git archive "$commit" | tar -x -C "$source"
        (cd "$source" && CARGO_TARGET_DIR=$source/target cargo build --locked --quiet --bins) >&2 ||
            { echo "the build of $commit failed" >&2; return 1; }
        # cronctl comes last: where it is, all are.
        cp "$source"/target/debug/{producer,consumer} "$kept" && cp "$source/target/debug/cronctl" "$kept" || return 4
        rm -rf "$source"
    fi
    (cd "$kept" && pwd)
}
before=${KAFKA_CRON_BEFORE_DIR:-}
[[ -n $before ]] || before=$(build_before "${KAFKA_CRON_BEFORE:-1ca99f0}") || exit $?
has_programs "$before" || { echo "there are no producer, consumer and cronctl in $before (KAFKA_CRON_BEFORE_DIR)" >&2; exit 4; }
before=$(cd "$before" && pwd)
declare -A dirs=([old]=$before [new]=$bin) version=() # of each program that runs
old-cronctl() { "$before/cronctl" "$@"; }
of() { local bin=${dirs[$1]}; shift; "$@"; }

# run VERSION NAME: starts that program. The consumers of the retry topic are static members, as in a StatefulSet.
run() {
    local name=$2 extra=()
    version[$name]=$1
    case $name in
        producer-*) of "$1" start "$name" producer jobs.cron --clusters cluster-a --session-timeout 2s --lease 10s ;;
        *)
            [[ $name != *retry* ]] || extra=(--instance-id "$name")
            of "$1" start "$name" consumer --topic "${name%-*}" --workers 4 --session-timeout 2s --lease 10s "${extra[@]}" ;;
    esac
}
starts() { if [[ -e $work/ledger ]]; then grep -c "^$1 " "$work/ledger" || true; else echo 0; fi; }
works() { case $1 in producer-*) leads producer-1 || leads producer-2 ;; *) logged "$1" 'generation' ;; esac; }
is_ready() { curl -fsS "http://127.0.0.1:${ports[$1]}/readyz"; }
leader() { local each; for each in producer-1 producer-2; do ! leads "$each" || echo "$each"; done; }
standby() { if leads producer-1; then echo producer-2; else echo producer-1; fi; }
# exchange VERSION NAME [HOW]: ends a program (`finish`, or `crash`: kill -9), and starts the other version in its place.
exchange() {
    local was=${version[$2]} role='' line
    [[ $2 != producer-* ]] || { if leads "$2"; then role=', which leads'; else role=', which stands by'; fi; }
    "${3:-finish}" "$2"
    # The other one is to take over, and not the one that is about to start.
    [[ ${3:-} != crash ]] || await 30 "the other producer leads" leads "producer-$((3 - ${2#producer-}))"
    run "$1" "$2"
    await 60 "$2 is ready" is_ready "$2"
    await 30 "a producer leads" works producer-1
    sleep 3
    printf -v line '%-18s %s -> %s%s%s' "$2" "$was" "$1" "$([[ ${3:-} != crash ]] || echo ', kill -9')" "$role"
    printf '%-58s now %s lead%s, %s consume\n' "$line" "${version[$(leader)]}" s "$(mix)"
}
# The versions of the consumers, as 3 old + 1 new.
mix() {
    local each old=0 new=0
    for each in cluster-a-1 cluster-a-2 cluster-a-retry-1 cluster-a-retry-2; do [[ ${version[$each]} == old ]] && old=$((old + 1)) || new=$((new + 1)); done
    echo "$old old + $new new"
}
instant() { date -u -d "@$1.5" +%FT%T.%3NZ; }

# Sessions of 2 s (6 and 10 s by default) and leases of 10 s (60 s).
brokers 1 group.min.session.timeout.ms=500
record="echo \"\$CRON_JOB \$CRON_SCHEDULED_AT \$CRON_RUN_ID \$CRON_ATTEMPT \$(date +%s.%N)\" >>ledger"
jobs "* * * * * *   cluster-a  [name=tick]                      $record" \
    "* * * * * *   cluster-a  [name=flaky retries=2 backoff=2s] $record; test \"\$CRON_ATTEMPT\" -gt 1" \
    "*/8 * * * * * cluster-a  [name=long overlap=skip]          $record; sleep 6; echo \"\$CRON_SCHEDULED_AT\" >>ends"
say "two producers and four consumers of the version before"
show cat "$work/jobs.cron"
for each in producer-1 producer-2 cluster-a-1 cluster-a-2 cluster-a-retry-1 cluster-a-retry-2; do run old "$each"; done
for each in producer-1 cluster-a-1 cluster-a-2 cluster-a-retry-1 cluster-a-retry-2; do await 60 "$each works" works "$each"; done
some_run() { is "$(starts tick)" -ge 6 && is "$(starts flaky)" -ge 8; }
await 60 "jobs run" some_run
from=$EPOCHSECONDS
sleep 4
echo "$(leader) leads"

say "upgrade: consumers, then the standby, then the leader"
for each in cluster-a-1 cluster-a-2 cluster-a-retry-1 cluster-a-retry-2; do exchange new "$each"; done
exchange new "$(standby)"
exchange new "$(leader)"
sleep 6
expect "all are new" test "$(printf '%s\n' "${version[@]}" | sort -u)" = new

say "downgrade: the other way round"
exchange old "$(standby)"
exchange old "$(leader)"
for each in cluster-a-retry-1 cluster-a-retry-2 cluster-a-1 cluster-a-2; do exchange old "$each"; done
expect "all are old" test "$(printf '%s\n' "${version[@]}" | sort -u)" = old

say "upgrade again, in the wrong order and with kill -9"
exchange new "$(standby)"
exchange new "$(leader)" crash
expect "the standby that took over is new" test "${version[$(leader)]}" = new
exchange old "$(standby)"
exchange new "$(leader)" crash
expect "the standby that took over from a new leader is old" test "${version[$(leader)]}" = old
exchange new "$(leader)"
for each in cluster-a-1 cluster-a-2 cluster-a-retry-1 cluster-a-retry-2; do exchange new "$each"; done

say "what the version before does with what only the new one knows"
printf '%s\n' '0 3 * * * cluster-a [name=report memory=200M] /opt/report' >"$work/newer.cron"
newer_file_is_refused() { ! old-cronctl check "$work/newer.cron"; }
show old-cronctl check "$work/newer.cron"
expect "it refuses the file" newer_file_is_refused

say "the ledger, which the jobs themselves wrote, and what Kafka says"
sleep 4
until=$EPOCHSECONDS
chaos() { python3 scripts/lib/chaos.py "$@"; }
all_run() { [[ $(chaos left "$work" "$from" "$until" tick flaky) == 0 ]]; }
await 60 "all is run" all_run
sleep 8
verify=(verify "$work/jobs.cron" --clusters cluster-a --since "$(instant "$from")" --until "$(instant "$until")")
cronctl "${verify[@]}" --json >"$work/verdict" || true
touch "$work/beats"
printf '%-17s %9s %5s %5s %7s %6s %8s  %s\n' '' published run lost doubled again latest verify
row_is_right() { chaos row "up, down, up" "$work" "$from" "$until" tick flaky | tee "$work/row"; }
if row_is_right; then right=yes; else right=''; fi
expect "no run is lost, and no attempt is started twice" test "$right"
expect "no attempt is tried again beyond what the jobs ask for" is "$(awk 'NR == 1 { print $(NF - 2) }' "$work/row")" -eq 0
ended_long() { wc -l <"$work/ends"; }
twice() { awk '$1 == "long" { print $2, $4 }' "$work/ledger" | sort | uniq -d | wc -l; }
echo "long: $(starts long) runs started, $(ended_long) ended"
expect "each long run that was started ended by itself, but for one that may run now" is "$(($(starts long) - $(ended_long)))" -le 1
expect "none was started twice" is "$(twice)" -eq 0
show cronctl "${verify[@]}"
expect "the new cronctl accounts for every tick" cronctl "${verify[@]}"
expect "the old cronctl does so as well" old-cronctl "${verify[@]}"
