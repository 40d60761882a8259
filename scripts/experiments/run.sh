#!/usr/bin/env bash
# Runs experiments, one after the other: those that are named, or all. Each has a page in docs/experiments/.
#
#   scripts/experiments/run.sh [NAME]...       (names: partitions keys retries messages storage brokers long-jobs
#                                               slow-cluster kafka-metrics)
#
# Each starts brokers of its own, takes a minute or more, and leaves nothing behind. What it needs and its environment are
# those of scripts/lib/experiment.sh. Exit codes: 0 all is as the pages say; 2 usage; otherwise that of the first
# experiment that did not end with 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

all=(partitions keys retries messages storage brokers long-jobs slow-cluster kafka-metrics)
for name in "$@"; do
    [[ " ${all[*]} " == *" $name "* ]] || { echo "there is no experiment $name; there are: ${all[*]}" >&2; exit 2; }
done
[[ $# -gt 0 ]] || set -- "${all[@]}"
status=0
for name in "$@"; do
    printf '\n######## %s\n' "$name"
    code=0
    "scripts/experiments/$name.sh" || code=$?
    ((status != 0)) || status=$code
    ((code < 128)) || break
done
exit "$status"
