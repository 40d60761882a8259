#!/usr/bin/env bash
# Three Kafka brokers as processes of this machine, each of them a controller too (KRaft): a cluster in which one broker may be
# away. Topics get three copies, and a write is confirmed when two have it (min.insync.replicas=2).
#
#   scripts/cluster.sh up     [--data DIR] [--port 9092] [--controller-port 19092] [--jmx-port 8997] [--version 4.3.1]
#                             [--heap 384m] [--set KEY=VALUE]... [--listener NAME:PORT:ADVERTISED]... [--parent PID]
#   scripts/cluster.sh down   [--data DIR] [--now]
#   scripts/cluster.sh status [--data DIR]
#   scripts/cluster.sh kill N | stop N | start N | freeze N | thaw N   [--data DIR]
#
# DIR is .run/cluster by default. Broker N (1, 2 or 3) has its data and its log in DIR/broker-N, and takes the Nth port from each
# given one on: clients find broker 2 at localhost:9093, and its metrics are at http://127.0.0.1:8998/metrics (as
# scripts/kafka-broker.sh says). `up` returns when all three answer, and prints what KAFKA_BROKERS should be; the cluster
# keeps the settings of its first `up`. `--listener` adds a listener with ports of its own, whose clients are told the
# advertised ports: for a proxy between the clients and the brokers. `--parent`: the brokers are killed when that process ends.
#
# kill: kill -9. stop: an orderly shutdown. start: after either of them. freeze: the process stands still (SIGSTOP) and keeps
# its connections; thaw: it goes on.
#
# Exit codes: 0 done (status: all three run), 1 status: not all of them run, 2 usage, 3 a broker did not start or stop, or does
# not run, 4 something is missing here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() { code=$1; shift; printf 'cluster: %s\n' "$*" >&2; exit "$code"; }
usage() { sed -n '5,9s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

[[ $# -ge 1 ]] || usage
command=$1 node=''; shift
case $command in
    up | down | status) ;;
    kill | stop | start | freeze | thaw)
        [[ ${1:-} =~ ^[123]$ ]] || die 2 "$command needs the number of a broker: 1, 2 or 3"
        node=$1; shift ;;
    *) usage ;;
esac
data=${KAFKA_CRON_RUN_DIR:-$here/../.run}/cluster now='' parent=''
port=9092 controller_port=19092 jmx_port=8997 settings=() listeners=() passed=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --now) now=--now; shift; continue ;;
        --data | --parent) ;;
        --port | --controller-port | --jmx-port | --version | --heap | --set | --listener)
            [[ $command == up ]] || die 2 "$1 belongs to \`up\`" ;;
        *) die 2 "unknown option $1" ;;
    esac
    [[ $# -ge 2 ]] || die 2 "$1 needs a value"
    case $1 in
        --data) data=$2 ;; --parent) parent=$2 ;; --port) port=$2 ;; --controller-port) controller_port=$2 ;;
        --jmx-port) jmx_port=$2 ;; --set) settings+=("$2") ;; --version | --heap) passed+=("$1" "$2") ;;
        --listener)
            [[ $2 =~ ^[A-Z]+:[0-9]+:[0-9]+$ ]] || die 2 "--listener $2: NAME:PORT:ADVERTISED, as in OUTSIDE:9192:9292"
            listeners+=("$2") ;;
    esac
    shift 2
done
[[ $port$controller_port$jmx_port =~ ^[0-9]+$ ]] || die 2 "a port is a number"
mkdir -p "$data" || die 4 "cannot make $data"
data=$(cd "$data" && pwd)
# How each broker is started, written by the first `up`.
plan=$data/cluster.conf

broker() { "$here/kafka-broker.sh" "$@"; }
pid_of() {
    local said
    said=$(broker status --data "$data/broker-$1") || die 3 "broker $1 does not run"
    said=${said#running: process }
    echo "${said%%,*}"
}

# The arguments of scripts/kafka-broker.sh for broker $1, as `start` reads them again.
arguments_of() {
    local n=$1 each name listen advertised voters=''
    local listen_list=PLAINTEXT://127.0.0.1:$((port + n - 1)),CONTROLLER://127.0.0.1:$((controller_port + n - 1))
    local advertised_list=PLAINTEXT://localhost:$((port + n - 1)) map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL
    for each in 1 2 3; do voters+=${voters:+,}$each@127.0.0.1:$((controller_port + each - 1)); done
    for each in "${listeners[@]}"; do
        IFS=: read -r name listen advertised <<<"$each"
        listen_list+=,$name://127.0.0.1:$((listen + n - 1)) advertised_list+=,$name://localhost:$((advertised + n - 1))
        map+=,$name:PLAINTEXT
    done
    printf '%q ' --node-id "$n" --port $((port + n - 1)) --controller-port $((controller_port + n - 1)) --voters "$voters" \
        --jmx-port $((jmx_port + n - 1)) "${passed[@]}" --set "listeners=$listen_list" \
        --set "advertised.listeners=$advertised_list" --set "listener.security.protocol.map=$map" \
        --set default.replication.factor=3 --set min.insync.replicas=2
    for each in "${settings[@]}"; do printf '%q ' --set "$each"; done
    echo
}
start() {
    local line arguments
    line=$(sed -n "$1p" "$plan" 2>/dev/null || true)
    [[ -n $line ]] || die 3 "there is no cluster in $data; \`up\` makes one"
    # Written by this script, with each word quoted.
    eval "arguments=($line)"
    broker start --data "$data/broker-$1" ${parent:+--parent "$parent"} "${arguments[@]}"
}
brokers() { sed 's/.*--port \([0-9]*\) .*/localhost:\1/' "$plan" | paste -s -d ,; }

up() {
    local n starting=() code=0
    if [[ ! -s $plan ]]; then
        for n in 1 2 3; do arguments_of "$n"; done >"$plan.new"
        mv "$plan.new" "$plan"
    fi
    # A broker answers when two of three controllers are there: they start together.
    for n in 1 2 3; do (start "$n") | sed "s/^/broker $n: /" & starting+=($!); done
    for n in "${starting[@]}"; do wait "$n" || code=$?; done
    [[ $code -eq 0 ]] || exit "$code"
    echo "KAFKA_BROKERS=$(brokers)"
}
down() {
    local n stopping=()
    for n in 1 2 3; do
        [[ ! -d $data/broker-$n ]] || { broker stop ${now:+"$now"} --data "$data/broker-$n" | sed "s/^/broker $n: /" & stopping+=($!); }
    done
    for n in "${stopping[@]}"; do wait "$n" || exit 3; done
}
status() {
    local n code=0 said state
    for n in 1 2 3; do
        said=$( [[ -d $data/broker-$n ]] && broker status --data "$data/broker-$n") || code=1
        state=''
        [[ $said != running* ]] || [[ $(sed 's/.*) //; s/ .*//' "/proc/$(pid_of "$n")/stat") != T ]] || state=', frozen'
        echo "broker $n: ${said:-not running}$state"
    done
    return "$code"
}

case $command in
    up | down | status) "$command" ;;
    kill) broker stop --now --data "$data/broker-$node" ;;
    stop) broker stop --data "$data/broker-$node" ;;
    start) start "$node" ;;
    freeze) kill -STOP "$(pid_of "$node")" ;;
    thaw) kill -CONT "$(pid_of "$node")" ;;
esac
