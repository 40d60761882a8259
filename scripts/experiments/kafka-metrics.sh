#!/usr/bin/env bash
# What the rules of conf/kafka/jmx-exporter.yml cost Prometheus, compared with the catch-all ".*". See docs/METRICS.md, "Kafka".
# shellcheck source=scripts/lib/experiment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/experiment.sh"

catch_all=$work/catch-all.yml
echo 'rules: [{ pattern: ".*" }]' >"$catch_all"
jobs '* * * * * * cluster-a [name=tick-a] true' '* * * * * * cluster-b [name=tick-b] exit 1'

# The page of the broker's agent; its series, or those that begin so; the seconds of the middle one of five scrapes.
page() { curl -fsS "http://127.0.0.1:${ports[jmx]}/metrics"; }
series() { grep -c "^${1:-[a-z]}" "$work/page"; }
scrape_time() {
    local _
    for _ in 1 2 3 4 5; do
        curl -fsS -o /dev/null -w '%{time_total}\n' "http://127.0.0.1:${ports[jmx]}/metrics"
        sleep 1
    done | sort -n | sed -n 3p
}
# cost NAME: one of the two, beside programs that run.
cost() {
    page >"$work/page"
    printf '%-10s %6d series (%d kafka_*), %8d bytes, %s s a scrape\n' "$1" "$(series)" "$(series kafka_)" "$(wc -c <"$work/page")" "$(scrape_time)"
}

more_started() { is "$(started cluster-a)" -gt "$1"; }

declare -A count=()
ports[jmx]=$(free_port)
brokers 1 # without, for the topics and the groups
start producer producer jobs.cron
for cluster in cluster-a cluster-b; do
    start "$cluster" consumer --topic "$cluster"
    start "$cluster-retry" consumer --topic "$cluster-retry"
done
await 30 "a leader" leads producer
for rules in concise catch-all; do
    file=conf/kafka/jmx-exporter.yml
    [[ $rules == concise ]] || file=$catch_all
    broker_kill 1
    scripts/kafka-broker.sh start --data "$work/broker-1" --port "${ports[1]}" --controller-port "${ports[controller-1]}" \
        --parent $$ --voters "1@127.0.0.1:${ports[controller-1]}" --jmx-port "${ports[jmx]}" --jmx-rules "$file" >/dev/null
    before=$(started cluster-a)
    await 60 "jobs run again" more_started "$before"
    sleep 20
    cost "$rules" >>"$work/costs"
    count[$rules]=$(series)
done
say "What each costs"
cat "$work/costs"
expect "the concise rules make a twentieth of the series, or less" is $((count[concise] * 20)) -lt "${count[catch-all]}"
