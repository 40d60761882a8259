#!/usr/bin/env bash
# Measures the promises about speed on this machine, with its own broker on the same cores. Each measurement runs beside the
# bare and the supervised floor in the same run. docs/benchmarks.md says what each row means and what the results were.
#
#   scripts/bench.sh [--workers 256] [--partitions 2] [--repeat 3] [--soon] burst [N...] | drain [N] | publish [N] | catchup [N] | idle | fleet [N] | timer | all
#
#   burst [1 1000 5000]   N jobs are due in one second, each a static no-op that records when its main began: their lateness,
#                         compared with that of two threads that start the same N in such a second
#   drain [50000]         one consumer drains a backlog of N such runs, compared with as many threads as it has workers
#   publish [300000]      N jobs are due in one second: ticks a second until the broker has confirmed the last, compared with
#                         Kafka's own producer with as many records of that size
#   catchup [100000]      a producer starts with a backlog of N ticks, and a job that is due each second
#   idle                  CPU and memory of both programs with a hundred jobs that are not due, for half a minute
#   fleet [40]            what a consumer with nothing to do costs the broker, and a run that is claimed and reported alone
#   timer                 a million jobs due in one second, in the timetable alone (cargo bench --bench timetable)
#
# --soon: bursts are due some seconds after everything is ready, instead of at second 0 of the next minute.
#
# Environment: KAFKA_CRON_BIN_DIR (measure the programs of this directory, build nothing); KAFKA_CRON_RUN_DIR (Kafka's
# jars, default .run); KAFKA_CRON_INSTALL=no (install nothing).
# Exit codes: 0 measured; 1 a run was lost or a program ended; 2 usage; 3 the broker did not start; 4 something is
# missing here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh
# shellcheck source=scripts/lib/process.sh
source scripts/lib/process.sh
# shellcheck source=scripts/lib/measure.sh
source scripts/lib/measure.sh
# shellcheck source=scripts/lib/bench-publish.sh
source scripts/lib/bench-publish.sh

die() { code=$1; shift; printf 'bench: %s\n' "$*" >&2; exit "$code"; }
usage() { sed -n '5s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
is_count() { [[ $1 =~ ^[1-9][0-9]{0,6}$ ]]; }

workers=256 partitions=2 repeat=3 soon=''
while [[ ${1:-} == --* ]]; do
    case $1 in
        --soon) soon=yes; shift; continue ;;
        --workers | --partitions | --repeat) is_count "${2:-}" || usage ;;
        *) usage ;;
    esac
    case $1 in --workers) workers=$2 ;; --partitions) partitions=$2 ;; --repeat) repeat=$2 ;; esac
    shift 2
done
what=${1:-all}
[[ $# -eq 0 ]] || shift
for number in "$@"; do is_count "$number" || usage; done
case $what in burst | drain | publish | catchup | idle | fleet | timer | all) ;; *) usage ;; esac

