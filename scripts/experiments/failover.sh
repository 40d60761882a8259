#!/usr/bin/env bash
# Two sites, each with a Kafka of its own. MirrorMaker 2 copies the topics of site A to site B. Site A dies as a whole, the copy is
# some seconds old, and site B goes on with what it has. What is lost, what runs twice, and why?
# docs/experiments/failover.md has the steps that an operator follows, and explains what is seen.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"
# shellcheck source=scripts/lib/sites.sh
source scripts/lib/sites.sh
mirror=$(scripts/kafka-fetch.sh --mirror)

decision=15 # seconds until the operator begins
start_mirror() {
    cat >"$work/mirror.properties" <<MM
clusters = a, b
a.bootstrap.servers = ${kafkas[a]}
b.bootstrap.servers = ${kafkas[b]}
a->b.enabled = true
replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy
topics = cluster-.*, cron-runs
groups = cluster-.*
config.properties.exclude = follower\\.replication\\.throttled\\.replicas, leader\\.replication\\.throttled\\.replicas
sync.topic.acls.enabled = false
sync.group.offsets.enabled = true
offset.lag.max = 0
b.exactly.once.source.support = enabled
dedicated.mode.enable.internal.rest = true
listeners = http://127.0.0.1:$(free_port)
emit.heartbeats.enabled = false
emit.checkpoints.interval.seconds = 1
sync.group.offsets.interval.seconds = 1
refresh.topics.interval.seconds = 2
refresh.groups.interval.seconds = 2
replication.factor = 1
MM
    for each in checkpoints offset-syncs heartbeats; do echo "$each.topic.replication.factor = 1"; done >>"$work/mirror.properties"
    for each in config offset status; do echo "$each.storage.replication.factor = 1"; done >>"$work/mirror.properties"
    setpriv --pdeathsig KILL java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        -cp "$mirror/*" org.apache.kafka.connect.mirror.MirrorMaker "$work/mirror.properties" --clusters b >"$work/mirror.log" 2>&1 &
    pids[mirror]=$!
}
kill_mirror() { { kill -KILL "${pids[mirror]}"; wait "${pids[mirror]}"; } 2>/dev/null || true; unset 'pids[mirror]'; }
# The file of site A; for site B, `once` has from=T.
job_file() {
    local long
    long="from=$(instant "$long_at") until=$(date -u -d "@$long_at.5" +%FT%T.%3NZ)"
    jobs "* * * * * *    cluster-a [name=tick from=$(instant "$began")] $record" \
        "* * * * * *    cluster-a [name=once from=$(instant "${1:-$began}")] $record" \
        "* * * * * *    cluster-a [name=flaky from=$(instant "$began") retries=1 backoff=10s] $record; test \"\$CRON_ATTEMPT\" -gt 1" \
        "*/5 * * * * *  cluster-a [name=slow from=$(instant "$began") retries=1 backoff=40s] $record; test \"\$CRON_ATTEMPT\" -gt 1" \
        "* * * * * *    cluster-a [name=long-0 $long] $record; sleep 300" \
        "* * * * * *    cluster-a [name=long-1 $long retries=1 backoff=1s] $record; test \"\$CRON_ATTEMPT\" -gt 1 || sleep 300"
}
# What the ledger says of the ticks of a time: never run to the end, started twice.
count() {
    TZ=UTC awk -v from="$1" -v until="$2" '
        function due(at) { gsub(/[-T:Z]/, " ", at); return mktime(at) }
        { at = due($3); if (at < from || at >= until) next
          seen[$2, at] = 1; starts[$2, at, $4]++; if ($4 > top[$2, at]) top[$2, at] = $4 }
        END {
            split("tick once flaky slow", jobs, " ")
            for (j = 1; j <= 4; j++) {
                job = jobs[j]; ticks = lost = first = second = 0
                for (at = from; at < until; at++) {
                    if (job == "slow" && at % 5) continue
                    ticks++
                    lost += top[job, at] < (j > 2 ? 2 : 1)
                    first += starts[job, at, 1] > 1
                    second += starts[job, at, 2] > 1
                }
                printf "%-6s %6d %10d %15d %15d\n", job, ticks, lost, first, second
            }
        }' "$work/ledger" >"$work/count"
    printf '%-6s %6s %10s %15s %15s\n' job ticks 'not done' '1st attempt' '2nd attempt'
    printf '%-6s %6s %10s %15s %15s\n' '' '' '' twice twice
    cat "$work/count"
}
# counted JOB COLUMN: of the last count; 3 is what was not done, 4 and 5 what was started twice.
counted() { awk -v job="$1" -v column="$2" '$1 == job { print $column }' "$work/count"; }
# What the groups of site B have committed, as Kafka wrote it down.
texts() {
    local partition
    for partition in "$work"/broker-b/log/__consumer_offsets-*; do
        kafka-dump-log --offsets-decoder --files "$partition/00000000000000000000.log"
    done | sed -n 's/.*"group":"\(cluster-a[a-z-]*\)".*"partition":\([0-9]\)}}.*"offset":\([0-9]*\),.*"metadata":"\([^"]*\)".*/\1 \2: \3 \4/p' |
        awk -F : '{ last[$1] = $0 } END { for (each in last) print last[each] }' | sort
}
# The topics that texts name.
named() { grep -o ' 1;[0-9a-f-]*;'; }
names_b() { is "$(named <"$work/texts" | wc -l)" -eq 4 && ! named <"$work/texts" | grep -qFf <(named <<<"$synced"); }
same_plan() { diff <(grep '^cluster-a' "$work/planned") <(grep '^cluster-a' "$work/committed"); }
topic_id() { at "$1" kafka-topics --describe --topic "$2" | sed -n 's/.*TopicId: \([^ \t]*\).*/\1/p'; }

