#!/usr/bin/env bash
# Runs everything: a Kafka broker, a producer (two in containers) with a job file, two consumers for each cluster and one
# for each retry topic, and shows their logs. Ctrl-C ends it and leaves nothing running.
#
#   scripts/run.sh [--docker | --local] [--jobs FILE] [--for 60s] [--port 9092] [--controller-port 19092] [--release]
#                  [--jmx-port 8999]
#
# If a container engine with compose is available, it uses containers, as docker-compose.yml says; otherwise processes of
# this machine. --docker and --local choose one of them. So do settings that only one of them has (--controller-port,
# --jmx-port, --release, and KAFKA_BROKERS, KAFKA_CRON_BIN_DIR).
#
# With processes: the script installs what is missing if it may (as root, by apt), or names it. With
# KAFKA_BROKERS=host:port,... it starts no broker. The broker's data stays in .run/, so that a later run goes on where
# this one ended; remove the directory to start anew. Each program logs where its metrics are: the first free ports from
# 9100 on. The broker's are at http://127.0.0.1:8999/metrics (docs/METRICS.md). The script does not start Prometheus and
# Alertmanager: see docs/OPERATIONS.md.
#
# The programs are built without optimisation. That takes a quarter of the time and is fast enough to show what they do
# (ticks are published within milliseconds); --release builds them as for a deploy.
#
# However it ends - Ctrl-C, TERM, HUP, the time limit, kill -9 - everything that it started ends too: the producer, the
# consumers (running jobs get 5 s), the broker. See scripts/lib/keeper.sh.
#
# With containers: the script builds the image first. COMPOSE_PROFILES=small starts the part for weak machines. At the end it
# removes the containers (running jobs get 5 s), and Kafka's data stays in its volume. Only a kill -9 of this script
# leaves the containers; `docker compose down` removes them.
#
# Environment: KAFKA_BROKERS; KAFKA_CRON_BIN_DIR (run the programs of this directory, build nothing);
# KAFKA_CRON_RUN_DIR (Kafka's jars, default .run); KAFKA_CRON_DATA_DIR (the broker's data, default KAFKA_CRON_RUN_DIR);
# KAFKA_CRON_INSTALL=no (install nothing); NO_COLOR.
#
# Exit codes: 0 done, after a signal too; 1 the build failed, or a program ended without a reason; 2 usage, or a
# problem in the job file; 3 the broker did not start; 4 something is missing here, a port is taken, or another run is
# under way in this directory; otherwise that of the program that ended by itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh
# shellcheck source=scripts/lib/process.sh
source scripts/lib/process.sh
# shellcheck source=scripts/lib/containers.sh
source scripts/lib/containers.sh

die() { code=$1; shift; printf 'run: %s\n' "$*" >&2; exit "$code"; }
usage() { sed -n '5,6s/^# *//p' "${BASH_SOURCE[0]}"; }

# seconds DURATION: 60s, 2m, 1h
seconds() {
    [[ $1 =~ ^([0-9]{1,6})([smh])$ ]] || die 2 "--for $1: a whole number and a unit, as in 60s, 2m, 1h"
    local each=1
    case ${BASH_REMATCH[2]} in m) each=60 ;; h) each=3600 ;; esac
    echo $((10#${BASH_REMATCH[1]} * each))
}
is_port() { [[ $1 =~ ^[0-9]{1,5}$ ]] && ((10#$1 > 0 && 10#$1 < 65536)); }

# local_only, jobs_given, port_given: flags that decide where it runs, or that containers need.
place='' local_only='' jobs_given='' port_given=''
jobs=conf/jobs.cron limit=0 port=9092 controller_port=19092 jmx_port=8999 profile=debug
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --docker | --local)
            [[ ${place:-$1} == "$1" ]] || die 2 "--docker and --local exclude each other"
            place=$1; shift; continue ;;
        --release) profile=release local_only=$1; shift; continue ;;
        --jobs | --for | --port | --controller-port | --jmx-port) [[ $# -ge 2 ]] || die 2 "$1 needs a value" ;;
        *) die 2 "unknown option $1; $(usage)" ;;
    esac
    case $1 in
        --jobs) jobs=$2 jobs_given=yes ;;
        --for) limit=$(seconds "$2") || exit; ((limit > 0)) || die 2 "--for $2 is no time at all" ;;
        --port | --controller-port | --jmx-port) is_port "$2" || die 2 "$1 $2: a port is a number from 1 to 65535" ;;&
        --port) port=$2 port_given=yes ;;
        --controller-port) controller_port=$2 local_only=$1 ;;
        --jmx-port) jmx_port=$2 local_only=$1 ;;
    esac
    shift 2
