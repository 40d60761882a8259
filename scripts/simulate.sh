#!/usr/bin/env bash
# Plays many seeds of the simulation (tests/simulation/), optimised, on all cores: one process for each core, with its own
# seeds. Prints how often each fault happened, how fast it was, and the seeds that break a promise.
#
#   scripts/simulate.sh [--seeds 100000] [--from 0] [--cast all|consumers|both]
#   scripts/simulate.sh --seed N        (plays one seed again, and shows its last steps if it breaks a promise)
#
# `all` has consumers and producers, `consumers` only consumers; a seed means a different run in each. By default the script
# plays both, with a tenth of the seeds for `all`, whose runs are ten times as long. It plays another tenth of those with
# ambushes: faults that strike where the order of two steps matters.
#
# Exit codes: 0 every promise held; 1 one did not; 2 usage; 4 something is missing here; otherwise cargo's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh

usage() { sed -n '5,6s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

seeds=100000 from=0 seed='' cast=both
while (($#)); do
    [[ $# -ge 2 ]] || usage
    case $1 in
        --cast) [[ $2 =~ ^(all|consumers|both)$ ]] || usage; cast=$2 ;;
        --seeds) [[ $2 =~ ^[1-9][0-9]{0,17}$ ]] || usage; seeds=$2 ;;
        --from) [[ $2 =~ ^[0-9]{1,18}$ ]] || usage; from=$2 ;;
        --seed) [[ $2 =~ ^[0-9]{1,18}$ ]] || usage; seed=$2 ;;
        *) usage ;;
    esac
    shift 2
done
need cargo

built=$(cargo test --profile simulation --locked --test simulation --no-run 2>&1 | tee >(cat >&2) | tail -1)
program=${built##*(}
program=${program%)*}
[[ -x $program ]] || { echo "cargo has not said which program it built" >&2; exit 4; }

if [[ -n $seed ]]; then
    KAFKA_CRON_SEED=$seed exec "$program" --nocapture promises
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cores=$(nproc)

# play NAME TEST SEEDS: in as many processes as there are cores.
play() {
    local name=$1 test=$2 count=$3 each part first begun failed=0 pids=()
    begun=$(date +%s%N)
    each=$(((count + cores - 1) / cores))
    for ((part = 0; part < cores; part++)); do
        first=$((part * each))
        ((first < count)) || break
        KAFKA_CRON_SEEDS_FROM=$((from + first)) KAFKA_CRON_SEEDS=$((count - first < each ? count - first : each)) \
            "$program" --nocapture --exact "runs::$test" >"$out/$name.$part" 2>&1 &
        pids+=($!)
    done
    for part in "${pids[@]}"; do wait "$part" || failed=1; done
    local ms=$((($(date +%s%N) - begun) / 1000000 + 1))
    echo "$name: $count seeds in $((ms / 1000)) s, $((count * 1000 / ms)) a second on $cores cores; what was met in them:"
    cat "$out/$name".* | sed -nE 's/^ +([0-9]+)  ([a-z].*)$/\1\t\2/p' |
        awk -F '\t' '{ met[$2] += $1 } END { for (kind in met) printf "%12d  %s\n", met[kind], kind }' | sort -k2
    if ((failed)); then
        grep -hE ', seed [0-9]+ fails: ' "$out/$name".* || tail -n 20 "$out/$name".*
        return 1
    fi
}

status=0
if [[ $cast != all ]]; then
    play consumers promises_hold_whatever_goes_wrong "$seeds" || status=1
fi
if [[ $cast != consumers ]]; then
    cast_seeds=$seeds
    [[ $cast == all ]] || cast_seeds=$(((seeds + 9) / 10))
    play all promises_of_ticks_hold_whatever_goes_wrong "$cast_seeds" || status=1
    play ambushes promises_hold_in_ambushes $(((cast_seeds + 9) / 10)) || status=1
fi
exit "$status"
