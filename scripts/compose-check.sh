#!/usr/bin/env bash
# Rehearses docker-compose.yml on the container engine of this machine, from the first `up` to the last `down`: jobs of both
# clusters run; a second `up` changes nothing; stopped services end in time and go on later where they ended; consumers and
# the leading producer are killed, and jobs go on; at the end `cronctl verify` accounts for every tick. Prometheus sees every
# process; a job that is given up becomes a mail; the mail password does not leak; when Prometheus is gone, the dead man's
# switch says so.
#
#   scripts/compose-check.sh      (takes ten to fifteen minutes, plus the time to build the images)
#
# It uses its own containers and volumes (project kafka-cron-check) and removes them at the end in every case. The ports of
# docker-compose.yml must be free, or its variables must name others. Grafana takes part if its image can be downloaded.
# docs/experiments/compose.md shows what it prints.
#
# Exit codes: 0 everything works; 1 something does not; 4 something is missing here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/process.sh
source scripts/lib/process.sh
# shellcheck source=scripts/lib/containers.sh
source scripts/lib/containers.sh

die() { code=$1; shift; printf 'compose-check: %s\n' "$*" >&2; exit "$code"; }
say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }
wrong() {
    docker compose ps --all >&2 || true
    docker compose logs --tail 20 >&2 || true
    die 1 "$*; the containers and their logs stand above"
}

engine_answers || die 4 "no container engine with compose answers"
export COMPOSE_PROJECT_NAME=kafka-cron-check COMPOSE_PROFILES=full
grafana=$(sed -n 's/^ *image: \(grafana.*\)/\1/p' docker-compose.yml)
if docker image inspect "$grafana" >/dev/null 2>&1 || timeout 120 docker pull --quiet "$grafana" >/dev/null 2>&1; then
    COMPOSE_PROFILES+=,grafana
else
    say "$grafana cannot be had; without it"
fi
# A place that holds this word holds the password.
GMAIL_AUTH_TOKEN=canary-$RANDOM-$RANDOM
export GMAIL_AUTH_TOKEN
unset SMTP_SMARTHOST WATCHDOG_URL
port=${KAFKA_CRON_PORT:-9092}
! answers "$port" || die 4 "port $port is taken; another one: KAFKA_CRON_PORT=9192 scripts/compose-check.sh"

# The job file of the demonstration, and a job for each cluster that is due every second.
KAFKA_CRON_CONF=$(mktemp -d)
export KAFKA_CRON_CONF
quiet() { "$@" >/dev/null 2>"$KAFKA_CRON_CONF/said" || { cat "$KAFKA_CRON_CONF/said" >&2; return 1; }; }
end() {
    quiet docker compose down --volumes --remove-orphans || true
    rm -rf "$KAFKA_CRON_CONF"
    trap - EXIT
}
trap end EXIT
trap 'exit 1' INT TERM HUP
{
    cat conf/jobs.cron
    echo '* * * * * * cluster-a [name=tick-a] true'
    echo '* * * * * * cluster-b [name=tick-b] true'
} >"$KAFKA_CRON_CONF/jobs.cron"
cp conf/small.cron "$KAFKA_CRON_CONF"
chmod -R a+rX "$KAFKA_CRON_CONF"