say "site A works, and MirrorMaker copies its topics to site B"
site a
site b
began=$((EPOCHSECONDS + 5)) long_at=$((EPOCHSECONDS + 50))
job_file
cp "$work/jobs.cron" "$work/a.cron"
show cat "$work/a.cron"
start_producer a
start_consumers a
start_mirror
copied() { at b kafka-topics --describe --topic cluster-a-dead && is "$(at b kafka-get-offsets --topic cron-runs | awk -F: '{ n += $3 } END { print n + 0 }')" -gt 50; }
await 90 "the topics are copied" copied
long_run() { is "$(ran a long-0)" -eq 1 && is "$(ran a long-1)" -eq 1; }
await 90 "the long jobs run" long_run
sleep 12
show at b kafka-consumer-groups --describe --group cluster-a
synced=$(texts)
printf '%s\n' "$synced"
expect "a copied topic is another topic: its id is not that of the original" \
    test "$(topic_id a cluster-a)" != "$(topic_id b cluster-a)"
expect "the text beside a copied offset names the topic of site A" grep -q "^cluster-a 0: [0-9]* 1;" <<<"$synced"
expect "the cursors are not copied" test -z "$(at b kafka-consumer-groups --describe --group cron-leader 2>/dev/null | grep cluster)"

say "the copy falls behind, and site A dies"
kill -STOP "${pids[mirror]}"
behind_since=$EPOCHSECONDS
sleep 3
crash cluster-a-a
sleep 2
scripts/kafka-broker.sh stop --now --data "$work/broker-a" >/dev/null
crash producer-a
crash cluster-a-retry-a
kill_mirror
T=$((EPOCHSECONDS + 1))
echo "the copy is that of $(instant "$behind_since"), consumers of A died two seconds before its broker; T is $(instant "$T")"
sleep "$decision"

say "the steps at site B"
job_file "$T"
cp "$work/jobs.cron" "$work/b.cron"
show grep once "$work/b.cron"
at b cronctl offsets --clusters cluster-a >"$work/planned"
show at b cronctl offsets --clusters cluster-a --execute | tee "$work/committed"
expect "without --execute it shows the same and changes nothing" same_plan
texts | tee "$work/texts"
expect "the texts beside the offsets of site B name the topics of site B" names_b
start_consumers b
start_producer b
await 60 "site B leads" leads producer-b
goes() { is "$(ran b tick)" -ge 10; }
await 60 "site B runs jobs" goes
sed -n 's/^.*Z \[\(WARN\|ERROR\).*) /\1 /p' "$work"/b/*.log | sort -u | head -n 12
sleep 60
until=$((EPOCHSECONDS - 50))

# The copy of the last second may have a message and not yet what became of it.
whole_until=$((behind_since + 1))
say "what became of what was due before the copy ended"
count "$began" "$whole_until"
expect "nothing is lost but what step 4 has named" is "$(($(counted tick 3) + $(counted once 3) + $(counted flaky 3) + $(counted slow 3)))" -le \
    "$(grep -o 'attempt [0-9]* of run' "$work/committed" | wc -l)"
expect "no first attempt ran again but those of the second in which the copy ended" is "$(counted once 4)" -le 2
expect "second attempts ran again only where A ran them after the copy had ended" is "$(counted flaky 5)" -le 12

say "of what was due after that, and before T"
count "$whole_until" "$T"
expect "without from=T nothing is lost" is "$(($(counted tick 3) + $(counted flaky 3)))" -eq 0
expect "but what A had run runs again" is "$(counted tick 4)" -ge 2
expect "with from=T what A had published and not run is lost" is "$(counted once 3)" -ge 1
expect "but nothing runs twice" is "$(counted once 4)" -eq 0

say "of what was due from T on, also while nothing led"
count "$T" "$until"
expect "nothing is lost" is "$(($(counted tick 3) + $(counted once 3) + $(counted flaky 3) + $(counted slow 3)))" -eq 0
expect "and nothing runs twice" is "$(($(counted tick 4) + $(counted once 4) + $(counted flaky 4) + $(counted slow 4)))" -eq 0

say "the jobs that ran when A died"
at b cronctl dead list --cluster cluster-a | tee "$work/letters"
grep long "$work/ledger"
lost_run=$(sed -n 's/.*attempt 1 of run \([0-9a-f-]*\) was lost.*/\1/p' "$work/letters" | head -n 1)
show at b cronctl run "$lost_run" --clusters cluster-a | tee "$work/lost-run"
expect "cronctl run tells which job a letter is about" grep -q 'long-[01]' "$work/lost-run"
expect "there is a letter of each, also of the one with a retry left" test "$(grep -c 'deleted.*attempt 1 of run' "$work/letters")" -ge 2
expect "none ran again" is "$(($(ran b long-0) + $(ran b long-1)))" -eq 0
say "site B accounts for what is due from T on"
verify=(at b cronctl verify "$work/b.cron" --clusters cluster-a --since "$(instant "$T")" --until "$(instant "$until")")
show "${verify[@]}"
expect "for every tick" "${verify[@]}"

say "site A's Kafka is there again, without its programs"
site_broker a
verify=(at a cronctl verify "$work/a.cron" --clusters cluster-a --since "$(instant "$whole_until")" --until "$(instant $((T - 2)))"
    --begun-within 1s)
show "${verify[@]}"
a_tells() { ! "${verify[@]}"; }
expect "it tells what was published and not begun" a_tells
