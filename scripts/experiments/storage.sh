#!/usr/bin/env bash
# What Kafka stores on disk, and what it deletes: segments, indexes, committed offsets, retention.
# docs/experiments/storage.md explains what is seen.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

# By default a broker looks every five minutes for what is too old, and takes it off the disk a minute later.
brokers 1 log.retention.check.interval.ms=1000 log.initial.task.delay.ms=1000 log.segment.delete.delay.ms=1000
jobs '@every 1s cluster-a [name=tick] true'
start producer producer jobs.cron --clusters cluster-a --partitions 1
start consumer consumer --topic cluster-a
some_run() { is "$(started consumer)" -ge 4; }
await 40 "some ticks are run" some_run
finish consumer
log=$work/broker-1/log
first=$log/cluster-a-0/00000000000000000000.log
files() {
    local file
    printf '%10s %10s\n' size 'on disk'
    (cd "$log/cluster-a-0" && for file in *; do stat -c '%s %b %B %n' "$file"; done) |
        awk '{ printf "%10d %10d  %s\n", $1, $2 * $3, $4 }'
}

say "a partition is a directory"
show ls "$log"
files
kafka-dump-log --print-data-log --files "$first" >"$work/dump"
sed -n '3,6p' "$work/dump"
expect "a message lies in the .log as it was sent" grep -q 'payload: {"v":1,"run":.*"job":"tick"' "$work/dump"
expect "it is not compressed" grep -q 'compresscodec: none' "$work/dump"
expect "it has no producer id: we do not use Kafka's idempotence" grep -q 'producerId: -1' "$work/dump"

say "what a group has committed are messages in a partition of __consumer_offsets"
for partition in "$log"/__consumer_offsets-*; do
    kafka-dump-log --offsets-decoder --files "$partition/00000000000000000000.log"
done | sed -n 's/.*key: \({.*"topic":.*\)/\1/p' >"$work/offsets"
for group in cluster-a cron-leader; do grep "\"group\":\"$group\",\"topic\":\"cluster-a\"" "$work/offsets" | tail -n 1; done
expect "beside a consumer's offset stand the format and the topic's id" \
    grep -qE '"group":"cluster-a",.*"metadata":"1;[0-9a-f-]{36};' "$work/offsets"
expect "the producers' cursor is an offset that is an instant" \
    grep -qE '"group":"cron-leader","topic":"cluster-a","partition":0.*"offset":1[0-9]{12},' "$work/offsets"

say "a retention of 6 s, segments of 1 s, and no consumer"
kafka-configs --alter --entity-type topics --entity-name cluster-a --add-config retention.ms=6000,segment.ms=1000 >/dev/null
first_is_gone() { [[ ! -e $first ]]; }
await 40 "the first segment is deleted" first_is_gone
sleep 4
files | tee "$work/segments"
show kafka-get-offsets --topic cluster-a --time earliest | tee "$work/earliest"
show kafka-get-offsets --topic cluster-a --time latest | tee "$work/latest"
offset() { awk -F: '$1 == "cluster-a" { print $3 }' "$work/$1"; }
expect "the log is cut into segments" is "$(grep -c '\.log$' "$work/segments")" -ge 2
expect "its start has moved" is "$(offset earliest)" -gt 4
expect "its end is what it would be anyway" is "$(offset latest)" -gt "$(offset earliest)"

say "the consumer comes back"
start consumer consumer --topic cluster-a
await 30 "it says what is gone" logged consumer 'deleted unread'
sed -n 's/^.*(dispatch) \(.*deleted unread\)/\1/p' "$work/consumer.log"
again() { is "$(started consumer)" -ge 2; }
await 30 "it goes on with what is there" again
expect "it goes on with what is there" again
finish consumer
finish producer
kafka-console-consumer --topic cron-runs --from-beginning --timeout-ms 4000 >"$work/events" 2>/dev/null
expect "what was deleted unread is on record" grep -q '"event":"deleted_unread"' "$work/events"
grep '"event":"deleted_unread"' "$work/events" || true
verify=(cronctl verify "$work/jobs.cron" --clusters cluster-a --since 25s --until 20s)
show "${verify[@]}"
refused() { ! "${verify[@]}"; }
expect "cronctl verify does not call that well" refused
