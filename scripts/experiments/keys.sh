#!/usr/bin/env bash
# Which partition a message goes to: run ids as keys, job names as keys, and what a new partition changes.
# docs/experiments/keys.md explains what is seen.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

brokers 1
lines=()
for job in backup index mail report; do lines+=("@every 1s cluster-a [name=$job] true"); done
jobs "${lines[@]}"
start producer producer jobs.cron --clusters cluster-a --partitions 3
await 30 "a leader" leads producer
sleep 14
finish producer

# One line a message: Partition:N|Offset:N|key|value.
read_all() {
    kafka-console-consumer --topic "$1" --from-beginning --timeout-ms 4000 --formatter-property print.partition=true \
        --formatter-property print.offset=true --formatter-property print.key=true --formatter-property 'key.separator=|' \
        2>/dev/null
}
read_all cluster-a >"$work/messages"
# job, partition and tick of each message
sed -E 's/^Partition:([0-9]+)\|Offset:[0-9]+\|.*"job":"([^"]*)".*"scheduled_at":"([^"]*)".*/\2 \1 \3/' "$work/messages" >"$work/ticks"
total=$(wc -l <"$work/ticks")

say "$total messages of four jobs, key = run id, three partitions"
# spread FILE: messages of each job in each partition.
spread() {
    awk '{ n[$1, $2]++; jobs[$1]; sum[$2]++ } END {
        printf "%-8s %11s %11s %11s\n", "job", "partition 0", "partition 1", "partition 2"
        for (job in jobs) printf "%-8s %11d %11d %11d\n", job, n[job, 0], n[job, 1], n[job, 2] | "sort"
        close("sort")
        printf "%-8s %11d %11d %11d\n", "all", sum[0], sum[1], sum[2] }' "$1"
}
spread "$work/ticks" | tee "$work/by-run"
expect "there are some fifty messages or more" is "$total" -ge 48
for partition in 0 1 2; do
    count=$(awk -v p="$partition" '$2 == p' "$work/ticks" | wc -l)
    # Four standard deviations of a fair share.
    expect "partition $partition has a third, give or take what chance does" is "$((count * 3 > total - 45 && count * 3 < total + 45))" -eq 1
done
partitions_of() { awk -v job="$1" '$1 == job { print $2 }' "$work/ticks" | sort -u | wc -l; }
for job in backup index mail report; do expect "$job is in several partitions" is "$(partitions_of "$job")" -gt 1; done
in_order() { awk '{ if ($3 < last[$2]) exit 1; last[$2] = $3 }' "$1"; }
expect "within a partition ticks are in the order of their instants" in_order "$work/ticks"

say "the same $total messages, key = the job's name"
kafka-topics --create --topic by-job --partitions 3 --replication-factor 1 >/dev/null
awk '{ print $1 "\t" $3 }' "$work/ticks" |
    kafka-console-producer --topic by-job --reader-property parse.key=true
read_all by-job | sed -E 's/^Partition:([0-9]+)\|Offset:[0-9]+\|([^|]*)\|(.*)/\2 \1 \3/' >"$work/keyed"
spread "$work/keyed"
expect "each job is in one partition only" test "$(awk '{ print $1, $2 }' "$work/keyed" | sort -u | wc -l)" -eq 4
expect "four keys do not fill three partitions evenly" test "$(awk '{ print $2 }' "$work/keyed" | sort | uniq -c | awk '{ print $1 }' | sort -u | wc -l)" -gt 1

say "a fourth partition is added while a consumer runs"
start consumer consumer --topic cluster-a --workers 4
all_started() { is "$(started consumer)" -eq "$1"; }
await 30 "all messages are taken" all_started "$total"
echo "consumer has $(share consumer) and has started $(started consumer) runs"
kafka-topics --alter --topic cluster-a --partitions 4
began=$SECONDS
start producer producer jobs.cron --clusters cluster-a
await 30 "a leader" leads producer
has_four() { [[ $(share consumer) == '[0, 1, 2, 3]' ]]; }
await 60 "the consumer has the new partition" has_four
echo "consumer has $(share consumer), $((SECONDS - began)) s after the change"
sleep 6
finish producer
show kafka-get-offsets --topic cluster-a | tee "$work/ends"
sum=$(awk -F: '$1 == "cluster-a" { sum += $3 } END { print sum }' "$work/ends")
expect "the new partition is written to" is "$(awk -F: '$1 == "cluster-a" && $2 == 3 { print $3 }' "$work/ends")" -gt 0
await 30 "all messages are taken" all_started "$sum"
expect "all that was written is run, in the new partition too" all_started "$sum"
