# Prometheus, Alertmanager, a mail catcher and the dead man's switch as processes, for the experiments of experiment.sh.
# Sourced after it.
#
#   kafka_with_jmx                  before `brokers 1`: the broker serves its metrics to Prometheus
#   monitoring                      starts them, with the rules of conf/prometheus/ and the template of
#                                   conf/alertmanager/; they end with the script
#   targets                         tells Prometheus which programs run. As in containers, a stopped program is no longer
#                                   a target; a program that dies stays a target until the next call
#
# Some intervals are shorter than in conf/: scraping and evaluating ($scrape), group_wait, group_interval, the sign of life and
# the silence after which the switch sends its mail. The rules are unchanged, with their windows and `for:`.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2004,SC2034 # work, ports, pids, names: maps and words of experiment.sh

scrape=${SCRAPE:-2s} silence=${SILENCE:-20}
need prometheus prometheus-alertmanager python3

kafka_with_jmx() {
    ports[kafka]=$(free_port)
    broker_options+=(--jmx-port "${ports[kafka]}")
}

# launch NAME COMMAND...: starts a process that is not one of our programs.
launch() {
    local name=$1
    shift
    (cd "$work" && exec setpriv --pdeathsig KILL -- "$@") >>"$work/$name.log" 2>&1 </dev/null &
    pids[$name]=$! names[$name]=$!
}

monitoring() {
    local here=$PWD name
    for name in prometheus alertmanager mail watchdog; do ports[$name]=$(free_port); done
    mkdir -p "$work"/{targets,mails,alertmanager}
    # Everything except the targets.
    {
        sed -e '/^scrape_configs:/,$d' -e "s/_interval: 15s/_interval: $scrape/; s/_timeout: 10s/_timeout: $scrape/" \
            -e "s#rules/\*#$here/conf/prometheus/&#; s/alertmanager:9093/127.0.0.1:${ports[alertmanager]}/" \
            conf/prometheus/prometheus.yml
        echo "scrape_configs:"
        for name in producer consumer kafka prometheus alertmanager watchdog; do
            echo "  - job_name: $name"
            [[ $name != consumer ]] || echo "    honor_labels: true"
            echo "    file_sd_configs: [{ files: [$work/targets/$name.json], refresh_interval: 1s }]"
        done
    } >"$work/prometheus.yml"
    targets
    launch mail python3 "$here/scripts/lib/mailcatcher.py" "${ports[mail]}" "$work/mails"
    launch watchdog env MAIL_CATCHER="127.0.0.1:${ports[mail]}" SMTP_SMARTHOST='' \
        python3 "$here/conf/watchdog/watchdog.py" --listen "127.0.0.1:${ports[watchdog]}" --silence "$silence"
    start_alertmanager
    start_prometheus
    await 20 "Prometheus is ready" curl -fsS "http://127.0.0.1:${ports[prometheus]}/-/ready"
    await 20 "Alertmanager is ready" curl -fsS "http://127.0.0.1:${ports[alertmanager]}/-/ready"
}
start_alertmanager() {
    launch alertmanager env ALERTMANAGER="$(command -v prometheus-alertmanager)" ALERTMANAGER_RUN="$work/alertmanager" \
        MAIL_CATCHER="127.0.0.1:${ports[mail]}" SMTP_SMARTHOST='' WATCHDOG_URL="http://127.0.0.1:${ports[watchdog]}/alive" \
        GROUP_WAIT=1s GROUP_INTERVAL=20s WATCHDOG_INTERVAL=5s "$PWD/conf/alertmanager/start.sh" \
        --storage.path="$work/alertmanager" --cluster.listen-address= --web.listen-address="127.0.0.1:${ports[alertmanager]}"
}
start_prometheus() {
    launch prometheus prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
        --web.listen-address="127.0.0.1:${ports[prometheus]}" --rules.alert.resend-delay=15s
}

targets() {
    local name kind
    declare -A of=()
    for name in "${!pids[@]}"; do
        case $name in producer*) kind=producer ;; cluster-*) kind=consumer ;; *) continue ;; esac
        of[$kind]+="${of[$kind]:+,}{\"targets\": [\"127.0.0.1:${ports[$name]}\"], \"labels\": {\"service\": \"${name%-[0-9]}\"}}"
    done
    for name in kafka prometheus alertmanager watchdog; do of[$name]="{\"targets\": [\"127.0.0.1:${ports[$name]}\"]}"; done
    for kind in producer consumer kafka prometheus alertmanager watchdog; do
        echo "[${of[$kind]:-}]" >"$work/targets/.$kind"
        mv "$work/targets/.$kind" "$work/targets/$kind.json"
    done
}
