#!/usr/bin/env bash
# A real Kafka broker on this machine, without containers: KRaft, broker and controller in one process.
#
#   scripts/kafka-broker.sh start  --data DIR [--version 4.3.1] [--port 9092] [--controller-port 19092]
#                                  [--node-id 1] [--voters 1@127.0.0.1:P1,2@127.0.0.1:P2,...]
#                                  [--parent PID [--temporary]] [--set KEY=VALUE]... [--heap 384m]
#                                  [--jmx-port 8999 [--jmx-rules FILE]]
#   scripts/kafka-broker.sh stop   --data DIR [--now]
#   scripts/kafka-broker.sh status --data DIR
#
# The broker listens on 127.0.0.1:PORT and gives clients the address localhost:PORT. `start` returns when the port answers; a
# second `start` finds the running broker and says so. The data survives a stop. `--parent`: the broker is killed as soon as
# that process has ended, for whatever reason; with `--temporary` DIR is then removed. `--now` kills the broker instead of
# shutting it down. `--jmx-port`: its metrics for Prometheus are at http://127.0.0.1:PORT/metrics, by the rules of
# conf/kafka/jmx-exporter.yml.
# The broker's own log is DIR/broker.log.
#
# Environment: KAFKA_CRON_KAFKA is the version where none is given.
#
# Exit codes: 0 done (status: it runs), 1 status: it does not run, 2 usage, 3 the broker did not start or stop,
# 4 something is missing here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib/process.sh
source "$here/lib/process.sh"
die() { code=$1; shift; printf 'kafka-broker: %s\n' "$*" >&2; exit "$code"; }
usage() { sed -n '4,10s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

[[ $# -ge 1 ]] || usage
command=$1; shift
version=4.3.1 port=9092 controller_port=19092 node_id=1 voters='' data='' parent='' heap=384m now='' temporary='' settings=()
jmx_port='' jmx_rules=$here/../conf/kafka/jmx-exporter.yml
version=${KAFKA_CRON_KAFKA:-$version}
while [[ $# -gt 0 ]]; do
    case $1 in
        --now) now=yes; shift; continue ;;
        --temporary) temporary=yes; shift; continue ;;
        --version | --port | --controller-port | --node-id | --voters | --data | --parent | --set | --heap | --jmx-port | --jmx-rules) ;;
        *) die 2 "unknown option $1" ;;
    esac
    [[ $# -ge 2 ]] || die 2 "$1 needs a value"
    case $1 in
        --version) version=$2 ;; --port) port=$2 ;; --controller-port) controller_port=$2 ;;
        --node-id) node_id=$2 ;; --voters) voters=$2 ;; --data) data=$2 ;; --parent) parent=$2 ;;
        --set) settings+=("$2") ;; --heap) heap=$2 ;;
        --jmx-port) jmx_port=$2 ;; --jmx-rules) jmx_rules=$2 ;;
    esac
    shift 2
done
[[ -n $data ]] || die 2 "--data DIR is missing"
mkdir -p "$data" || die 4 "cannot make $data"
data=$(cd "$data" && pwd)
config=$data/server.properties pid_file=$data/broker.pid log=$data/broker.log

# The process of the pid file, if it is still the broker of this directory: the system reuses process ids.
running() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) && [[ -n $pid ]] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- "$config" || return 1
    echo "$pid"
}
# Whether nothing listens on a port. A broker that has just ended may hold its ports for a moment longer than its process.
is_free() {
    local _
    for _ in $(seq 20); do
        answers "$1" || return 0
        sleep 0.1
    done
    return 1
}
configured_port() { cat "$data/port" 2>/dev/null; }

# Waits until the port answers: $1 process, $2 port. A loaded machine takes long; a dead process is noticed at once.
await() {
    local _
    for _ in $(seq 900); do
        running >/dev/null || { tail -n 30 "$log" >&2; rm -f "$pid_file"; die 3 "the broker ended while starting; $log ends as above"; }
        answers "$2" && return 0
        sleep 0.1
    done
    tail -n 30 "$log" >&2
    die 3 "process $1 does not answer on port $2 after 90 s; $log ends as above"
}