need cargo cc java setsid curl
[[ -d ${KAFKA_CRON_RUN_DIR:-.run}/kafka ]] || need mvn
work=$(mktemp -d)
broker='' programs=()
finish() {
    [[ ${#programs[@]} -eq 0 ]] || kill -KILL "${programs[@]}" 2>/dev/null || true
    [[ -z $broker ]] || scripts/kafka-broker.sh stop --now --data "$work/broker" >/dev/null
    rm -rf -- "$work"
}
trap finish EXIT

cc -O2 -static -o "$work/noop" benches/floor/noop.c
cc -O2 -pthread -o "$work/floor" benches/floor/floor.c
cc -O2 -pthread -o "$work/supervised" benches/floor/supervised.c
bin=${KAFKA_CRON_BIN_DIR:-}
if [[ -z $bin ]]; then
    cargo build --quiet --release --locked --bin producer --bin consumer
    bin=${CARGO_TARGET_DIR:-target}/release
fi

start_broker() {
    local port _
    for _ in 1 2 3; do
        port=$((20000 + RANDOM % 12000))
        if answers "$port" || answers $((port + 1)); then continue; fi
        scripts/kafka-broker.sh start --data "$work/broker" --temporary --parent $$ --port "$port" \
            --controller-port $((port + 1)) >/dev/null || continue
        broker=$(<"$work/broker/broker.pid") brokers=localhost:$port
        return
    done
    die 3 "no broker could be started"
}

# start NAME COMMAND...: starts a program whose log is $work/NAME.log and whose page has its own port; $pid is its
# process id. It must stay alive until stop ends it.
start() {
    local name=$1
    shift
    "$@" --brokers "$brokers" >"$work/$name.log" 2>&1 </dev/null &
    pid=$!
    programs+=("$pid")
}
# stop PID: ends the program normally, as a deploy would.
stop() {
    kill -TERM "$1"
    wait "$1" || die 1 "a program ended with $?: $(tail -n 3 "$work"/*.log)"
    programs=("${programs[@]/$1/}")
    mapfile -t programs < <(printf '%s\n' "${programs[@]}" | grep .)
}

# await WHAT COMMAND...: until the command succeeds.
await() {
    local what=$1 until=$((SECONDS + 120))
    shift
    until "$@"; do
        ((SECONDS < until)) || die 1 "waited in vain for: $what; $(tail -n 3 "$work"/*.log)"
        # Rarely, because looking costs time, too.
        sleep 0.3
    done
}
says() { grep -q -- "$2" "$work/$1.log"; }

# jobs COUNT CLUSTER AT COMMAND: a job file whose jobs are all due at a second of the epoch, and never again soon.
jobs() {
    local fields
    fields=$(date -u -d "@$3" '+%-S %-M %-H %-d %-m')
    awk -v n="$1" -v head="$fields * $2" -v command="$4" \
        'BEGIN { for (i = 1; i <= n; i++) printf "%s [name=job-%d] %s\n", head, i, command }'
}

# The second at which a burst is due; the argument says how many seconds must be left until then.
due_in() {
    local now
    now=$(date +%s)
    if [[ -n $soon ]]; then echo $((now + $1)); else echo $(((now + $1 + 59) / 60 * 60)); fi
}

serial=0
# producer PORT [OPTION...]
producer() {
    local port=$1
    shift
    start producer "$bin/producer" "$work/jobs" --clusters "$cluster" --partitions "$partitions" --metrics-addr "127.0.0.1:$port" "$@"
}
consumer() { start consumer "$bin/consumer" --topic "$cluster" --workers "$workers" --metrics-addr "127.0.0.1:$1"; }
new_cluster() { serial=$((serial + 1)) cluster=bench-$serial; }
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && answers "$port"; do :; done
    echo "$port"
}

# floor THREADS COUNT AT: writes the CPU time of the floor and its processes to $work/floor.cpu.
floor() {
    local TIMEFORMAT='%U %S'
    { time "$work/floor" "$1" "$2" "$3" "$work/noop" "$work/floor.out"; } 2>"$work/floor.cpu" || die 1 "the floor failed"
}
floor_cpu() { awk '{ printf "floor %.2f", $1 + $2 }' "$work/floor.cpu"; }

# supervised THREADS COUNT AT: the same with what a supervisor cannot leave out; its own CPU microseconds for each run go
# to $work/supervised.cpu.
supervised() {
    "$work/supervised" "$1" "$2" "$3" "$work/noop" "$work/floor.out" >"$work/supervised.cpu" || die 1 "the supervised floor failed"
}

# burst_floor KIND THREADS COUNT
burst_floor() {
    : >"$work/floor.out"
    local at
    at=$(($(date +%s) + 2))
    "$1" "$2" "$3" "$at"
    lateness "$work/floor.out" "$at"
}

burst_system() {
    local count=$1 at port producer consumer cpu
    new_cluster
    at=$(due_in 10)
    : >"$work/system.out"
    jobs "$count" "$cluster" "$at" "$work/noop $work/system.out" >"$work/jobs"
    port=$(free_port)
    producer "$port"; producer=$pid
    await "the lead" says producer "$cluster: leading from"
    local page
    page=$(free_port)
    consumer "$page"; consumer=$pid
    await "the consumer's share" says consumer "generation"
    [[ $(date +%s) -lt $at ]] || die 1 "the machine is too slow: the second was over before all was ready"
    cpu=$(cpu_of "$broker") producer_cpu=$(cpu_of "$producer") consumer_cpu=$(cpu_of "$consumer") children=$(cpu_of_children "$consumer")
    await "$count runs" holds "$work/system.out" "$count"
    local spent
    spent="broker $(since "$cpu" "$(cpu_of "$broker")"), producer $(since "$producer_cpu" "$(cpu_of "$producer")"), consumer $(since "$consumer_cpu" "$(cpu_of "$consumer")"), jobs $(since "$children" "$(cpu_of_children "$consumer")") CPU-s"
    await "$count results" reported "$page" "$count"
    stages=$(stages_of "$port" "$page")
    memory="producer $(peak_mib "$producer"), consumer $(peak_mib "$consumer") MiB"
    stop "$producer"
    stop "$consumer"
    details="$spent; $stages; at most $memory"
    lateness "$work/system.out" "$at"
}
holds() { [[ $(stat -c %s "$1") -ge $(($2 * 8)) ]]; }
reported() { [[ $(metric "$1" 'cron_attempts_total') -ge $2 ]]; }

burst() {
    local count n floors supervised systems
    echo "burst: $repeat times each, in turn; $workers workers, $partitions partitions, lateness in ms"
    # A broker that has run for a while has its code compiled.
    burst_system 1000 >/dev/null
    for count in "$@"; do
        floors=() supervised=() systems=()
        for ((n = 1; n <= repeat; n++)); do
            floors+=("$(burst_floor floor 2 "$count")")
            supervised+=("$(burst_floor supervised "$workers" "$count")")
            burst_system "$count" >"$work/result"
            systems+=("$(<"$work/result")")
            echo "  $count jobs, round $n: $(floor_cpu), $details"
        done
        table "$count jobs" "$(printf '%s\n' "${floors[@]}")" "$(printf '%s\n' "${systems[@]}")"
        table "supervised" "$(printf '%s\n' "${supervised[@]}")" "$(printf '%s\n' "${systems[@]}")"
    done
}

drain() {
    local count=$1 port producer consumer floor system n
    local floors=() supervised=() systems=() own=() ours=()
    echo "drain: $count runs, $repeat times each, in turn; $workers workers and threads, $partitions partitions, runs a second"
    for ((n = 1; n <= repeat; n++)); do
        : >"$work/floor.out"
        floor "$workers" "$count" 0
        floors+=("$(rate "$work/floor.out")")
        : >"$work/floor.out"
        supervised "$workers" "$count" 0
        supervised+=("$(rate "$work/floor.out")") own+=("$(<"$work/supervised.cpu")")
        new_cluster
        : >"$work/system.out"
        jobs "$count" "$cluster" $(($(date +%s) + 15)) "$work/noop $work/system.out" >"$work/jobs"
        port=$(free_port)
        producer "$port"; producer=$pid
        await "$count ticks" published "$port" "$count"
        port=$(free_port)
        local cpu
        cpu=$(cpu_of "$broker")
        consumer "$port"; consumer=$pid
        await "$count runs" holds "$work/system.out" "$count"
        echo "  round $n: $(floor_cpu), broker $(since "$cpu" "$(cpu_of "$broker")"), consumer $(since 0 "$(cpu_of "$consumer")"), jobs $(since 0 "$(cpu_of_children "$consumer")") CPU-s; consumer at most $(peak_mib "$consumer") MiB"
        systems+=("$(rate "$work/system.out")")
        ours+=("$(since 0 "$(cpu_of "$consumer")" | awk -v runs="$count" '{ printf "%.0f", $1 * 1e6 / runs }')")
        stop "$consumer"
        stop "$producer"
    done
    floor=$(printf '%s\n' "${floors[@]}" | median) system=$(printf '%s\n' "${systems[@]}" | median)
    echo "  floor $floor (${floors[*]}), consumer $system (${systems[*]}), ratio $(ratio "$system" "$floor")"
    floor=$(printf '%s\n' "${supervised[@]}" | median)
    echo "  supervised floor $floor (${supervised[*]}), ratio $(ratio "$system" "$floor")"
    floor=$(printf '%s\n' "${own[@]}" | median) system=$(printf '%s\n' "${ours[@]}" | median)
    echo "  own CPU a run: supervisor $floor µs (${own[*]}), consumer $system µs (${ours[*]}), ratio $(ratio "$system" "$floor")"
}
idle() {
    local producer consumer seconds=30
    new_cluster
    jobs 100 "$cluster" $(($(date +%s) + 86400)) /bin/true >"$work/jobs"
    producer "$(free_port)"; producer=$pid
    await "the lead" says producer "$cluster: leading from"
    consumer "$(free_port)"; consumer=$pid
    await "the consumer's share" says consumer "generation"
    sleep 5
    local of_producer of_consumer of_broker
    of_producer=$(cpu_of "$producer") of_consumer=$(cpu_of "$consumer") of_broker=$(cpu_of "$broker")
    sleep "$seconds"
    echo "idle: 100 jobs, none due, for $seconds s; CPU in percent of a core, memory resident now"
    echo "  producer $(percent "$of_producer" "$(cpu_of "$producer")" $seconds), $(resident_mib "$producer") MiB;" \
        "consumer $(percent "$of_consumer" "$(cpu_of "$consumer")" $seconds), $(resident_mib "$consumer") MiB;" \
        "broker $(percent "$of_broker" "$(cpu_of "$broker")" $seconds)"
    stop "$producer"
    stop "$consumer"
}

# observe_fleet COUNT RUNS: COUNT consumers of one topic, a partition each, and RUNS jobs that are due each second, for half a minute.
# $spent is the CPU time of the broker in that time, $idle_cpu that of one of the consumers, $ran how many runs there were.
observe_fleet() {
    local count=$1 seconds=30 n producer consumer before after page consumers=() pages=()
    local partitions=$count
    new_cluster
    jobs 1 "$cluster" $(($(date +%s) + 86400)) /bin/true >"$work/jobs"
    for ((n = 1; n <= $2; n++)); do echo "* * * * * * $cluster [name=each-$n] $work/noop $work/system.out"; done >>"$work/jobs"
    producer "$(free_port)"; producer=$pid
    await "the lead" says producer "$cluster: leading from"
    for ((n = 1; n <= count; n++)); do
        # A port is free until its consumer listens.
        page=$(free_port)
        while [[ " ${pages[*]} " == *" $page "* ]]; do page=$(free_port); done
        pages+=("$page")
        start "consumer-$n" "$bin/consumer" --topic "$cluster" --workers 4 --metrics-addr "127.0.0.1:$page"
        consumers+=("$pid")
    done
    for ((n = 1; n <= count; n++)); do await "share $n" says "consumer-$n" 'partitions \[[0-9]'; done
    sleep 10
    consumer=${consumers[0]}
    before="$(cpu_of "$broker") $(cpu_of "$consumer") $(all_runs "${pages[@]}")"
    sleep "$seconds"
    after="$(cpu_of "$broker") $(cpu_of "$consumer") $(all_runs "${pages[@]}")"
    read -r spent idle_cpu ran < <(paste -d ' ' <(echo "$before") <(echo "$after") | awk '{ printf "%.2f %.2f %d\n", ($4 - $1) / 100, ($5 - $2) / 100, $6 - $3 }')
    memory=$(resident_mib "$consumer")
    for consumer in "${consumers[@]}" "$producer"; do stop "$consumer"; done
}
all_runs() { local page; for page in "$@"; do metric "$page" cron_attempts_total; done | awk '{ sum += $1 } END { print sum + 0 }'; }

fleet() {
    local count=$1 one idle
    echo "fleet: CPU for half a minute, a partition for each consumer"
    observe_fleet 1 0; one=$spent
    observe_fleet "$count" 0; idle=$spent
    awk -v one="$one" -v all="$idle" -v own="$idle_cpu" -v n="$count" -v memory="$memory" 'BEGIN {
        printf "  nothing due: broker %.2f s with one consumer, %.2f s with %d: %.2f ms a second for each; a consumer %.2f ms a second, %s MiB\n", one, all, n, (all - one) / (n - 1) / 30 * 1000, own / 30 * 1000, memory }'
    observe_fleet "$count" "$count"
    awk -v idle="$idle" -v all="$spent" -v n="$ran" 'BEGIN {
        printf "  %d runs, few of them together: broker %.2f s, %.2f ms for each run\n", n, all, (all - idle) / n * 1000 }'
}

timer() { cargo bench --quiet --locked --bench timetable; }

[[ $what == timer ]] || start_broker
echo "$(date -u +%FT%TZ), $(nproc) cores, $(cut -d ' ' -f 1-3 /proc/loadavg) busy, $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
case $what in
    burst) [[ $# -gt 0 ]] || set -- 1 1000 5000; burst "$@" ;;
    drain) drain "${1:-50000}" ;;
    publish) publish "${1:-300000}" ;;
    catchup) catchup "${1:-100000}" ;;
    fleet) fleet "${1:-40}" ;;
    idle | timer) "$what" ;;
    all) burst 1 1000 5000; drain 50000; publish 300000; catchup 100000; idle; timer ;;
esac
