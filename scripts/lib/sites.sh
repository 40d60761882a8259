# Two Kafkas for one experiment, each with programs of its own. Sourced, after scripts/lib/experiment.sh.
#
#   site NAME                          a broker for that site; its programs have $work/NAME as their directory
#   at NAME COMMAND...                 with the Kafka of that site
#   start_producer SITE                with the job file $work/SITE.cron
#   start_consumers SITE [TOPIC]...    a consumer of each of these topics (cluster-a and cluster-a-retry)
#
# Programs are named KIND-SITE, as in producer-a and cluster-a-retry-b. Sessions take 2 s (6 and 10 s by default) and leases 10 s (60 s).
# shellcheck shell=bash
declare -A kafkas=()
site() {
    mkdir -p "$work/$1"
    # shellcheck disable=SC2154 # words, not numbers
    ports[broker-$1]=$(free_port) ports[controller-$1]=$(free_port)
    kafkas[$1]=localhost:${ports[broker-$1]}
    site_broker "$1"
}
site_broker() {
    scripts/kafka-broker.sh start --data "$work/broker-$1" --port "${ports[broker-$1]}" --controller-port "${ports[controller-$1]}" \
        --parent $$ --set group.min.session.timeout.ms=500 >/dev/null || exit 3
}
at() {
    local here=$1
    shift
    KAFKA_BROKERS=${kafkas[$here]} "$@"
}
start_in() {
    local work=$work/$1
    shift
    start "$@"
}
start_producer() {
    cp "$work/$1.cron" "$work/$1/jobs.cron"
    at "$1" start_in "$1" "producer-$1" producer jobs.cron --clusters cluster-a --session-timeout 2s --lease 10s
}
start_consumers() {
    local site=$1 topic
    shift
    [[ $# -gt 0 ]] || set -- cluster-a cluster-a-retry
    for topic in "$@"; do
        at "$site" start_in "$site" "$topic-$site" consumer --topic "$topic" --workers 8 --session-timeout 2s --lease 10s
    done
}
instant() { date -u -d "@$1" +%FT%TZ; }
# The command of a job that writes down who ran what: site, job, instant, attempt, start.
# shellcheck disable=SC2016,SC2034 # expanded by the jobs' shell; used by the scripts
record='echo "$(basename "$PWD") $CRON_JOB $CRON_SCHEDULED_AT $CRON_ATTEMPT $(date +%s.%N)" >>../ledger'
# ran SITE JOB: how many attempts.
ran() { if [[ -e $work/ledger ]]; then grep -c "^$1 $2 " "$work/ledger" || true; else echo 0; fi; }
