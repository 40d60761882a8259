#!/usr/bin/env bash
# A cluster moves from one Kafka to another while its jobs are due each second: at an instant T, without copying a topic.
# docs/migration.md is the procedure; it shows what this script prints.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"
# shellcheck source=scripts/lib/sites.sh
source scripts/lib/sites.sh

# file SITE OPTIONS
file() {
    jobs "* * * * * *  cluster-a  [name=tick $2]                      $record" \
        "* * * * * *  cluster-a  [name=flaky $2 retries=1 backoff=8s] $record; test \"\$CRON_ATTEMPT\" -gt 1"
    cp "$work/jobs.cron" "$work/$1.cron"
    # Where a producer runs, its file is replaced.
    [[ ! -e $work/$1/jobs.cron ]] || mv "$work/jobs.cron" "$work/$1/jobs.cron"
}
site a
site b

say "the old Kafka, a, works; T is agreed, in both files"
began=$((EPOCHSECONDS + 4))
file a "from=$(instant "$began")"
start_producer a
start_consumers a
runs() { is "$(ran a flaky)" -ge 16; }
await 90 "jobs run" runs
T=$((EPOCHSECONDS + 12))
file a "from=$(instant "$began") until=$(instant "$T")"
file b "from=$(instant "$T")"
show cat "$work/b.cron"
start_producer b
start_consumers b
await 30 "the new producer leads" leads producer-b
await 10 "the changed file is active at a" grep -q "of the job file is active" "$work/a/producer-a.log"
expect "both sides know T before it comes" is "$EPOCHSECONDS" -lt "$T"
expect "the new side has run nothing" is "$(ran b tick)" -eq 0

say "T passes; the old side drains: its retries belong to it"
new_runs() { is "$(ran b flaky)" -ge 50; }
await 60 "the new side runs jobs" new_runs
show at a kafka-consumer-groups --describe --group cluster-a-retry
drained() { is "$(at a kafka-consumer-groups --describe --group cluster-a-retry 2>/dev/null | awk '$2 == "cluster-a-retry" { lag += $6 } END { print lag + 0 }')" -eq 0; }
expect "nothing waits at the old side any more" drained
finish producer-a
finish cluster-a-a
finish cluster-a-retry-a
until=$((EPOCHSECONDS - 14))

say "the ledger, which the jobs themselves wrote"
awk '{ print $1 }' "$work/ledger" | sort | uniq -c
for job in tick flaky; do
    for ((second = began; second < until; second++)); do
        site=a
        ((second < T)) || site=b
        echo "$site $job $(instant "$second") 1"
        [[ $job == tick ]] || echo "$site $job $(instant "$second") 2"
    done
done | sort >"$work/expected"
awk -v until="$(instant "$until")" '$3 < until { print $1, $2, $3, $4 }' "$work/ledger" | sort >"$work/run"
echo "attempts due $(wc -l <"$work/expected"), started $(wc -l <"$work/run")"
expect "each attempt was started once, before T at the old side and from T on at the new one" cmp "$work/expected" "$work/run"
verify=(cronctl verify --clusters cluster-a)
show at a "${verify[@]}" "$work/a.cron" --since "$(instant "$((T - 5))")" --until "$(instant "$((T - 1))")"
expect "the old side accounts for every tick before T" at a "${verify[@]}" "$work/a.cron" --since "$(instant "$((T - 5))")" --until "$(instant "$((T - 1))")"
show at b "${verify[@]}" "$work/b.cron" --since "$(instant "$T")" --until "$(instant "$until")"
expect "the new side for every tick from T on" at b "${verify[@]}" "$work/b.cron" --since "$(instant "$T")" --until "$(instant "$until")"
