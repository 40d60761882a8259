# Functions for the experiments: brokers and programs that end with the script, and observations that are checked.
# Sourced, by scripts/experiments/*.sh.
#
#   brokers N [KEY=VALUE]...       N fresh brokers, 1 or 3, with these settings; their list is in KAFKA_BROKERS
#   controller_apart               before `brokers`: the controller is a separate process
#   jobs LINE...                   writes the job file, $work/jobs.cron
#   start NAME PROGRAM ARGS...     one of our programs, with $work as its directory; its log is $work/NAME.log
#   finish NAME | crash NAME       sends TERM and waits for the end | sends KILL
#   say TEXT                       a heading
#   show COMMAND...                the command, then what it prints; programs by the names that they have here
#   await SECONDS WHAT COMMAND...  until the command succeeds; the experiment ends with 1 if it does not
#   expect WHAT COMMAND...         an observation: "ok", or "NOT SO", and the experiment ends with 1 at its end
#   kafka-topics ARGS...           Kafka's own tools by their names, pointed at the brokers
#
# Environment: KAFKA_CRON_BIN_DIR (programs to use; else they are built), KAFKA_CRON_RUN_DIR (the directory of Kafka's jars),
# KAFKA_CRON_PORTS (the ports that may be taken; 20000-31999).
# Exit codes: 0 everything is as expected; 1 something is not; 2 usage; 3 Kafka could not be fetched or started; 4 something is missing here.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh
# shellcheck source=scripts/lib/process.sh
source scripts/lib/process.sh

# Others that use this, such as the drill, have arguments of their own.
[[ $0 != */experiments/* ]] || (($# == 0)) || { echo "an experiment takes no arguments; what it reads from the environment stands in scripts/lib/experiment.sh" >&2; exit 2; }
KAFKA_CRON_PORTS=${KAFKA_CRON_PORTS:-20000-31999}
# At least a hundred ports, so that free ones are found.
if ! [[ $KAFKA_CRON_PORTS =~ ^([0-9]{4,5})-([0-9]{4,5})$ ]] || ((BASH_REMATCH[2] > 65535 || BASH_REMATCH[2] - BASH_REMATCH[1] < 100)); then
    echo "KAFKA_CRON_PORTS is $KAFKA_CRON_PORTS, and not a range of a hundred ports or more, as 20000-31999" >&2
    exit 4
fi
need java flock setsid setpriv curl
[[ -d ${KAFKA_CRON_RUN_DIR:-.run}/kafka ]] || need mvn
bin=${KAFKA_CRON_BIN_DIR:-}
if [[ -z $bin ]]; then
    need cargo cc
    cargo build --locked --quiet --bins || { echo "the build failed" >&2; exit 1; }
    bin=${CARGO_TARGET_DIR:-target}/debug
fi
has_programs() { [[ -x $1/producer && -x $1/consumer && -x $1/cronctl ]]; }
has_programs "$bin" || { echo "there are no producer, consumer and cronctl in $bin (KAFKA_CRON_BIN_DIR)" >&2; exit 4; }
bin=$(cd "$bin" && pwd)
libs=$(scripts/kafka-fetch.sh)

work=$(mktemp -d "${TMPDIR:-/tmp}/kafka-cron-experiment.XXXXXX")
broker_count=0 broker_options=() controller='' failures=0 checks=0
declare -A pids=() ports=() names=() # of programs that run; of all; processes of all
trap tear_down EXIT
trap 'exit 130' INT TERM HUP

tear_down() {
    local status=$? node
    trap - EXIT
    # A second Ctrl-C must not cut this short.
    trap '' INT TERM HUP
    # The shell's own messages about killed processes are of no use.
    exec 2>/dev/null
    [[ ${#pids[@]} -eq 0 ]] || kill -KILL "${pids[@]}" || true
    for node in "$work"/broker-*; do broker_kill "${node##*/broker-}" || true; done
    wait
    rm -rf -- "$work"
    ((status == 0)) || exit "$status"
    ((checks > 0 && failures == 0)) || { printf '\n%s of %s observations are not as the page says\n' "$failures" "$checks"; exit 1; }
    printf '\nall %s observations are as the page says, after %s s\n' "$checks" "$SECONDS"
}

