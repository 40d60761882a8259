#!/usr/bin/env bash
# What lies on the topics: attempts, letters, events, and the text beside an offset, as Kafka's own console consumer
# shows them. docs/experiments/messages.md explains what is seen; docs/PROTOCOL.md specifies every field.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

# Short sessions and leases, so that a lost attempt is seen within seconds.
brokers 1 group.min.session.timeout.ms=1000
jobs '@reboot    cluster-a [name=fails retries=1 backoff=5s]      echo "no such disk" >&2; exit 7' \
    '@reboot    cluster-a [name=long]                             sleep 60' \
    '@every 2s  cluster-a [name=poll overlap=skip timeout=10s]    sleep 3'
start producer producer jobs.cron --clusters cluster-a --lease 3s
start consumer consumer --topic cluster-a --workers 4 --session-timeout 2s --lease 3s
start retry consumer --topic cluster-a-retry --workers 2 --session-timeout 2s --lease 3s
await 40 "fails is retried" logged consumer "fails.*attempt 2 follows"
sleep 3
kafka-console-producer --topic cluster-a <<<'not an attempt'
await 40 "fails is given up" logged retry "fails.*given up"
put_away() { is "$(metric consumer cron_dead_letters_total)" -ge 1; }
await 40 "the message that is no attempt is put away" put_away
crash consumer
lost() { is "$(metric producer cron_attempts_lost_total)" -ge 1; }
await 40 "what the consumer ran that was killed is lost" lost
finish producer

read_all() {
    kafka-console-consumer --topic "$1" --from-beginning --timeout-ms 4000 --formatter-property print.timestamp=true \
        --formatter-property print.partition=true --formatter-property print.offset=true \
        --formatter-property print.key=true --formatter-property 'key.separator=  ' 2>/dev/null >"$work/$1"
}
for topic in cluster-a cluster-a-retry cluster-a-dead cron-runs; do read_all "$topic"; done
# one TOPIC PATTERN: the first message with it.
one() { grep -m 1 -E -- "$2" "$work/$1" | plainly; }
holds() { expect "$1 holds $2" grep -qE -- "$3" "$work/$1"; }

say "cluster-a: an attempt, and a message that is not one"
one cluster-a '"job":"fails"'
one cluster-a 'not an attempt'
holds cluster-a "the first attempt of fails" '"job":"fails".*"attempt":1,"attempts_left":1'
say "cluster-a-retry: the next attempt"
one cluster-a-retry '"job":"fails"'
holds cluster-a-retry "its second attempt, with an instant before which it must not start" '"job":"fails".*"attempt":2,"attempts_left":0,"not_before":'
say "cluster-a-dead: what is not tried again, and why"
one cluster-a-dead '"job":"fails"'
one cluster-a-dead '"malformed"'
one cluster-a-dead '"job":"long"'
holds cluster-a-dead "the letter of fails" '"reason":"attempts_exhausted".*"job":"fails"'
holds cluster-a-dead "the message that is no attempt, as it was" "\"reason\":\"malformed\".*\"value\":\"$(printf 'not an attempt' | base64)\""
holds cluster-a-dead "the lost attempt that had no retry" '"job":"long".*"outcome":\{"kind":"lost"\}'
say "cron-runs: what happened"
for event in revision claimed alive finished published skipped unreadable lost beat; do
    one cron-runs "\"event\":\"$event\""
    holds cron-runs "$event" "\"event\":\"$event\""
done
