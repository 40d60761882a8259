#!/usr/bin/env bash
# Kafka's disks are lost. Once there is a copy of them that is a minute old; once there is none, and only the job file and the dead
# letters were kept. What is lost, what runs twice? docs/experiments/restore.md explains what is seen.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"
# shellcheck source=scripts/lib/sites.sh
source scripts/lib/sites.sh

runs() { is "$(ran "$1" tick)" -ge "$2"; }
programs_end() { local each; for each in producer cluster-a cluster-a-retry; do finish "$each-$1"; done; }
# Attempts of the ledger that were started more often than once, and ticks of a time that never were.
twice() { awk -v job="$1" '$2 == job { print $3, $4 }' "$work/ledger" | sort | uniq -d; }
never() {
    local second
    for ((second = $2; second < $3; second++)); do
        grep -q " $1 $(instant "$second") 1 " "$work/ledger" || instant "$second"
    done
}
lines() { sed '/^$/d' | wc -l; }
say "a Kafka whose disk is copied while it is stopped, and lost a while later"
site a
began=$((EPOCHSECONDS + 4))
jobs "* * * * * *    cluster-a  [name=tick from=$(instant "$began")] $record" \
    "*/30 * * * * * cluster-a  [name=hopeless]   $record; echo no such mailbox; exit 3"
cp "$work/jobs.cron" "$work/a.cron"
show cat "$work/a.cron"
start_producer a
start_consumers a
await 90 "jobs run" runs a 35
has_letter() { cronctl_a dead list --cluster cluster-a | grep -q .; }
cronctl_a() { at a cronctl "$@"; }
await 60 "there is a letter" has_letter
scripts/kafka-broker.sh stop --data "$work/broker-a" >/dev/null
copied=$EPOCHSECONDS
cp -r "$work/broker-a/log" "$work/backup"
site_broker a
caught_up() { is "$(ran a tick)" -ge "$1"; }
await 90 "jobs run again" caught_up $((EPOCHSECONDS - began))
await 60 "some more jobs run" caught_up $((EPOCHSECONDS - began + 10))
scripts/kafka-broker.sh stop --now --data "$work/broker-a" >/dev/null
lost=$EPOCHSECONDS
rm -rf "$work/broker-a/log"
for each in producer cluster-a cluster-a-retry; do crash "$each-a"; done
echo "the copy is that of $(instant "$copied"), the disk was lost at $(instant "$lost")"
sleep 5
cp -r "$work/backup" "$work/broker-a/log"
site_broker a
start_consumers a
start_producer a
await 60 "jobs run again" caught_up $((EPOCHSECONDS - began - 15))
sleep 15
until=$((EPOCHSECONDS - 5))
echo "ticks of the time before the copy: $((copied - began)), never run: $(never tick "$began" "$copied" | lines)"
echo "from the copy to the loss: $((lost - copied)), never run: $(never tick "$copied" "$lost" | lines)"
echo "after the loss: $((until - lost)), never run: $(never tick "$lost" "$until" | lines)"
twice tick >"$work/twice"
echo "run twice: $(lines <"$work/twice"), from $(head -n 1 "$work/twice") to $(tail -n 1 "$work/twice")"
expect "nothing is lost: what was due less than a minute ago is published again" test -z "$(never tick "$began" "$until")"
expect "what ran after the copy runs again" is "$(lines <"$work/twice")" -ge 5
expect "and nothing else" test -z "$(awk -v copied="$(instant $((copied - 2)))" -v lost="$(instant "$lost")" '$1 < copied || $1 > lost' "$work/twice")"
verify=(at a cronctl verify "$work/a.cron" --clusters cluster-a --since "$(instant "$began")" --until "$(instant "$until")")
show "${verify[@]}"
expect "cronctl verify accounts for every tick" "${verify[@]}"

say "a Kafka that is lost without a copy; the job file and the letters were kept"
letters() { at "$1" kafka-console-consumer --topic cluster-a-dead --from-beginning --timeout-ms 4000 --formatter-property print.key=true 2>/dev/null; }
letters a >"$work/letters"
echo "letters kept: $(wc -l <"$work/letters")"
cut -c 1-100 "$work/letters" | head -n 1
scripts/kafka-broker.sh stop --now --data "$work/broker-a" >/dev/null
for each in producer cluster-a cluster-a-retry; do crash "$each-a"; done
lost=$EPOCHSECONDS
site b
cp "$work/a.cron" "$work/b.cron"
start_producer b
start_consumers b
await 60 "the empty Kafka has jobs" runs b 5
first=$(awk '$1 == "b" && $2 == "tick" { print $3; exit }' "$work/ledger")
echo "lost at $(instant "$lost"); the first tick that runs is $first"
expect "no tick from before is owed: the empty Kafka begins with the producer's start" test "$first" \> "$(instant "$lost")"
show at b cronctl dead list --cluster cluster-a
at b kafka-console-producer --topic cluster-a-dead --reader-property parse.key=true <"$work/letters" >/dev/null
show at b cronctl dead list --cluster cluster-a
run=$(head -n 1 "$work/letters" | cut -f 1)
show at b cronctl dead replay --cluster cluster-a --run "$run"
replayed() { [[ $(awk '$2 == "hopeless" && $1 == "b" && $4 == 2' "$work/ledger" | wc -l) == 1 ]]; }
await 30 "the letter's run is tried again" replayed
expect "a letter of the lost Kafka can be put back in the new one" replayed
