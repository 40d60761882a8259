#!/usr/bin/env bash
# Plants small bugs, one at a time, in the code that the promises depend on, and checks whether the tests notice: mutation
# testing with cargo-mutants. It takes hours and is not part of scripts/test.sh.
#
#   scripts/mutants.sh [--quick] [--out DIR] [ROOM...]    (rooms: those of the table below; all if none is given)
#
# The script runs the unit tests of its room against each bug first, then all unit tests against what those missed, and then,
# without --quick, the simulation. It does not try a caught bug again: a second call with the same DIR goes on where the first
# one was interrupted. DIR (default .run/mutants) has a folder for each room with caught.txt, missed.txt, timeout.txt and unviable.txt, and
# `tree`: the clone of the commit that is checked out here, in which the bugs are planted. The clone and what is built of it
# stay, so that a bug costs an incremental build of the unit tests, a few seconds. Changes that are not committed do not count.
# docs/decisions/ explains each survivor.
#
# Exit codes: 0 at least 95 % of the bugs that compile are caught; 1 fewer are; 2 usage; 4 something is missing here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh

# room | files, as patterns | its unit tests, as substrings of their names
rooms() {
    cat <<'TABLE'
claiming    | src/consumer/claiming/**              | consumer::claiming
reporting   | src/consumer/reporting/**             | consumer::reporting
holes       | src/common/holes.rs                   | common::holes
passing     | src/common/passing.rs                 | common::passing consumer::reporting
outgoing    | src/common/outgoing.rs                | common::outgoing
membership  | src/common/membership/**              | common::membership
plan        | src/producer/plan/**                  | producer::plan
scheduler   | src/producer/scheduler/**             | producer::scheduler
leadership  | src/producer/leadership/**            | producer::leadership
publisher   | src/producer/publisher/**             | producer::publisher producer::scheduler
run-tracker | src/producer/run_tracker/**           | producer::run_tracker
TABLE
}

usage() { sed -n '5s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
field() { rooms | awk -F ' *[|] *' -v room="$1" -v n="$2" '{ gsub(/ +$/, "", $1) } $1 == room { print $n }'; }

quick='' out=.run/mutants wanted=()
while (($#)); do
    case $1 in
        --quick) quick=yes ;;
        --out) [[ -n ${2:-} ]] || usage; out=$2; shift ;;
        *) [[ -n $(field "$1" 2) ]] || usage; wanted+=("$1") ;;
    esac
    shift
done
need cargo
cargo mutants --version >/dev/null 2>&1 || { echo "missing here: cargo-mutants (cargo install cargo-mutants --locked)" >&2; exit 4; }
[[ ${#wanted[@]} -gt 0 ]] || mapfile -t wanted < <(rooms | awk '{ print $1 }')
mkdir -p "$out"
out=$(realpath "$out") tree=$(realpath "$out")/tree commit=$(git rev-parse HEAD)
[[ -d $tree ]] || git clone --quiet --no-checkout . "$tree"
git -C "$tree" fetch --quiet "$PWD" "$commit"
# An interrupted call leaves its last bug behind.
git -C "$tree" checkout --quiet --force --detach "$commit"

# These builds need no debug information; without it a build takes a third of the time.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 CARGO_INCREMENTAL=1 CARGO_TERM_COLOR=never
# As many seeds as an ordinary run needs to find planted bugs; the unit tests have missed every bug that gets here.
export KAFKA_CRON_SEEDS=300
! has ld.lld || export RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-fuse-ld=lld"

# try ROOM WHAT OF CARGO'S TARGETS ARGUMENTS OF CARGO TEST...
try() {
    local room=$1 target=$2 files=() file status=0
    shift 2
    for file in $(set -f; field "$room" 2); do files+=(--file "$file"); done
    # Models and fixtures of tests are not the program. What to build is said to each call of cargo: an argument behind `--`
    # reaches the call that tests alone, and the one that builds would build all the programs and tests for each bug.
    cargo mutants --dir "$tree" --in-place "${files[@]}" --exclude '**/tests/**' --exclude '**/tests.rs' \
        --exclude '**/model.rs' --output "$out/$room" --iterate --baseline skip --timeout 120 --build-timeout 600 --no-times \
        --colors never --annotations none --cargo-arg=--locked --cargo-arg="$target" "$@" >"$out/$room.log" 2>&1 || status=$?
    # 2 and 3: some were missed or ran out of time, which is what is asked.
    case $status in 0 | 2 | 3) ;; *) tail -n 20 "$out/$room.log" >&2; exit 4 ;; esac
    # The next call lists what did not compile among what was caught before.
    cat "$out/$room/mutants.out/unviable.txt" >>"$out/$room/unviable.txt"
}
# A bug that made the tests hang was noticed, too.
count() {
    cat "$out/$1/mutants.out/"{previously_caught,caught,timeout}.txt | sort -u | grep -vxFf "$out/$1/unviable.txt" | sed '/^$/d' | wc -l
}
# Names of bugs hold lines: where a room's files have changed, what was caught before tells nothing.
begin() {
    local room=$1 before files
    mkdir -p "$out/$room"
    before=$(cat "$out/$room/commit" 2>/dev/null || true)
    mapfile -t files < <(field "$room" 2 | tr ' ' '\n' | sed 's/^/:(glob)/')
    git -C "$tree" diff --quiet "${before:-none}" "$commit" -- "${files[@]}" 2>/dev/null || { rm -rf "${out:?}/$room"; mkdir "$out/$room"; }
    echo "$commit" >"$out/$room/commit"
    touch "$out/$room/unviable.txt"
}
missed() { sed '/^$/d' "$out/$1/mutants.out/missed.txt" | wc -l; }

all_caught=0 all_missed=0
for room in "${wanted[@]}"; do
    begin "$room"
    # Two `--`: behind the first stands what `cargo test` is given, behind the second what the tests are.
    # shellcheck disable=SC2046 # several names
    try "$room" --lib -- -- $(field "$room" 3)
    [[ $(missed "$room") -eq 0 ]] || try "$room" --lib
    [[ -n $quick || $(missed "$room") -eq 0 ]] || try "$room" --test=simulation -- -- promises
    caught=$(count "$room") left=$(missed "$room")
    echo "$room: $caught caught, $left missed"
    sed 's/^/  /' "$out/$room/mutants.out/missed.txt"
    all_caught=$((all_caught + caught)) all_missed=$((all_missed + left))
done
((all_caught + all_missed > 0)) || { echo "no bug was planted" >&2; exit 4; }
echo "all: $all_caught of $((all_caught + all_missed)) caught, $((100 * all_caught / (all_caught + all_missed))) %"
((100 * all_caught >= 95 * (all_caught + all_missed)))
