#!/usr/bin/env bash
# A job that always fails is retried and given up; a flaky one gets through; a letter is put back once its cause is gone.
# docs/experiments/retries.md explains what is seen.
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

brokers 1
# Due once: when the first producer starts.
# shellcheck disable=SC2016 # expanded by the job's shell
jobs '@reboot cluster-a [name=always-fails retries=3 backoff=1s]  echo "no disk here" >&2; test -e disk' \
    '@reboot cluster-a [name=flaky        retries=5 backoff=1s]  echo "attempt $CRON_ATTEMPT"; test "$CRON_ATTEMPT" -ge 3'
start producer producer jobs.cron --clusters cluster-a
start consumer consumer --topic cluster-a --workers 2
start retry consumer --topic cluster-a-retry --workers 2
export KAFKA_CRON_CLUSTERS=cluster-a
# state JOB: what cronctl says of its run.
state() { cronctl runs --job "$1" --json | sed -n 's/.*"state":"\([^"]*\)".*/\1/p' | tail -n 1; }
is_in() { [[ $(state "$1") == "$2" ]]; }
id() { cronctl runs --job "$1" --json | sed -n 's/^{"run":"\([^"]*\)".*/\1/p' | tail -n 1; }
attempts() { cronctl runs --job "$1" --json | sed -n 's/.*"attempts":\([0-9]*\).*/\1/p' | tail -n 1; }
await 40 "always-fails is given up" logged retry "always-fails.*given up"
await 40 "flaky has succeeded" logged retry "flaky.*succeeded"

say "what the consumers log"
grep -h '(reporter)' "$work/consumer.log" "$work/retry.log" | sed -E 's/^[0-9-]+T([0-9:.]+)Z \[.*\] \(reporter\) /\1  /' | sort
say "what became of the runs"
show cronctl runs
expect "always-fails was tried four times, as retries=3 says" test "$(attempts always-fails)" -eq 4
expect "and was given up" is_in always-fails "given up"
expect "flaky got through with its third attempt" test "$(state flaky) $(attempts flaky)" = 'succeeded 3'
expect "first attempts ran at the cluster's consumer, the others at that of the retry topic" test "$(started consumer) $(started retry)" = '2 5'

say "the run that was given up, and its letter"
show cronctl run "$(id always-fails)"
show cronctl dead list --cluster cluster-a
expect "there is one letter" test "$(metric retry cron_dead_letters_total)" -eq 1

say "the cause is mended; the letter is put back"
touch "$work/disk"
show cronctl dead replay --cluster cluster-a --run "$(id always-fails)"
await 40 "always-fails has succeeded" logged retry "always-fails.*succeeded"
show cronctl runs --job always-fails
expect "the fifth attempt succeeded" test "$(state always-fails) $(attempts always-fails)" = 'succeeded 5'
