# The scenarios of scripts/chaos.sh in the containers of docker-compose.yml and docker-compose.chaos.yml. Sourced by it after its
# own functions, of which these replace those that start things and break them.
#
# A broker is killed, stopped and paused by the engine. A path is cut by routes in the network namespace of a container, set by
# a short-lived container beside it: nothing of the host's network is changed, and the next `down` forgets them.
#   cut      a program's packets to the brokers find no route: its connections fail at once
#   vanish   a broker's packets to the programs are discarded: what they ask arrives, and what it answers does not. (The
#            proxies of --local swallow both.)
# shellcheck shell=bash disable=SC2154 # what scripts/chaos.sh sets
# shellcheck source=scripts/lib/containers.sh
source scripts/lib/containers.sh

brokers=(kafka kafka-2 kafka-3) services=(producer cluster-a cluster-a-retry cluster-b cluster-b-retry)
routes=() # CONTAINER KIND ADDRESS, of the paths that are cut

compose() {
    COMPOSE_PROFILES=full KAFKA_CRON_CONF=$work/conf docker compose --ansi never --project-name kafka-cron-chaos \
        --file docker-compose.yml --file docker-compose.chaos.yml --file "$work/compose.yml" "$@"
}
ready_for_containers() {
    local port
    engine_answers || { echo "no container engine with compose answers" >&2; exit 4; }
    for port in "${KAFKA_CRON_PORT:-9092}" 9292 9392 "${KAFKA_CRON_PROMETHEUS_PORT:-9090}"; do
        ! answers "$port" || { echo "port $port is taken" >&2; exit 4; }
    done
    [[ -n ${KAFKA_CRON_BIN_DIR:-} ]] || docker compose build --quiet kafka producer >&2 || { echo "the images were not built" >&2; exit 1; }
}

# The project's own files, except that containers of consumers share a directory for the jobs' own record, and that Prometheus
# scrapes every 2 s and does not know the parts that are not started here.
start_cluster() {
    mkdir -p "$work/conf" "$work/record"
    chmod 1777 "$work/record"
    ln -s record/ledger "$work/ledger"
    cp -r conf/prometheus "$work/prometheus"
    sed -e '/^alerting:/,/^scrape_configs:/{/^scrape_configs:/!d}' -e '/job_name: alertmanager/,$d' \
        -e "s/_interval: 15s/_interval: 2s/; s/_timeout: 10s/_timeout: 2s/" conf/prometheus/prometheus.yml >"$work/prometheus/prometheus.yml"
    chmod -R a+rX "$work/prometheus"
    {
        echo "services:"
        printf '  %s: { volumes: ["%s/record:/record"] }\n' cluster-a "$work" cluster-a-retry "$work" cluster-b "$work" cluster-b-retry "$work"
        echo "  prometheus: { volumes: [\"$work/prometheus:/etc/prometheus:ro\"] }"
    } >"$work/compose.yml"
    bring_up "${brokers[@]}" || exit 3
    export KAFKA_BROKERS=localhost:${KAFKA_CRON_PORT:-9092},localhost:9292,localhost:9392
}
bring_up() { compose up --detach --wait --no-deps --no-recreate "$@" >>"$work/cluster.log" 2>&1 || { tail -n 20 "$work/cluster.log" >&2; return 1; }; }
start_programs() {
    write_jobs /record/ledger
    cp "$work/jobs.cron" "$work/conf"
    chmod -R a+rX "$work/conf"
    bring_up --scale cluster-a-retry=2 --scale cluster-b-retry=2 "${services[@]}" || exit 3
}
start_prometheus() {
    bring_up prometheus || exit 3
    ports[prometheus]=${KAFKA_CRON_PROMETHEUS_PORT:-9090}
}
start_sampler() {
    local service n programs=() at
    for service in "${services[@]}"; do
        for n in 1 2; do
            at=$(compose port --index "$n" "$service" 9100) && programs+=("$service-$n=${at##*:}")
        done
    done
    launch sampler python3 "$root/scripts/lib/chaos.py" sample "$work" "${ports[prometheus]}" "${programs[@]}"
}
cluster_ends() {
    local service
    exec 2>/dev/null
    [[ ${#pids[@]} -eq 0 ]] || kill -KILL "${pids[@]}" || true
    if [[ -e $work/compose.yml ]]; then
        for service in "${brokers[@]}" "${services[@]}" prometheus; do compose logs --no-color "$service" >"$work/$service.log" || true; done
        compose down --volumes --timeout 0 >>"$work/cluster.log" || true
        rm "$work/compose.yml"
    fi
    wait
}

broker() { echo "${brokers[$1 - 1]}"; }
cluster() { # cluster kill|stop|start|freeze|thaw BROKER
    local service
    service=$(broker "$2")
    case $1 in
        start) bring_up "$service" ;;
        freeze) compose pause "$service" ;;
        thaw) compose unpause "$service" ;;
        *) compose "$1" "$service" ;;
    esac >>"$work/cluster.log" 2>&1
}
jmx_of() { timeout 5 docker exec "$(compose ps --quiet "$(broker "$1")")" wget -q -O - http://localhost:8999/metrics 2>/dev/null; }

paths() {
    local from to
    note "paths: ${*:-open}"
    case "${1:-open} ${2:-}" in
        open*) change_routes del ;;
        vanish*)
            from=$(broker "${2##*-}")
            for to in "${services[@]}"; do no_way blackhole "$from" "$to"; done
            change_routes add ;;
        cut*)
            for from in $(services_of "$2"); do
                for to in "${brokers[@]}"; do no_way unreachable "$from" "$to"; done
            done
            change_routes add ;;
    esac
}
services_of() {
    case $1 in
        producers-*) echo producer ;;
        consumers-*) printf '%s\n' "${services[@]:1}" ;;
    esac
}
# no_way KIND SERVICE SERVICE: from each container of the first to each of the second.
no_way() {
    local from to
    for from in $(compose ps --quiet "$2"); do
        for to in $(compose ps --quiet "$3"); do
            routes+=("$from $1 $(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$to")")
        done
    done
}
change_routes() { # change_routes add|del
    local container changing=()
    for container in $(printf '%s\n' "${routes[@]}" | cut -d ' ' -f 1 | sort -u); do
        printf '%s\n' "${routes[@]}" | sed -n "s/^$container /busybox ip route $1 /p" |
            docker run --rm --interactive --network "container:$container" --user 0 --cap-add NET_ADMIN --entrypoint sh kafka-cron-kafka -e &
        changing+=($!)
    done
    for container in "${changing[@]}"; do wait "$container" || note "a route was not changed"; done
    [[ $1 == add ]] || routes=()
}
