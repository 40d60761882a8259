#!/usr/bin/env bash
# Kafka under fire: three brokers (scripts/cluster.sh), two producers, two consumers for each topic of two clusters, and jobs that are
# due each second, half of which need a retry each time. Brokers are killed, frozen, cut off and filled up meanwhile. Is a run
# lost, or started twice? How late is the latest? Which thread stands still, and for how long? Which alerts fire?
# docs/experiments/chaos.md shows what it prints.
#
#   scripts/chaos.sh [--local | --docker] [--logs DIR] [SCENARIO]...
#
# Scenarios (all of them by default; each takes one to three minutes and has brokers of its own):
#   one             kill -9 of a broker that has no special part, as far as there is one; it comes back after 25 s
#   leader          the same with the broker that leads a partition of cluster-a
#   coordinator     the same with the coordinator of the producers' group
#   controller      the same with the active controller
#   two             kill -9 of two of three for 20 s
#   all             kill -9 of all three for 15 s
#   rolling         each broker is stopped in order, and started again when the others have all copies
#   freeze          the leader of a partition stands still for 20 s (SIGSTOP)
#   blackhole       for 30 s nothing passes between the programs and one broker; the brokers reach each other
#   cut-producers   for 30 s the producers reach no broker; the consumers do
#   cut-consumers   the other way round
#   slow            for 30 s each answer takes 200 ms longer
#   disk-full       the disk of a broker that leads a partition of cluster-a fills up; 20 s after the broker has ended there is
#                   room again, and it is started. Each broker's data is on a tmpfs of its own (mounted where no other process
#                   sees it; needs `unshare --mount`, or user namespaces)
#   topic-deleted   cluster-a is deleted while its consumers stand still, so that messages are deleted that no consumer has read
#   partitions-added  cluster-a and cluster-a-retry get four partitions instead of two
#
# Columns: ticks published (by `cronctl verify`), run (by what the jobs themselves wrote down), lost, started twice, attempts
# beyond those that the jobs asked for (a retry of an attempt that counted as lost), the latest start in seconds, what `cronctl
# verify` says (told: it names each of the runs that are lost, and nothing else), and the longest time that each kind of thread was silent, in seconds, where it is above 2
# (cron_thread_last_beat_seconds, read once a second). The line below names the alerts that were pending or firing, if
# Prometheus is installed: it has the rules of conf/prometheus, and scrapes every 2 s.
#
# The logs of programs and brokers stay in DIR (by default a new directory in /tmp), which is named at the end. Environment: that of
# scripts/lib/experiment.sh.
#
# --local, the default, starts processes of this machine. --docker starts the containers of docker-compose.yml with
# docker-compose.chaos.yml (project kafka-cron-chaos, which is removed at the end), and has the scenarios from `one` to
# `cut-consumers`; scripts/lib/chaos-containers.sh says how it cuts paths. The ports of both files must be free. It builds the
# images, unless KAFKA_CRON_BIN_DIR says that programs are ready. cronctl and Kafka's tools run outside of the containers.
#
# Exit codes: 0 nothing was lost or run twice, and `cronctl verify` is satisfied, in each scenario (in topic-deleted runs are
# lost, and `cronctl verify` names them); 1 otherwise; 2 usage; 3 the brokers did not start; 4 something is missing here.
# shellcheck disable=SC2317 # scenarios are called by their names
set -euo pipefail
all=(one leader coordinator controller two all rolling freeze blackhole cut-producers cut-consumers slow disk-full topic-deleted
    partitions-added)
usage() { sed -n '7s/^# *//p' "${BASH_SOURCE[0]}"; echo "scenarios: ${all[*]}"; }
logs='' scenarios=() place=''
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --local | --docker)
            [[ ${place:-$1} == "$1" ]] || { echo "--local and --docker exclude each other" >&2; exit 2; }
            place=$1; shift ;;
        --logs) [[ $# -ge 2 ]] || { usage >&2; exit 2; }; logs=$2; shift 2 ;;
        -*) usage >&2; exit 2 ;;
        *)
            [[ " ${all[*]} " == *" $1 "* ]] || { echo "there is no scenario $1; $(usage)" >&2; exit 2; }
            scenarios+=("$1"); shift ;;
    esac
