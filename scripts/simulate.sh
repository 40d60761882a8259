#!/usr/bin/env bash
# Plays many seeds of the simulation (tests/simulation/), optimised, and prints which faults were met how often.
#
#   scripts/simulate.sh [--seeds 100000] [--from 0]
#   scripts/simulate.sh --seed N        (one of them again, with its last steps where it breaks a promise)
#
# Exit codes: 0 every promise held; 2 usage; 4 something is missing here; otherwise cargo's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh

usage() { sed -n '4,5s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

export KAFKA_CRON_SEEDS=100000 KAFKA_CRON_SEEDS_FROM=0
while (($#)); do
    [[ $# -ge 2 && $2 =~ ^[0-9]{1,18}$ ]] || usage
    case $1 in
        --seeds) KAFKA_CRON_SEEDS=$2 ;;
        --from) KAFKA_CRON_SEEDS_FROM=$2 ;;
        --seed) export KAFKA_CRON_SEED=$2 ;;
        *) usage ;;
    esac
    shift 2
done
need cargo
exec cargo test --release --locked --test simulation promises_hold -- --nocapture
