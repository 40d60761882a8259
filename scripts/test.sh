#!/usr/bin/env bash
# Runs all tests: formatting, lints, then every test, against the real programs and a real broker, which starts once for all
# tests. Prints the seconds of each stage and ends with cargo's own closing lines.
#
#   scripts/test.sh [--long] [--kafka VERSION]
#
# --long: tests that have a longer form run it, and an experiment runs. --kafka: the brokers of the tests are of this version,
# and not of 4.3.1.
#
# The script installs what is missing if it may (as root, by apt), or names it. With KAFKA_CRON_TEST_BROKERS=host:port
# the tests use that Kafka; KAFKA_CRON_RUN_DIR is the directory of Kafka's jars (default .run).
#
# Exit codes: 0 all is well; 2 usage; 3 Kafka could not be fetched or started; 4 something is missing here; otherwise
# that of the stage that failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh
# shellcheck source=scripts/lib/process.sh
source scripts/lib/process.sh

usage() { echo "usage: scripts/test.sh [--long] [--kafka VERSION]" >&2; exit 2; }
while [[ $# -gt 0 ]]; do
    case $1 in
        --long) export KAFKA_CRON_TEST_LONG=1; shift ;;
        --kafka)
            [[ ${2:-} =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || usage
            export KAFKA_CRON_KAFKA=$2
            shift 2 ;;
        *) usage ;;
    esac
done

stage() {
    local name=$1 began=$SECONDS
    shift
    echo "== $name"
    "$@"
    echo "== $name: $((SECONDS - began)) s"
}

tools() {
    need cargo cargo-fmt cargo-clippy cc java flock setsid setpriv ps
    [[ -d ${KAFKA_CRON_RUN_DIR:-.run}/kafka ]] || need mvn
    # These tools are for tests of wall clocks that jump, of pages and rules (by Prometheus), and of alerts. Without them those
    # tests are skipped, and say so.
    want libfaketime promtool prometheus prometheus-alertmanager python3
}

# It ends with this script, and its files are then removed.
broker() {
    local port log
    [[ -z ${KAFKA_CRON_TEST_BROKERS:-} ]] || { echo "using $KAFKA_CRON_TEST_BROKERS"; return; }
    log=$(mktemp)
    for _ in 1 2 3; do
        # Below the range from which the system takes ports for outgoing connections.
        port=$((20000 + RANDOM % 12000))
        if answers "$port" || answers $((port + 1)); then continue; fi
        broker_data=$(mktemp -d)
        # Tests write records with times of years ago, which retention would delete half a minute after the start.
        if scripts/kafka-broker.sh start --data "$broker_data" --temporary --parent $$ --heap 512m \
            --set log.retention.ms=-1 \
            --port "$port" --controller-port $((port + 1)) 2>"$log"; then
            export KAFKA_CRON_TEST_BROKERS=localhost:$port
            trap 'scripts/kafka-broker.sh stop --now --data "$broker_data" >/dev/null; rm -rf "$broker_data"' EXIT
            rm -f "$log"
            return
        fi
        rm -rf "$broker_data"
    done
    cat "$log" >&2
    rm -f "$log"
    return 3
}

# All versions that the tests talk to.
jars() { scripts/kafka-fetch.sh && scripts/kafka-fetch.sh 4.3.1 && scripts/kafka-fetch.sh 3.9.2 && scripts/kafka-fetch.sh --jmx-exporter; }

stage tools tools
stage format cargo fmt --check
if has shellcheck; then stage scripts shellcheck -x scripts/*.sh scripts/lib/*.sh scripts/experiments/*.sh deploy/debian/p* deploy/kubernetes/components/*/*.sh .ci/run; fi
if has systemd-analyze; then stage units scripts/package.sh check; else echo "== units: skipped, there is no systemd-analyze"; fi
if has promtool; then stage rules scripts/rules-check.sh; fi
stage kubernetes scripts/kubernetes-check.sh
stage lints cargo clippy --locked --quiet --all-targets -- -D warnings
stage build cargo build --locked --all-targets
stage kafka jars
# One experiment, so that what the experiments need is tested, too.
[[ -z ${KAFKA_CRON_TEST_LONG:-} ]] || KAFKA_CRON_BIN_DIR=${CARGO_TARGET_DIR:-target}/debug stage experiment scripts/experiments/retries.sh
if has prometheus && has prometheus-alertmanager && has python3; then
    KAFKA_CRON_BIN_DIR=${CARGO_TARGET_DIR:-target}/debug stage drill scripts/drill.sh --short
else
    echo "== drill: skipped, there is no Prometheus or no Alertmanager"
fi
stage broker broker
# Tests of the programs mostly wait: for seconds of the clock, for sessions to run out.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}
echo "== tests"
cargo test --locked --no-fail-fast