write_config() {
    local copies=1
    [[ -n $voters ]] || voters="$node_id@127.0.0.1:$controller_port"
    [[ $(tr -cd @ <<<"$voters" | wc -c) -ge 3 ]] && copies=3
    cat >"$config" <<CONF
process.roles=broker,controller
node.id=$node_id
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://localhost:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL
log.dirs=$data/log
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$copies
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=1
num.network.threads=2
num.io.threads=4
CONF
    echo "$port" >"$data/port"
    # Later lines win.
    [[ ${#settings[@]} -eq 0 ]] || printf '%s\n' "${settings[@]}" >>"$config"
}

start() {
    local tool pid libs java agent=()
    for tool in java flock setsid; do
        command -v "$tool" >/dev/null || die 4 "$tool is missing (on Debian: openjdk-17-jre-headless, util-linux)"
    done
    exec 9>"$data/lock"
    flock 9
    if pid=$(running); then
        await "$pid" "$(configured_port)"
        echo "already running: process $pid, localhost:$(configured_port)"
        return
    fi
    is_free "$port" || die 3 "port $port is taken by something else"
    libs=$("$here/kafka-fetch.sh" "$version") || exit $?
    if [[ -n $jmx_port ]]; then
        [[ -r $jmx_rules ]] || die 2 "--jmx-rules $jmx_rules cannot be read"
        is_free "$jmx_port" || die 3 "port $jmx_port (--jmx-port) is taken by something else"
        agent=("-javaagent:$("$here/kafka-fetch.sh" --jmx-exporter)=127.0.0.1:$jmx_port:$jmx_rules") || exit $?
    fi
    java=(java "-Xmx$heap" "-Xms64m" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
        -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS"
        -cp "$libs/*")
    write_config
    [[ ! -f $log ]] || mv "$log" "$log.1"
    if [[ ! -f $data/log/meta.properties ]]; then
        # One cluster id for all, so that three directories make one cluster: "kafka-cron-local" in base64.
        "${java[@]}" kafka.tools.StorageTool format -t a2Fma2EtY3Jvbi1sb2NhbA -c "$config" >"$log" 2>&1 ||
            { tail -n 30 "$log" >&2; die 3 "cannot format $data/log; the log ends as above"; }
    fi
    # The agent is for the broker alone: Kafka's tools would die because its port is taken.
    setsid "${java[@]}" "${agent[@]}" kafka.Kafka "$config" >>"$log" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid" >"$pid_file"
    [[ -z $parent ]] || watch_parent "$pid"
    # Between fork and exec the command line is still that of this script.
    local _
    for _ in $(seq 50); do running >/dev/null && break; kill -0 "$pid" 2>/dev/null || break; sleep 0.02; done
    await "$pid" "$port"
    echo "started: process $pid, localhost:$port, Kafka $version"
}

# Kills the broker when its parent process has ended, also after kill -9.
watch_parent() {
    local broker=$1 born
    born=$(started_at "$parent") || { kill -9 "$broker"; die 2 "--parent: there is no process $parent"; }
    export -f started_at
    # shellcheck disable=SC2016 # expanded by the watcher
    setsid bash -c '
        while kill -0 "$1" 2>/dev/null && [[ $(started_at "$2") == "$3" ]]; do sleep 0.3; done
        [[ $(started_at "$2") != "$3" ]] || exit 0
        kill -9 "$1" 2>/dev/null
        [[ -z $4 ]] || rm -rf -- "$4"
        ' kafka-broker-watch "$broker" "$parent" "$born" "${temporary:+$data}" </dev/null >/dev/null 2>&1 9>&- &
}
stop() {
    local pid _
    if ! pid=$(running); then rm -f "$pid_file"; echo "not running"; return; fi
    # A frozen process takes its signals only when it continues.
    if [[ -n $now ]]; then kill -9 "$pid"; else kill -TERM "$pid"; kill -CONT "$pid"; fi
    for _ in $(seq 300); do
        if ! running >/dev/null; then rm -f "$pid_file"; echo "stopped"; return; fi
        sleep 0.1
    done
    kill -9 "$pid"
    rm -f "$pid_file"
    echo "killed: it did not stop within 30 s"
}

case $command in
    start) start ;;
    stop) stop ;;
    status)
        if pid=$(running); then echo "running: process $pid, localhost:$(configured_port)"; else echo "not running"; exit 1; fi ;;
    *) usage ;;
esac
