#!/usr/bin/env bash
# Checks the Grafana dashboards without a Grafana: the JSON is what conf/grafana/build.py makes; Grafana's published types
# know each of its keys and units; and each query finds data in a Prometheus that scrapes real programs and a real
# broker, with jobs that succeed, fail, are missed and are lost, and with a consumer, producers and a broker that die.
#
#   scripts/dashboards-check.sh [--types]      (takes about five minutes; --types: without the queries)
#
# The types come from PyPI's grafana-foundation-sdk, in a separate virtual environment below KAFKA_CRON_RUN_DIR (.run).
#
# Environment: KAFKA_CRON_BIN_DIR, KAFKA_CRON_RUN_DIR. Exit codes: 0 all is well; 1 it is not; 3 Kafka did not start;
# 4 something is missing here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONDONTWRITEBYTECODE=1
sdk='grafana-foundation-sdk==1769699379!11.6.0' # of the Grafana that docker-compose.yml names

# shellcheck source=scripts/lib/needs.sh
source scripts/lib/needs.sh
need python3
python3 conf/grafana/build.py --check
venv=${KAFKA_CRON_RUN_DIR:-.run}/grafana-types
if [[ ! -x $venv/bin/python || $(cat "$venv/has" 2>/dev/null) != "$sdk" ]]; then
    if ! python3 -m venv "$venv" || ! "$venv/bin/pip" install --quiet --disable-pip-version-check "$sdk"; then
        echo "dashboards-check: $sdk cannot be had (Debian: apt-get install python3-venv)" >&2
        exit 4
    fi
    echo "$sdk" >"$venv/has"
fi
"$venv/bin/python" scripts/lib/dashboards.py types
[[ ${1:-} != --types ]] || exit 0

# shellcheck source=scripts/lib/experiment.sh
source scripts/lib/experiment.sh
# shellcheck source=scripts/lib/monitoring.sh
source scripts/lib/monitoring.sh

kafka_with_jmx
brokers 1
lease=(--lease 12s)
jobs '* * * * * * cluster-a [name=tick-a] true' \
    '* * * * * * cluster-b [name=tick-b overlap=skip] sleep 1.2' \
    '*/2 * * * * * cluster-a [name=fails retries=1 backoff=1s] exit 3' \
    '*/5 * * * * * cluster-b [name=long] sleep 3'
start producer-1 producer jobs.cron "${lease[@]}"
start producer-2 producer jobs.cron "${lease[@]}"
for cluster in cluster-a cluster-b; do
    for number in 1 2; do start "$cluster-$number" consumer --topic "$cluster" "${lease[@]}"; done
    start "$cluster-retry" consumer --topic "$cluster-retry" "${lease[@]}"
done
monitoring
# The leader has looked for it for longer than a lease.
lost_some() { (($(metric producer-1 cron_runs_given_up_total) + $(metric producer-2 cron_runs_given_up_total) > 0)); }
say "the programs run"
sleep 25
say "a consumer with attempts under way is killed, another one comes"
crash cluster-b-1
start cluster-b-3 consumer --topic cluster-b "${lease[@]}"
targets
await 60 "what it ran is found to be lost" lost_some
sleep 8
say "the broker dies, and both producers for more than a minute, whose ticks are missed; all come back"
broker_kill 1
sleep 15
crash producer-1
crash producer-2
sleep 65
broker_start 1
start producer-1 producer jobs.cron "${lease[@]}"
start producer-2 producer jobs.cron "${lease[@]}"
targets
sleep 45
say "every query"
to_file() { "${@:2}" >"$1" 2>&1; }
expect "no query is empty" \
    to_file "$work/said" python3 scripts/lib/dashboards.py queries "http://127.0.0.1:${ports[prometheus]}" $((SECONDS + 30)) tick-a
cat "$work/said"