# cronctl on the host's network, where it reaches Kafka at localhost.
ask() { docker run --rm --network host kafka-cron cronctl "$@" --brokers "localhost:$port"; }
# The instant that is the given number of seconds from now.
instant() { TZ=UTC printf '%(%FT%TZ)T' $((EPOCHSECONDS + ${1:-0})); }
until_so() { # until_so SECONDS WHAT COMMAND...
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < limit)) || wrong "not in time: $what"
        sleep 1
    done
}
# How many runs of a job that were due between two instants have reached a state.
came_to() { # came_to JOB STATE AFTER [UP_TO]
    ask runs --job "$1" --since "$3" --json 2>/dev/null | grep "\"state\":\"$2\"" |
        sed 's/.*"scheduled_at":"\([^"]*\)".*/\1/' | awk -v after="$3" -v to="${4:-9999}" '$0 > after && $0 <= to' | wc -l
}
has_come_to() { [[ $(came_to "$@") -gt 0 ]]; }
all_succeeded() { [[ $(came_to "$1" succeeded "$2" "$3") -eq 10 ]]; }
# Except for one time in five hundred, ten runs cover both partitions: so their success shows that both have an owner again.
jobs_go_on() {
    local from to began=$SECONDS job
    from=$(instant) to=$(instant 10)
    for job in tick-a tick-b; do
        until_so 90 "all runs of $job due after $from and up to $to succeed" all_succeeded "$job" "$from" "$to"
    done
    say "    after $((SECONDS - began)) s all ten runs had succeeded that were due in each cluster in the next 10 s"
}
# Lines on one line.
listed() { tr '\n' ',' | sed 's/,$//; s/,/, /g'; }
containers() { docker compose ps --all --quiet | sort; }
states() { containers | xargs docker inspect --format '{{.Name}} {{.Id}} {{.State.StartedAt}} {{.RestartCount}}'; }
exit_codes() {
    containers | xargs docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}} {{.State.ExitCode}}'
}
# The container of a service, by its number.
container() { echo "$COMPOSE_PROJECT_NAME-$1-$2"; }
# A page of a program, at its port on the host.
page() { # page SERVICE NUMBER PATH
    local at
    at=$(docker compose port --index "$2" "$1" 9100) || return
    exec 3<>"/dev/tcp/${at%:*}/${at##*:}" || return
    printf 'GET %s HTTP/1.0\r\n\r\n' "$3" >&3
    cat <&3
    exec 3>&-
}
# What Prometheus, the mail catcher and the dead man's switch say.
of_prometheus() { docker compose exec -T prometheus wget -q -O - "http://localhost:9090/api/v1/query?query=$1" 2>/dev/null; }
value() { of_prometheus "$1" | sed -n 's/.*"value":\[[^,]*,"\([^"]*\)".*/\1/p'; }
has_value() { [[ $(value "$1") == "$2" ]]; }
# A query as a part of an address: up{job="producer"}.
up() { echo "sum(up%7Bjob%3D%22$1%22%7D)"; }
mailed() { docker compose exec -T mailpit wget -q -O - http://localhost:8025/api/v1/messages 2>/dev/null | grep -q "\"Subject\":\"[^\"]*$1"; }
leader() {
    local number
    for number in 1 2; do
        if page producer "$number" /metrics 2>/dev/null | grep -q '^cron_leader 1'; then echo "$number"; fi
    done
}

say "building"
quiet docker compose build || wrong "the image was not built"
say "    $(docker image inspect kafka-cron --format '{{.Size}}' | awk '{ printf "%.0f MB", $1 / 1e6 }') of image"

say "up"
quiet docker compose up --detach --wait || wrong "not all of it became healthy"
say "    $(containers | wc -l) containers, all healthy"
jobs_go_on
until_so 60 "one producer leads" test "$(leader | wc -l)" -eq 1
say "    producer $(leader) leads"
say "    memory: $(containers | xargs docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' |
    sed "s/^$COMPOSE_PROJECT_NAME-//; s| / .*||" | sort | listed)"

say "Prometheus"
for target in producer=2 consumer=6 kafka=1 prometheus=1 alertmanager=1 watchdog=1; do
    until_so 60 "Prometheus sees ${target#*=} of ${target%=*}" has_value "$(up "${target%=*}")" "${target#*=}"
done
say "    sees 2 producers, 6 consumers, the broker, itself and those around it"
until_so 60 "there are Kafka's series" has_value 'max(kafka_active_controllers)' 1
until_so 120 "the sign of life arrives" has_value 'min(watchdog_signs_total%3Ebool%200)' 1
until_so 180 "a run that was given up becomes a mail" mailed "RunsGivenUp"
say "    knows that Kafka has a controller; the Watchdog's sign arrives, and a job that was given up became a mail"

say "the mail password"
searched() { docker compose config; containers | xargs docker inspect; docker compose config --images | xargs docker image inspect; }
searched >"$KAFKA_CRON_CONF/searched" 2>/dev/null || true
[[ $(wc -c <"$KAFKA_CRON_CONF/searched") -gt 10000 ]] || wrong "there is too little to search"
! grep -q "$GMAIL_AUTH_TOKEN" "$KAFKA_CRON_CONF/searched" || wrong "the password is in docker compose config or docker inspect"
rm "$KAFKA_CRON_CONF/searched"
readers=$(for service in $(docker compose ps --services); do
    ! docker compose exec -T "$service" cat /run/secrets/gmail_auth_token 2>/dev/null | grep -q "$GMAIL_AUTH_TOKEN" || echo "$service"
done | sort | listed)
[[ $readers == "alertmanager, watchdog" ]] || wrong "the password is readable in: $readers"
says=$(GMAIL_AUTH_TOKEN='' SMTP_SMARTHOST=smtp.example:587 SMTP_FROM=a@example SMTP_TO=b@example \
    docker compose run --rm --no-deps -T alertmanager 2>&1) && wrong "Alertmanager starts without a password"
[[ $says == *"not set: GMAIL_AUTH_TOKEN"* ]] || wrong "Alertmanager does not say what is missing but: $says"
say "    is in no configuration and no inspection, and readable in: $readers; without it Alertmanager says so"

