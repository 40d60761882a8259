#!/usr/bin/env bash
# How many of three brokers may die? With one dead, everything goes on. With two, nothing is confirmed and ticks wait. When they
# are back, no tick is lost.
# docs/experiments/brokers.md explains what is seen.
#
#   scripts/experiments/brokers.sh [apart]     (apart: the controller is a separate process, and is not killed)
#
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

[[ ${1:-} != apart ]] || controller_apart
brokers 3
# catchup=all: otherwise ticks that are more than a minute late would be recorded as missed, except the last one.
jobs '@every 1s cluster-a [name=tick catchup=all] true'
start producer producer jobs.cron --clusters cluster-a
start consumer.1 consumer --topic cluster-a --workers 2
start consumer.2 consumer --topic cluster-a --workers 2
published() { metric producer cron_ticks_published_total; }
all_started() { echo $(($(started consumer.1) + $(started consumer.2))); }
# more FUNCTION THAN
more() { is "$("$1")" -gt "$2"; }
await 60 "ticks are run" more all_started 4
copies() { kafka-topics --describe --topic cluster-a | grep -o 'ReplicationFactor.*min.insync.replicas=[0-9]*\|Partition: .*Isr: [0-9,]*'; }
status() { printf '%-28s published %3d, run %3d\n' "$1" "$(published)" "$(all_started)"; }

say "three brokers"
copies | tee "$work/copies"
expect "each partition has three copies, and two must confirm" grep -q 'ReplicationFactor: 3.*min.insync.replicas=2' "$work/copies"
status "all three"

# A broker that leads a partition: the hardest case.
dies=$(sed -n 's/.*Partition: 0.*Leader: \([0-9]\).*/\1/p' "$work/copies")
say "kill -9 of broker $dies, which leads partition 0"
broker_kill "$dies"
before=$(published) began=$SECONDS
sleep 12
status "12 s later"
await 30 "ticks are published and run by the other two" more all_started $((before + 8))
copies | tee "$work/copies"
expect "two copies are in sync, which is enough" grep -q 'Isr: [0-9],[0-9]$' "$work/copies"
expect "ticks are published with one broker gone" more published $((before + 8))

left=()
for node in 1 2 3; do [[ $node == "$dies" ]] || left+=("$node"); done
say "kill -9 of broker ${left[0]} as well, $((SECONDS - began)) s after the first"
broker_kill "${left[0]}"
sleep 2
before=$(published) run=$(all_started)
status "2 s later"
sleep 13
status "15 s later"
grep -h 'WARN\|ERROR' "$work/producer.log" | tail -n 1 | sed 's/^[^(]*([^)]*) //'
if [[ -n $controller ]]; then
    copies | tee "$work/copies"
    expect "the in-sync set has shrunk to one" grep -q 'Isr: [0-9]$' "$work/copies"
    expect "and the broker refuses, for too few have a copy" logged producer not_enough_replicas
fi
expect "nothing is acknowledged" is "$(published)" -eq "$before"
expect "nothing is run" is "$(all_started)" -eq "$run"
expect "the programs live and wait" kill -0 "${pids[producer]}" "${pids[consumer.1]}" "${pids[consumer.2]}"

say "both come back"
until=$(date -u +%FT%TZ)
broker_start "$dies" &
broker_start "${left[0]}"
wait "$!"
caught_up() { more published $((before + 15)) && is "$(all_started)" -ge "$(($(published) - 1))"; }
await 90 "what waited is published and run" caught_up
status "when the backlog is run"
copies
show cronctl verify "$work/jobs.cron" --clusters cluster-a --until "$until" | tee "$work/verdict"
expect "every tick up to then is accounted for" cronctl verify "$work/jobs.cron" --clusters cluster-a --until "$until"
expect "none was missed" grep -qE '^ *missed +0' "$work/verdict"
grep -h 'ms late' "$work/producer.log" | sed 's/.* \([0-9]*\) ms late/\1/' | sort -n | tail -n 1 |
    awk '{ printf "the latest of all was published %.1f s late\n", $1 / 1000 }'