done
[[ -r $jobs ]] || die 2 "the job file $jobs cannot be read"

[[ -z ${KAFKA_CRON_BIN_DIR:-} ]] || local_only=KAFKA_CRON_BIN_DIR
[[ -z ${KAFKA_BROKERS:-} ]] || local_only=KAFKA_BROKERS
if [[ $place == --docker ]]; then
    [[ -z $local_only ]] || die 2 "$local_only is for --local"
    engine_answers || die 4 "no container engine with compose answers: see \`docker info\` and \`docker compose version\`"
elif [[ -z $place && -z $local_only ]] && engine_answers; then
    place=--docker
fi
if [[ $place == --docker ]]; then
    # What docker-compose.yml takes from the environment.
    export KAFKA_CRON_DRAIN=5s
    [[ -z $port_given ]] || export KAFKA_CRON_PORT=$port
    if [[ -n $jobs_given ]]; then
        KAFKA_CRON_CONF=$(cd "$(dirname "$jobs")" && pwd) KAFKA_CRON_JOBS_FILE=$(basename "$jobs")
        export KAFKA_CRON_CONF KAFKA_CRON_JOBS_FILE
    fi
    run_in_containers "$limit"
fi

# Only one run per directory. If its lock is taken, another run is active, or one that was killed is still ending.
data=${KAFKA_CRON_DATA_DIR:-${KAFKA_CRON_RUN_DIR:-.run}}
mkdir -p "$data" || die 4 "cannot make $data"
need flock setsid setpriv
exec 7<"$data"
if ! flock -n 7; then
    read -r other born 2>/dev/null <"$data/run.pid" || true
    if [[ -n ${other:-} && $(started_at "$other") == "${born:-}" ]]; then
        die 4 "another run is under way in $data: process $other (end it with Ctrl-C there, or: kill $other)"
    fi
    echo "the run before this one is still ending; waiting" >&2
    flock -w 60 7 || die 4 "what is left of the run before this one does not end; see: ps -ef | grep keeper.sh"
fi
echo "$$ $(started_at $$)" >"$data/run.pid"

# From here on, the run has to end in order. Before the keeper exists, there is nothing to end.
trap 'rm -f "$data/run.pid"' EXIT

ports=()
if [[ -z ${KAFKA_BROKERS:-} ]]; then
    # End the broker of a previous run that was interrupted.
    scripts/kafka-broker.sh stop --now --data "$data/broker" >/dev/null 7>&-
    for taken in "$port" "$controller_port" "$jmx_port"; do
        ! answers "$taken" || die 4 "port $taken is taken. If that is a Kafka, use it: KAFKA_BROKERS=localhost:$taken scripts/run.sh;" \
            "otherwise choose others: --port, --controller-port, --jmx-port"
    done
    need java
    kept=${KAFKA_CRON_RUN_DIR:-.run}/kafka
    if ! compgen -G "$kept/jmx_*.jar" >/dev/null || ! compgen -G "$kept/*/libs" >/dev/null; then need mvn; fi
    ports=("$port" "$controller_port" "$jmx_port")
fi

bin=${KAFKA_CRON_BIN_DIR:-} optimised=()
if [[ -z $bin ]]; then
    need cargo cc
    [[ $profile == debug ]] || optimised=(--release)
    echo "building; the first time takes a minute or two" >&2
    cargo build --locked --bins "${optimised[@]}" 7>&- || die 1 "the build failed"
    bin=${CARGO_TARGET_DIR:-target}/$profile
fi
[[ -z ${ports[*]} ]] || { scripts/kafka-fetch.sh && scripts/kafka-fetch.sh --jmx-exporter; } >/dev/null 7>&- || exit

# Closing descriptor 8 is what ends the run; the kernel does it when this script is killed.
ended=''
trap 'ended=yes; exec 8>&-' INT TERM HUP
exec 8> >(exec setsid scripts/lib/keeper.sh "$limit" "$bin" "$data" "$jobs" "${KAFKA_BROKERS:-localhost:$port}" "${ports[@]}")
keeper=$!
trap - EXIT # the keeper sees to it
[[ -z $ended ]] || exec 8>&-
# A signal interrupts the wait; the keeper is still there then, and ends.
while kill -0 "$keeper" 2>/dev/null; do wait "$keeper" || true; done
rm -f "$data/run.pid"
wait "$keeper"