say "Kafka's tools beside the agent"
docker compose exec -T kafka /opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:19092 --list |
    grep -q '^cluster-a$' || wrong "they do not work"
say "    work"

say "in a container"
[[ $(docker compose exec cluster-a id -u) == 10001 ]] || wrong "a consumer is not the user it should be"
docker compose exec cluster-a sh -c '(sleep 0.2 &) ; sleep 1'
zombies=$(docker compose exec cluster-a sh -c 'cat /proc/[0-9]*/stat 2>/dev/null | cut -d ")" -f 2 | grep -c "^ Z" || true')
[[ $zombies -eq 0 ]] || wrong "$zombies processes were not reaped"
say "    user 10001, and an orphan was reaped"

say "a second up"
before=$(states)
quiet docker compose up --detach --wait || wrong "a second up failed"
[[ $(states) == "$before" ]] || wrong "a second up changed something"
say "    changed nothing"

say "stop, while a job runs that takes 25 s"
from=$(instant)
until_so 90 "a run of slow is under way" has_come_to slow running "$from"
began=$SECONDS
quiet docker compose stop || wrong "stop failed"
say "    took $((SECONDS - began)) s; exit codes: $(exit_codes | sort -u | listed)"
say "start"
quiet docker compose start || wrong "start failed"
jobs_go_on
has_come_to slow succeeded "$from" || wrong "the job that ran at the stop did not succeed"
say "    the job that ran at the stop had been waited for, and succeeded"

say "kill a container of cluster-a, while a job runs there"
from=$(instant)
# The container in which the job runs, found by the consumer's name.
running_on() {
    host=$(ask runs --job slow --since "$from" --json 2>/dev/null | grep '"state":"running"' |
        sed 's/.*"worker":"\([^"-]*\)-.*/\1/' | tail -n 1) && [[ -n $host ]]
}
until_so 90 "a run of slow is under way" running_on
quiet docker kill "$host" || wrong "there is no container $host"
jobs_go_on
until_so 120 "the run that died with it is on record as lost" has_come_to slow lost "$from"
say "    the run that died with it is on record as lost"
quiet docker compose up --detach --wait || wrong "up did not bring it back"
say "    up brought it back"

say "kill -9 the leading producer's process"
led=$(leader)
docker compose exec --index "$led" producer sh -c 'kill -9 $(grep -lx producer /proc/[0-9]*/comm | cut -d / -f 3)' || wrong "there was nothing to kill"
jobs_go_on
until_so 60 "one producer leads" test "$(leader | wc -l)" -eq 1
say "    producer $(leader) leads"
restarted() { [[ $(docker inspect --format '{{.RestartCount}}' "$(container producer "$led")") -gt 0 ]]; }
until_so 30 "the engine starts it again" restarted
say "    the engine started producer $led again"

say "is every tick accounted for?"
ask_in() { docker compose exec -T producer cronctl verify /etc/kafka-cron/jobs.cron; }
accounted() { ask_in >"$KAFKA_CRON_CONF/verdict"; }
until_so 120 "every tick is accounted for (the last verdict: $KAFKA_CRON_CONF/verdict)" accounted
sed 's/^/             /' "$KAFKA_CRON_CONF/verdict"

say "a job file that an editor replaces"
echo '* * * * * * cluster-a [name=edited] true' >"$KAFKA_CRON_CONF/new"
chmod a+r "$KAFKA_CRON_CONF/new"
mv "$KAFKA_CRON_CONF/new" "$KAFKA_CRON_CONF/jobs.cron"
until_so 30 "a job of the new file succeeds" has_come_to edited succeeded "$(instant)"
say "    its job runs"

say "Prometheus is gone"
began=$SECONDS
quiet docker compose kill prometheus
until_so 420 "the dead man's switch says so" mailed "Watchdog"
say "    after $((SECONDS - began)) s the dead man's switch had said so by mail"

say "down, and the small part"
quiet docker compose down --volumes || wrong "down failed"
export COMPOSE_PROFILES=small
quiet docker compose up --detach --wait || wrong "not all of the small part became healthy"
say "    $(containers | wc -l) containers, all healthy"
from=$(instant)
until_so 90 "a heartbeat succeeds" has_come_to heartbeat-a succeeded "$from"
until_so 90 "a job that always fails is given up after its retries" has_come_to always-fails "given up" "$from"
say "    a job has succeeded, and one was given up after its retries"

say "down"
end
[[ -z $(containers) && -z $(docker volume ls --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME") ]] ||
    wrong "something is left"
say "    nothing is left"
