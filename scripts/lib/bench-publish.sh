# Measures publishing: ticks that are due at once, and a backlog that is caught up. Sourced by bench.sh.
# shellcheck shell=bash
# What bench.sh has set.
# shellcheck disable=SC2154

# What a tick of these jobs takes on the topic, as key and value.
MESSAGE_BYTES=357

published() { [[ $(metric "$1" 'cron_ticks_published_total') -ge $2 ]]; }

publish() {
    local count=$1 port producer n cpu began
    local rates=() peers=()
    echo "publish: $count ticks due in one second, $repeat times, in turn; $partitions partitions, ticks a second until all are confirmed"
    for ((n = 1; n <= repeat; n++)); do
        new_cluster
        jobs "$count" "$cluster" $(($(date +%s) + 20)) /bin/true >"$work/jobs"
        port=$(free_port)
        cpu=$(cpu_of "$broker") began=$(date +%s.%N)
        producer "$port"; producer=$pid
        await "$count ticks" published "$port" "$count"
        # The last batch's line says how long after the second it was confirmed.
        rates+=("$(awk -v n="$count" '/: published .* runs, the first due/ { ms = $(NF - 2) } END { printf "%.0f", n / ms * 1000 }' "$work/producer.log")")
        echo "  round $n: broker $(since "$cpu" "$(cpu_of "$broker")"), producer $(since 0 "$(cpu_of "$producer")") CPU-s; job file read and checked after $(after "$began" ' jobs, revision'), leading after $(after "$began" 'leading, term'); producer at most $(peak_mib "$producer") MiB"
        stop "$producer"
        peers+=("$(peer "$count")")
    done
    local rate peer
    rate=$(printf '%s\n' "${rates[@]}" | median) peer=$(printf '%s\n' "${peers[@]}" | median)
    echo "  Kafka's own producer $peer (${peers[*]}), ticks $rate (${rates[*]}), ratio $(ratio "$rate" "$peer")"
}

# peer COUNT: records a second of Kafka's own measuring program, with messages of our size on our topic, written as surely.
# Its start is not counted.
peer() {
    local libs=${KAFKA_CRON_RUN_DIR:-.run}/kafka/4.3.1/libs
    java -Xmx512m -cp "$libs/*" org.apache.kafka.tools.ProducerPerformance --topic "$cluster" --num-records "$1" \
        --record-size "$MESSAGE_BYTES" --throughput -1 --producer-props "bootstrap.servers=$brokers" acks=all \
        batch.size=524288 linger.ms=5 2>/dev/null | awk '/records sent/ { rate = $4 } END { printf "%.0f\n", rate }'
}

# after BEGAN TEXT: how long after an instant the producer first logged a text.
after() {
    local at
    at=$(awk -v text="$2" 'index($0, text) { print $1; exit }' "$work/producer.log")
    awk -v began="$1" -v said="$(date -d "$at" +%s.%N)" 'BEGIN { printf "%.0f ms", (said - began) * 1000 }'
}

# A producer whose group has no cursors, and whose topic has a record, starts with a backlog: the windows of its jobs.
catchup() {
    local count=$1 port producer n cpu began half=$(($1 / 2))
    local times=()
    echo "catchup: $((half * 2)) ticks of the past, $repeat times; $partitions partitions, seconds until all are confirmed; lateness of a job that is due each second meanwhile"
    for ((n = 1; n <= repeat; n++)); do
        new_cluster
        jobs 1 "$cluster" $(($(date +%s) + 5)) /bin/true >"$work/jobs"
        port=$(free_port)
        producer "$port" --group "$cluster-before"; producer=$pid
        await "a record" published "$port" 1
        stop "$producer"
        printf '* * * * * * %s [name=%s catchup=%s] /bin/true\n' \
            "$cluster" "one catchup_window=${half}s" all "$cluster" "two catchup_window=${half}s" all "$cluster" present none >"$work/jobs"
        cpu=$(cpu_of "$broker")
        producer "$port" --group "$cluster-after"; producer=$pid
        await "the lead" says producer "$cluster: leading from"
        began=$(date +%s.%N)
        await "$((half * 2)) ticks" published "$port" $((half * 2))
        times+=("$(awk -v began="$began" -v now="$(date +%s.%N)" 'BEGIN { printf "%.1f", now - began }')")
        echo "  round $n: present $(awk '/published present due/ { ms = $(NF - 2); sum += ms; n++; if (ms > max) max = ms } END { printf "%d times, mean %.0f ms, at most %d ms late", n, n ? sum / n : 0, max }' "$work/producer.log"); broker $(since "$cpu" "$(cpu_of "$broker")"), producer $(since 0 "$(cpu_of "$producer")") CPU-s; producer at most $(peak_mib "$producer") MiB"
        stop "$producer"
    done
    echo "  $(printf '%s\n' "${times[@]}" | median) (${times[*]})"
}
