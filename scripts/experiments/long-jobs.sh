#!/usr/bin/env bash
# A job that runs longer than every limit that Kafka knows: what happens behind it, at a rebalance, at a deploy.
# docs/experiments/long-jobs.md explains what is seen.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

# An hour is 360 sessions and 60 leases of the defaults (10 s, 60 s). Here sessions are 1 s and leases 2 s.
brokers 1 group.min.session.timeout.ms=500
limits=(--session-timeout 1s --lease 2s)
# One partition, so that everything lies behind the long job. Each start leaves a line.
# shellcheck disable=SC2016 # expanded by the job's shell
jobs '@reboot   cluster-a [name=hour retries=1 backoff=1s]  echo "$CRON_ATTEMPT" >>starts; sleep 20; echo "$CRON_ATTEMPT" >>ends' \
    '@every 1s cluster-a [name=tick]                        true'
start first consumer --topic cluster-a --workers 2 "${limits[@]}"
await 30 "a share" logged first generation
start producer producer jobs.cron --clusters cluster-a --partitions 1 --lease 2s
there() { [[ -e $work/starts ]]; }
await 40 "the long job runs" there
began=$SECONDS
count() { if [[ -e $work/$1 ]]; then wc -l <"$work/$1"; else echo 0; fi; }
# A tick's lateness in milliseconds, the worst since a time.
worst() { cronctl runs --job tick --clusters cluster-a --since "$1" --json | sed -n 's/.*"lateness_ms":\([0-9]*\).*/\1/p' | sort -n | tail -n 1; }
running() { echo "the long job runs for $((SECONDS - began)) s, started $(count starts) times, ended $(count ends) times"; }

say "two workers: one has the long job, the other all that lies behind it"
since=$(date -u +%FT%TZ)
generations() { grep -c generation "$work/first.log"; }
before=$(generations)
sleep 6
running
echo "ticks started meanwhile: $(($(started first) - 1)), the latest of them $(worst "$since") ms after its instant"
expect "the ticks behind it are run" is "$(started first)" -ge 6
expect "and at once" is "$(worst "$since")" -lt 1000
expect "it is not lost, after several leases" is "$(metric producer cron_attempts_lost_total)" -eq 0
expect "its consumer did not drop out of its group, after several sessions" is "$(generations)" -eq "$before"

say "a second consumer joins: a rebalance while the job runs"
start second consumer --topic cluster-a --workers 2 "${limits[@]}"
await 20 "both have a share" logged second generation
running
printf '%-7s %s\n' first "$(share first)" second "$(share second)"
expect "the rebalance did not wait for the job" is "$(count ends)" -eq 0

say "TERM for the first: it is being replaced"
ask_to_end first
gone() { [[ $(share second) == '[0]' ]]; }
since=$(date -u +%FT%TZ)
await 20 "the second has the partition" gone
sleep 3
running
echo "second has $(share second) and has started $(started second) ticks, the latest of them $(worst "$since") ms after its instant"
expect "the first waits for its job" started_at "${pids[first]}"
expect "the second runs the ticks" is "$(started second)" -ge 2
await 40 "the first ends" ended first
running
expect "the first ended when its job had" is "$(count ends)" -eq 1
expect "the job was started once" is "$(count starts)" -eq 1
sleep 3
show cronctl runs --job hour --clusters cluster-a
expect "it is done, and never was lost" is "$(metric producer cron_attempts_lost_total)" -eq 0

say "one worker: Kafka keeps what lies behind the long job"
finish second
finish producer
rm -f "$work/starts" "$work/ends"
# shellcheck disable=SC2016 # expanded by the job's shell
jobs '@reboot   cluster-a [name=hour-again retries=1 backoff=1s]  echo "$CRON_ATTEMPT" >>starts; test "$CRON_ATTEMPT" -gt 1 || sleep 60' \
    '@every 1s cluster-a [name=tick]                              true'
start single consumer --topic cluster-a --workers 1 "${limits[@]}" --drain 2s
start producer producer jobs.cron --clusters cluster-a --lease 2s
await 40 "the long job runs" there
busy=$(started single)
sleep 5
echo "ticks started in 5 s: $(($(started single) - busy)); messages that wait: $(metric single cron_lag_messages)"
expect "nothing is started" is "$(started single)" -eq "$busy"
expect "it waits in Kafka" is "$(metric single cron_lag_messages)" -ge 4

say "a deploy that does not wait: --drain 2s"
start retry consumer --topic cluster-a-retry --workers 1 "${limits[@]}"
start third consumer --topic cluster-a --workers 2 "${limits[@]}"
began=$SECONDS
finish single
echo "it ended after $((SECONDS - began)) s"
passed_on() { logged retry 'hour-again.*succeeded'; }
await 30 "the next attempt has succeeded" passed_on
caught_up() { is "$(metric third cron_lag_messages)" -eq 0; }
await 30 "the next consumer has run what waited" caught_up
show cronctl runs --job hour-again --clusters cluster-a
show cronctl run "$(cronctl runs --job hour-again --clusters cluster-a --json | sed -n 's/^{"run":"\([^"]*\)".*/\1/p')"
expect "its job was cancelled and passed on" logged single 'hour-again.*cancelled'
expect "the job was started twice: one attempt each" test "$(tr -d '\n' <"$work/starts")" = 12
expect "it was never lost" is "$(metric producer cron_attempts_lost_total)" -eq 0