done
if [[ $place == --docker ]]; then
    all=(one leader coordinator controller two all rolling freeze blackhole cut-producers cut-consumers)
    for name in "${scenarios[@]}"; do
        [[ " ${all[*]} " == *" $name "* ]] || { echo "$name is not played in containers, but with --local" >&2; exit 2; }
    done
fi
[[ ${#scenarios[@]} -gt 0 ]] || scenarios=("${all[@]}")
[[ -z $logs ]] || { mkdir -p "$logs" && logs=$(cd "$logs" && pwd); } || exit 4
# Mounts that no other process sees, and that end with this script, however it ends.
if [[ " ${scenarios[*]} " == *" disk-full "* && -z ${CHAOS_APART:-} ]]; then
    private=(unshare --mount)
    [[ $EUID -eq 0 ]] || private=(unshare --user --map-root-user --mount)
    if "${private[@]}" true; then
        CHAOS_APART=yes exec "${private[@]}" bash "${BASH_SOURCE[0]}" ${logs:+--logs "$logs"} "${scenarios[@]}"
    fi
    [[ ${scenarios[*]} == "${all[*]}" ]] || { echo "disk-full: nothing may be mounted here (unshare --mount)" >&2; exit 4; }
    echo "disk-full is left out: nothing may be mounted here (unshare --mount)" >&2
    mapfile -t scenarios < <(printf '%s\n' "${scenarios[@]}" | grep -vx disk-full)
fi
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/experiment.sh"
need python3
[[ $place == --docker ]] || has prometheus || echo "prometheus is not installed: alerts are not reported" >&2
rmdir "$work"
[[ -n $logs ]] || logs=$(mktemp -d "${TMPDIR:-/tmp}/kafka-cron-chaos.XXXXXX")
root=$PWD tick_jobs=(a-tick a-flaky b-tick b-flaky)
tear_down() { trap - EXIT; cluster_ends; }

cluster() { scripts/cluster.sh "$@" --data "$work/cluster" >>"$work/cluster.log" 2>&1; }
cluster_ends() {
    exec 2>/dev/null
    [[ ${#pids[@]} -eq 0 ]] || kill -KILL "${pids[@]}" || true
    [[ ! -d $work/cluster ]] || cluster down --now || true
    wait
}
# A range of that many free ports.
free_ports() {
    local port each
    while :; do
        port=$(free_port)
        for each in $(seq "$port" $((port + $1 - 1))); do ! answers "$each" || continue 2; done
        echo "$port"
        return
    done
}
chaos() { python3 "$root/scripts/lib/chaos.py" "$@"; }
launch() {
    local name=$1
    shift
    (cd "$work" && exec setpriv --pdeathsig KILL -- "$@") >>"$work/$name.log" 2>&1 </dev/null &
    pids[$name]=$! names[$name]=$!
}
note() { printf '%(%FT%TZ)T %s\n' -1 "$*" >>"$work/events"; }

# The brokers, with a listener for producers and one for consumers behind a proxy for each broker: so the path of the one kind
# may be cut while that of the other is open. A proxy takes connections also where its broker is dead, which a host does not
# do. So programs go through it only in scenarios that need it.
start_cluster() {
    local base=$1 n paths=()
    TZ=UTC cluster up --port "$base" --controller-port $((base + 3)) --jmx-port $((base + 6)) --heap "${CHAOS_HEAP:-256m}" \
        --listener PRODUCERS:$((base + 9)):$((base + 12)) --listener CONSUMERS:$((base + 15)):$((base + 18)) --parent $$ ||
        { tail -n 20 "$work/cluster.log" >&2; exit 3; }
    jmx=$((base + 6))
    for n in 0 1 2; do
        paths+=("producers-$((n + 1))=$((base + 12 + n)):$((base + 9 + n))" "consumers-$((n + 1))=$((base + 18 + n)):$((base + 15 + n))")
    done
    export KAFKA_BROKERS=localhost:$base,localhost:$((base + 1)),localhost:$((base + 2))
    of_producers=$KAFKA_BROKERS of_consumers=$KAFKA_BROKERS
    [[ $2 == through-proxies ]] || return 0
    launch paths python3 "$root/scripts/lib/paths.py" "$work/paths" "${paths[@]}"
    of_producers=localhost:$((base + 12)),localhost:$((base + 13)),localhost:$((base + 14))
    of_consumers=localhost:$((base + 18)),localhost:$((base + 19)),localhost:$((base + 20))
}
# Gives each broker a small disk. The indexes of Kafka's segments are sparse, so what it needs here is far less than it seems.
small_disks() {
    local n
    for n in 1 2 3; do
        mkdir -p "$work/cluster/broker-$n/log"
        mount -t tmpfs -o size=128m "disk-$n" "$work/cluster/broker-$n/log" || exit 4
    done
}
# paths MODE PATTERN: how the paths are from now on; without arguments they are open.
paths() {
    note "paths: ${*:-open}"
    echo "${2:+$2 }${1:-}${3:+ $3}" >"$work/paths.new"
    mv "$work/paths.new" "$work/paths"
}

# write_jobs LEDGER: the file into which each attempt writes a line.
write_jobs() {
    local options='catchup=all retries=2 backoff=1s' line
    # shellcheck disable=SC2016 # expanded by the job's shell
    line='echo "$CRON_JOB $CRON_SCHEDULED_AT $CRON_RUN_ID $CRON_ATTEMPT $(date +%s.%N)" >>'$1
    jobs "* * * * * * cluster-a [name=a-tick $options] $line" "* * * * * * cluster-b [name=b-tick $options] $line" \
        "* * * * * * cluster-a [name=a-flaky $options] $line; test \"\$CRON_ATTEMPT\" -gt 1" \
        "* * * * * * cluster-b [name=b-flaky $options] $line; test \"\$CRON_ATTEMPT\" -gt 1"
}
start_programs() {
    local name cluster
    write_jobs "$work/ledger"
    for name in producer-1 producer-2; do start "$name" producer jobs.cron --brokers "$of_producers"; done
    for cluster in cluster-a cluster-b cluster-a-retry cluster-b-retry; do
        for name in "$cluster-1" "$cluster-2"; do start "$name" consumer --topic "$cluster" --workers 4 --brokers "$of_consumers"; done
    done
}
# Prometheus with the rules as they are, and the programs and brokers of this scenario as its targets.
start_prometheus() {
    local name of_kind=() n
    ports[prometheus]=0
    has prometheus || return 0
    ports[prometheus]=$(free_port)
    targets_of() {
        of_kind=()
        for name in "${!pids[@]}"; do [[ $name != $1* ]] || of_kind+=("{ targets: ['127.0.0.1:${ports[$name]}'], labels: { service: ${name%-[0-9]} } }"); done
        (IFS=,; echo "[${of_kind[*]}]")
    }
    {
        sed -e '/^alerting:/,$d' -e "s/_interval: 15s/_interval: 2s/; s/_timeout: 10s/_timeout: 2s/" \
            -e "s#rules/\*#$root/conf/prometheus/&#" conf/prometheus/prometheus.yml
        echo "scrape_configs:"
        echo "  - { job_name: producer, static_configs: $(targets_of producer) }"
        echo "  - { job_name: consumer, honor_labels: true, static_configs: $(targets_of cluster) }"
        echo "  - { job_name: kafka, static_configs: [{ targets: ['127.0.0.1:$jmx', '127.0.0.1:$((jmx + 1))', '127.0.0.1:$((jmx + 2))'] }] }"
    } >"$work/prometheus.yml"
    launch prometheus prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
        --web.listen-address="127.0.0.1:${ports[prometheus]}"
}
start_sampler() {
    local name programs=()
    for name in "${!pids[@]}"; do case $name in producer* | cluster*) programs+=("$name=${ports[$name]}") ;; esac; done
    launch sampler python3 "$root/scripts/lib/chaos.py" sample "$work" "${ports[prometheus]}" "${programs[@]}"
}

# Who does what: the brokers' numbers.
leader_of() { kafka-topics --describe --topic "$1" | sed -n 's/.*Partition: 0.*Leader: \([0-9]\).*/\1/p'; }
coordinator_of() { kafka-consumer-groups --describe --state --group "$1" | sed -n 's/.*localhost:[0-9]* *(\([0-9]\)).*/\1/p'; }
jmx_of() { curl -fsS --max-time 2 "http://127.0.0.1:$((jmx + $1 - 1))/metrics" 2>/dev/null; }
# shows BROKER TEXT: whether a line of its page begins so. (The page is read to its end: what writes into the pipe of a `grep -q` may
# fail when that has found its line.)
shows() { [[ $'\n'$(jmx_of "$1") == *$'\n'"$2"* ]]; }
controller_of() {
    local n
    for n in 1 2 3; do ! shows "$n" 'kafka_active_controllers 1' || echo "$n"; done
}
# All brokers answer, and no partition lacks a copy.
is_whole() {
    local n
    for n in 1 2 3; do shows "$n" 'kafka_under_replicated_partitions 0' || return 1; done
}
# Prints the first of the numbers 1, 2 and 3 that is not among the arguments.
other_than() {
    local n
    for n in 1 2 3; do [[ " $* " == *" $n "* ]] || { echo "$n"; return; }; done
    echo 3
}
kill_for() { # kill_for SECONDS BROKER...
    local seconds=$1 n starting=()
    shift
    note "kill -9 of broker $*"
    for n in "$@"; do cluster kill "$n"; done
    sleep "$seconds"
    note "broker $* started"
    for n in "$@"; do cluster start "$n" --parent $$ & starting+=($!); done
    for n in "${starting[@]}"; do wait "$n" || exit 3; done
}

play_one() { kill_for 25 "$(other_than "$(controller_of)" "$(coordinator_of cron-leader)")"; }
play_leader() { kill_for 25 "$(leader_of cluster-a)"; }
play_coordinator() { kill_for 25 "$(coordinator_of cron-leader)"; }
play_controller() { kill_for 25 "$(controller_of)"; }
play_two() {
    local first
    first=$(leader_of cluster-a)
    kill_for 20 "$first" "$(other_than "$first")"
}
play_all() { kill_for 15 1 2 3; }
play_rolling() {
    local n
    for n in 1 2 3; do
        note "broker $n is stopped and started"
        cluster stop "$n"
        cluster start "$n" --parent $$
        await 90 "all copies are in sync" is_whole
    done
}
play_freeze() {
    local n
    n=$(leader_of cluster-a)
    note "broker $n is frozen"
    cluster freeze "$n"
    sleep 20
    note "broker $n goes on"
    cluster thaw "$n"
}
path_for() { paths "$@"; sleep 30; paths; }
play_blackhole() { path_for vanish "*-$(leader_of cluster-a)"; }
play_cut-producers() { path_for cut 'producers-*'; }
play_cut-consumers() { path_for cut 'consumers-*'; }
play_slow() { path_for slow '*' 200; }

play_disk-full() {
    local n
    n=$(leader_of cluster-a)
    note "the disk of broker $n fills up"
    fills_up "$n"
    await 60 "broker $n has ended" has_ended "$n"
    note "broker $n has ended"
    cp "$work/cluster/broker-$n/broker.log" "$work/broker-$n.full.log"
    cluster start "$n" --parent $$ || note "broker $n does not start while its disk is full"
    sleep 20
    rm "$work/cluster/broker-$n/log/ballast"
    note "there is room on the disk of broker $n, and it is started"
    cluster start "$n" --parent $$
    await 90 "all copies are in sync" is_whole
}
# What another program might leave on a broker's disk.
fills_up() {
    cat /dev/zero >"$work/cluster/broker-$1/log/ballast" || true
    df -h "$work/cluster/broker-$1/log"
}
has_ended() { ! scripts/kafka-broker.sh status --data "$work/cluster/broker-$1"; }
# The consumers stand still for as long as Kafka's tool takes, so that some messages are deleted unread.
play_topic-deleted() {
    note "the consumers of cluster-a stand still"
    kill -STOP "${pids[cluster-a-1]}" "${pids[cluster-a-2]}"
    kafka-topics --delete --topic cluster-a
    note "cluster-a is deleted; its consumers go on"
    kill -CONT "${pids[cluster-a-1]}" "${pids[cluster-a-2]}"
    await 60 "cluster-a is there again" made_again
    note "cluster-a is there again"
    sleep 15
}
made_again() { kafka-topics --describe --topic cluster-a; }
play_partitions-added() {
    local topic
    note "partitions are added"
    for topic in cluster-a cluster-a-retry; do kafka-topics --alter --topic "$topic" --partitions 4; done
    await 90 "the new partitions are read" four_are_read cluster-a
    note "the new partitions of cluster-a are read"
    await 90 "the new partitions are read" four_are_read cluster-a-retry
    note "the new partitions of cluster-a-retry are read"
    sleep 15
    kafka-get-offsets --topic cluster-a
    kafka-get-offsets --topic cluster-a-retry
}
# four_are_read TOPIC: its two consumers have four partitions together.
four_are_read() { [[ $({ share "$1-1"; share "$1-2"; } | grep -o '[0-9]' | sort -u | wc -l) == 4 ]]; }

flows() { [[ -e $work/ledger && $(grep -c . "$work/ledger") -gt 40 ]]; }
all_run() { [[ $(chaos left "$work" "$from" "$until" "${tick_jobs[@]}") == 0 ]]; }
verified() {
    cronctl verify "$work/jobs.cron" --since "$(date -u -d "@$from.5" +%FT%T.%3NZ)" --until "$(date -u -d "@$until.5" +%FT%T.%3NZ)" \
        --begun-within 60s --json >"$work/verdict" 2>"$work/verdict.errors"
}
scenario() {
    local name=$1 _ code=0 how=direct may_lose=() wait_for=75
    case $name in blackhole | cut-* | slow) how=through-proxies ;; esac
    [[ $name != disk-full ]] || small_disks
    start_cluster "$(free_ports 21)" "$how"
    start_programs
    start_prometheus
    await 90 "jobs run" flows
    start_sampler
    sleep 8
    # The jobs' own record is complete from here on.
    from=$((EPOCHSECONDS - 3))
    note "$name begins"
    "play_$name" >>"$work/play.log" 2>&1
    note "the fault is over"
    sleep 10
    until=$EPOCHSECONDS
    # A consumer that was cut off longer than its lease may hold attempts; those are found after another lease.
    [[ $name != topic-deleted ]] || wait_for=30 may_lose=(--told)
    for _ in $(seq "$wait_for"); do
        ! all_run || break
        sleep 2
    done
    for _ in 1 2 3 4; do
        sleep 3
        ! verified || break
    done
    chaos row "${may_lose[@]}" "$name" "$work" "$from" "$until" "${tick_jobs[@]}" >"$work/row" || code=$?
    cat "$work/row"
    [[ ${ports[prometheus]} == 0 ]] || echo "    alerts: $(chaos alerts "$work")"
    return "$code"
}

if [[ $place == --docker ]]; then
    # shellcheck source=scripts/lib/chaos-containers.sh
    source scripts/lib/chaos-containers.sh
    ready_for_containers
fi

printf '%-17s %9s %5s %5s %7s %6s %8s  %-7s %s\n' scenario published run lost doubled again latest verify "longest silence of a thread"
status=0
for name in "${scenarios[@]}"; do
    work=$logs/$name
    rm -rf "$work"
    mkdir -p "$work"
    code=0
    # A subshell: whatever goes wrong in it ends this scenario alone.
    (trap 'code=$?; cluster_ends; exit "$code"' EXIT; trap 'exit 130' INT TERM HUP; scenario "$name") || code=$?
    ((code < 128)) || exit "$code"
    if ((code != 0)); then
        [[ -e $work/row ]] || echo "$name: not played to its end (code $code); see $work/cluster.log and $work/play.log"
        status=1
    fi
done
echo "the logs of programs and brokers: $logs/SCENARIO"
exit "$status"
