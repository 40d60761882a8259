# Runs everything in containers, for scripts/run.sh. Sourced, from the repository's root.
#
#   engine_answers                  whether a container engine with compose answers
#   run_in_containers LIMIT_SECS    builds and starts docker-compose.yml, shows what the programs log, and removes the
#                                   containers after a signal, at the time limit (0: none), or when starting failed.
#                                   Ends the script. What Kafka holds stays in its volume.
# shellcheck shell=bash

engine_answers() {
    command -v docker >/dev/null && docker compose version >/dev/null 2>&1 &&
        [[ -n $(timeout 10 docker info --format '{{.ServerVersion}}' 2>/dev/null) ]]
}

child='' ended=''

# In its own process group, which Ctrl-C does not reach: this script decides what Ctrl-C means.
apart() {
    set -m
    "$@" &
    child=$!
    set +m
    while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done
    wait "$child"
}

# The services that are our programs, without the monitoring.
programs() { docker compose config --services | grep -E '^(producer|cluster-|small-)' | sort; }

run_in_containers() {
    local limit=$1 status=0 services asked
    [[ -z $(docker compose ps --quiet) ]] ||
        die 4 "the containers are up already. To follow them: docker compose logs -f; to end them: docker compose down"
    mapfile -t services < <(programs)
    [[ ${#services[@]} -gt 0 ]] || die 4 "docker-compose.yml starts no program; is COMPOSE_PROFILES right? (full, small)"
    asked=$(printf '%s\n' "${services[@]}" | grep -m 1 producer)

    # TERM, so that compose ends without asking; what it has started is removed below.
    trap 'ended=yes; kill -TERM "$child" 2>/dev/null || true' INT TERM HUP
    if apart docker compose up --build --detach --wait --wait-timeout 300; then
        echo "Kafka is at localhost:${KAFKA_CRON_PORT:-9092}. Ctrl-C ends it all"
        echo "what became of each run: docker compose exec $asked cronctl runs; where /metrics is: docker compose ps"
        # If the containers are removed from outside, this ends by itself.
        [[ -n $ended ]] || apart timeout "$limit" docker compose logs --follow "${services[@]}" || true
    elif [[ -z $ended ]]; then
        docker compose logs --tail 5 "${services[@]}" >&2 || true
        status=3
    fi
    echo "ending: the containers; what Kafka holds stays in its volume"
    trap '' INT TERM HUP
    apart docker compose down || status=4
    [[ $status -ne 3 ]] || die 3 "not all of it started; what compose said, and what the programs logged last, stands above"
    [[ $status -eq 0 ]] || die 4 "not all of it is gone; see: docker compose ps --all"
    exit 0
}
