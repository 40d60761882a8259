# The system that is migrated from: one topic `jobs`, messages that name no cluster, a producer that is a loop, and
# consumers that are Kafka's console consumer and a loop. Sourced, by migration.sh.
#
#   old_producer FROM      publishes every job's ticks from that second on, up to the one that the file old-until names
#   old_consumer NUMBER    runs what the topic says, until it is ended
# shellcheck shell=bash disable=SC2154 # work: the experiment

old_jobs=(invoices reports cleanup)
old_period=2 # seconds

old_producer() {
    local second=$1 job until
    while until=$(cat "$work/old-until" 2>/dev/null) || true; [[ -z $until || $second -lt $until ]]; do
        ((second <= $(date +%s))) || { sleep 0.1; continue; }
        if ((second % old_period == 0)); then
            for job in "${old_jobs[@]}"; do
                printf '{"job":"%s","scheduled_at":"%s","command":"%s"}\n' "$job" "$(date -u -d "@$second" +%FT%TZ)" \
                    "echo old \$JOB \$SCHEDULED_AT >> $work/ledger"
            done
        fi
        second=$((second + 1))
    done > >(kafka-console-producer --topic jobs --request-required-acks all >/dev/null)
    wait $!
    echo "published the last tick before $(date -u -d "@$second" +%T)" >>"$work/old-producer.log"
}

old_consumer() {
    local line
    kafka-console-consumer --topic jobs --group old-workers --from-beginning 2>/dev/null | while read -r line; do
        JOB=$(field job <<<"$line") SCHEDULED_AT=$(field scheduled_at <<<"$line") \
            sh -c "$(field command <<<"$line")"
    done
}
field() { sed -E "s/.*\"$1\":\"([^\"]*)\".*/\\1/"; }