# A free port, below the range from which the system takes ports for outgoing connections.
free_port() {
    local port first=${KAFKA_CRON_PORTS%-*} last=${KAFKA_CRON_PORTS#*-}
    while port=$((first + RANDOM % (last - first + 1))) && answers "$port"; do :; done
    echo "$port"
}

brokers() {
    local node setting starting=() voters='' list=''
    broker_count=$1
    shift
    for setting in "$@"; do broker_options+=(--set "$setting"); done
    for node in $(seq "$broker_count"); do
        ports[$node]=$(free_port) ports[controller-$node]=$(free_port)
        voters+=${voters:+,}$node@127.0.0.1:${ports[controller-$node]}
        list+=${list:+,}localhost:${ports[$node]}
    done
    broker_options+=(--voters "${controller:-$voters}")
    for node in $(seq "$broker_count"); do broker_start "$node" & starting+=($!); done
    for node in "${starting[@]}"; do wait "$node" || exit 3; done
    export KAFKA_BROKERS=$list
}
broker_start() {
    local own=()
    [[ -z $controller ]] || own=(--set "listeners=PLAINTEXT://127.0.0.1:${ports[$1]}")
    scripts/kafka-broker.sh start --data "$work/broker-$1" --node-id "$1" --port "${ports[$1]}" \
        --controller-port "${ports[controller-$1]}" --parent $$ "${broker_options[@]}" "${own[@]}" >/dev/null
}
controller_apart() {
    local port listener
    port=$(free_port)
    controller=9@127.0.0.1:$port listener=CONTROLLER://127.0.0.1:$port
    broker_options+=(--set process.roles=broker --set offsets.topic.replication.factor=3)
    scripts/kafka-broker.sh start --data "$work/broker-controller" --node-id 9 --port "$port" --controller-port "$port" \
        --parent $$ --voters "$controller" --set process.roles=controller --set "listeners=$listener" \
        --set "advertised.listeners=$listener" >/dev/null || exit 3
}
broker_kill() { scripts/kafka-broker.sh stop --now --data "$work/broker-$1" >/dev/null; }

jobs() { printf '%s\n' "$@" >"$work/jobs.cron"; }

start() {
    local name=$1 program=$2
    shift 2
    ports[$name]=$(free_port)
    (cd "$work" && exec setpriv --pdeathsig KILL -- "$bin/$program" --metrics-addr "127.0.0.1:${ports[$name]}" "$@") \
        >>"$work/$name.log" 2>&1 </dev/null &
    pids[$name]=$! names[$name]=$!
}
# Asks for the end and does not wait for it; `await ... ended NAME` does.
ask_to_end() { kill -TERM "${pids[$1]}"; }
ended() { ! started_at "${pids[$1]}"; }
finish() {
    ask_to_end "$1"
    wait "${pids[$1]}" || true
    unset "pids[$1]"
}
crash() {
    { kill -KILL "${pids[$1]}"; wait "${pids[$1]}"; } 2>/dev/null || true
    unset "pids[$1]"
}
cronctl() { "$bin/cronctl" "$@"; }
# metric NAME SERIES: a value of the page of one of our programs; 0 while the series is not there.
metric() {
    local value
    value=$(curl -fsS "http://127.0.0.1:${ports[$1]}/metrics" 2>/dev/null |
        awk -v series="$2" 'index($0, series) == 1 { sum += $NF } END { print sum + 0 }')
    echo "${value:-0}"
}
# logged NAME PATTERN: whether a program has logged that. leads NAME: whether a producer leads.
logged() { grep -q -- "$2" "$work/$1.log"; }
leads() { [[ $(metric "$1" cron_leader) == 1 ]]; }
# share NAME: the partitions that a consumer has, as in [0, 2].
share() { sed -n 's/.*generation [0-9]*, partitions //p' "$work/$1.log" | tail -n 1; }
# started NAME: how many attempts a consumer has started.
started() { metric "$1" cron_attempts_started_total; }

# Kafka's own tools under the names of its bin directory, pointed at our brokers.
kafka_tool() {
    local class=$1
    shift
    java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
        -cp "$libs/*" "$class" "$@"
}
kafka-topics() { kafka_tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BROKERS" "$@"; }
kafka-configs() { kafka_tool kafka.admin.ConfigCommand --bootstrap-server "$KAFKA_BROKERS" "$@"; }
kafka-consumer-groups() { kafka_tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$KAFKA_BROKERS" "$@"; }
kafka-get-offsets() { kafka_tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$KAFKA_BROKERS" "$@"; }
kafka-console-producer() { kafka_tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$KAFKA_BROKERS" "$@"; }
kafka-console-consumer() { kafka_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$KAFKA_BROKERS" "$@"; }
kafka-metadata-quorum() { kafka_tool org.apache.kafka.tools.MetadataQuorumCommand --bootstrap-server "$KAFKA_BROKERS" "$@"; }
kafka-dump-log() { kafka_tool org.apache.kafka.tools.DumpLogSegments "$@"; }

say() { printf '\n== %s\n' "$*"; }
# Removes the directory, and replaces the names that programs give themselves by those that they have here.
plainly() {
    local script="s#$work/##g" name
    for name in "${!names[@]}"; do script+="; s#$(uname -n)-${names[$name]}-[0-9a-f]{6}#$name#g"; done
    sed -E "$script"
}
show() {
    printf '$ %s\n' "$*" | plainly
    "$@" 2>&1 | plainly || true
}
await() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        if ((SECONDS >= until)); then
            echo "did not come about in time: $what" >&2
            tail -n 5 "$work"/*.log >&2
            exit 1
        fi
        sleep 0.2
    done
}
expect() {
    local what=$1
    shift
    checks=$((checks + 1))
    if "$@" >/dev/null 2>&1; then
        echo "ok      $what"
    else
        echo "NOT SO  $what"
        failures=$((failures + 1))
    fi
}
# is NUMBER OPERATOR NUMBER, as in: is 3 -gt 2
is() { test "$1" "$2" "$3"; }
