#!/usr/bin/env bash
# A running system with one topic for all jobs is moved to one topic per cluster at an instant, and back: no tick is lost
# and none is run twice. docs/migration.md is the procedure, step by step, with the reasons.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"
# shellcheck source=scripts/experiments/old-system.sh
source scripts/experiments/old-system.sh

instant() { date -u -d "@$1" +%FT%TZ; }
# new_jobs OPTIONS: the same jobs for the new system, each with its cluster.
new_jobs() {
    # shellcheck disable=SC2016 # expanded by the jobs' shell
    local command='echo new $CRON_JOB $CRON_SCHEDULED_AT >> '$work/ledger
    jobs "*/2 * * * * *  cluster-a  [name=invoices $1]  $command" \
        "*/2 * * * * *  cluster-a  [name=reports $1]   $command" \
        "*/2 * * * * *  cluster-b  [name=cleanup $1]   $command"
}
ran() { grep -c "^$1 " "$work/ledger" 2>/dev/null; }
has_run() { (($(ran "$1") >= $2)); }
is_past() { (($(date +%s) >= $1)); }
# The sum of what the old consumers have not read.
old_lag() { kafka-consumer-groups --group old-workers --describe 2>/dev/null | awk '$2 == "jobs" { lag += $6 } END { print lag + 0 }'; }
old_is_drained() { [[ $(old_lag) == 0 ]]; }
start_old_consumers() {
    for number in 1 2; do
        old_consumer & pids[old-consumer-$number]=$!
    done
}
# TERM to the console consumers, which are the children of one side of each pipe; the loops behind it end with them.
stop_old_consumers() {
    for number in 1 2; do
        pkill -TERM -P "$(pgrep -d , -P "${pids[old-consumer-$number]}")" java
        wait "${pids[old-consumer-$number]}" || true
        unset "pids[old-consumer-$number]"
    done
}
# count FROM UNTIL: holds the ledger against every tick of every job from one second to another.
count() {
    local second job
    for job in "${old_jobs[@]}"; do
        for ((second = $1; second < $2; second += old_period)); do echo "$job $(instant "$second")"; done
    done | sort >"$work/expected"
    cut -d ' ' -f 2- "$work/ledger" | sort >"$work/run"
    sort -u "$work/run" >"$work/run-once"
    echo "ticks $(wc -l <"$work/expected"), run $(wc -l <"$work/run"), of them by the old system $(ran old), by the new one $(ran new)"
    expect "no tick is lost" test -z "$(comm -23 "$work/expected" "$work/run-once")"
    expect "none is run twice" cmp -s "$work/run" "$work/run-once"
    expect "none is run that is not due" test -z "$(comm -13 "$work/expected" "$work/run-once")"
}
# who FROM UNTIL SYSTEM: whether all that was due between was run by that system.
who() { awk -v from="$(instant "$1")" -v until="$(instant "$2")" '$3 >= from && $3 < until { print $1 }' "$work/ledger" | sort -u | grep -qx "$3"; }

brokers 1
kafka-topics --create --topic jobs --partitions 2 >/dev/null
clusters=(--clusters "cluster-a,cluster-b")

say "the old system runs"
start_old_consumers
began=$(($(date +%s) / 2 * 2 + 2))
old_producer "$began" & pids[old-producer]=$!
await 60 "the old system runs jobs" has_run old 9
echo "$(ran old) runs of the topic jobs"

say "the new one is set up beside it, with an instant T that lies ahead"
cut_over=$((($(date +%s) + 30) / 2 * 2))
new_jobs "from=$(instant "$cut_over")"
show cat "$work/jobs.cron"
for topic in cluster-a cluster-b cluster-a-retry cluster-b-retry; do start "$topic" consumer --topic "$topic" --workers 2; done
start producer producer jobs.cron "${clusters[@]}"
await 30 "the new producer leads" leads producer
for topic in cluster-a cluster-b; do await 30 "$topic is consumed" test -n "$(share "$topic")"; done

say "the old producer is told to end at T"
echo "$cut_over" >"$work/old-until"
expect "both sides know T before it comes" test "$(date +%s)" -lt "$cut_over"
expect "the new system has run nothing" test "$(ran new)" -eq 0
wait "${pids[old-producer]}" || true
unset "pids[old-producer]"
show cat "$work/old-producer.log"
await 30 "the new system runs jobs" has_run new 9

say "what the old consumers have not read is read; then they are stopped"
await 30 "the topic jobs is drained" old_is_drained
echo "lag of old-workers: $(old_lag)"
stop_old_consumers
show cat "$work/ledger" | awk -v from="$(instant $((cut_over - 2)))" -v until="$(instant $((cut_over + 4)))" '$3 >= from && $3 < until'

say "back again, at an instant T2"
back=$((($(date +%s) + 30) / 2 * 2))
cp "$work/jobs.cron" "$work/jobs-from-T.cron" # verify needs the file that was active
first_file_until=$(instant "$(date +%s)")
sed -i "s/from=[^ ]*Z/& until=$(instant "$back")/" "$work/jobs.cron"
await 10 "the changed file is active" logged producer "of the job file is active"
second_file_since=$(instant $(($(date +%s) + 1)))
rm "$work/old-until"
start_old_consumers
old_producer "$back" & pids[old-producer]=$!
expect "both sides know T2 before it comes" test "$(date +%s)" -lt "$back"
await 60 "T2 is past" is_past $((back + 10))
before=$(ran old)
await 30 "the old system runs jobs again" has_run old $((before + 3))

say "everything is ended"
ended=$((($(date +%s) + 4) / 2 * 2))
echo "$ended" >"$work/old-until"
wait "${pids[old-producer]}" || true
unset "pids[old-producer]"
await 30 "the topic jobs is drained" old_is_drained
stop_old_consumers
finish producer

say "the ledger, which the jobs themselves wrote"
count "$began" "$ended"
expect "before T the old system ran them" who "$began" "$cut_over" old
expect "from T to T2 the new one" who "$cut_over" "$back" new
expect "and then the old one again" who "$back" "$ended" old
verify() { cronctl verify "$work/$1" "${clusters[@]}" --since "$2" --until "$3"; }
expect "the new system accounts for every tick of its first file" verify jobs-from-T.cron "$(instant "$cut_over")" "$first_file_until"
expect "and for every tick of its second" verify jobs.cron "$second_file_since" "$(instant "$back")"
show verify jobs.cron "$second_file_since" "$(instant "$back")"
